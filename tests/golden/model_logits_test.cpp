// Every family against the transformers library: logits at several lengths, greedy continuations.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "engine/tensor/convert.h"
#include "tests/model_goldens.h"
#include "tests/reference_model.h"
#include "tests/tolerance.h"

namespace sala::testing {
namespace {

class ModelLogits : public ::testing::TestWithParam<std::string> {
 protected:
  static std::unique_ptr<Engine> engine(const ModelGolden& golden) {
    EngineOptions options;
    options.model = golden.folder();
    options.device = "cpu";
    options.chunk = 256;
    options.threads = 1;
    // This golden has LongRoPE's angles in double; the others have the library's own.
    if (golden.folder().filename() == "minicpm4-bf16") options.settings["rope_angle"] = "exact64";
    return make_engine(options);
  }
};
INSTANTIATE_TEST_SUITE_P(Families, ModelLogits, ::testing::ValuesIn(ModelGolden::names()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(ModelLogits, equal_those_of_transformers) {
  const ModelGolden golden(GetParam());
  const auto engine = ModelLogits::engine(golden);
  for (const std::int64_t n : ModelGolden::lengths()) {
    const double worst = worst_difference(engine_logits(*engine, golden, n), golden.logits(n));
    EXPECT_LT(worst, tolerance::kModelGolden) << n << " tokens";
    RecordProperty("worst_at_" + std::to_string(n), std::to_string(worst));
  }
}

TEST_P(ModelLogits, greedy_continuation_is_that_of_transformers) {
  const ModelGolden golden(GetParam());
  EXPECT_EQ(engine_greedy(*ModelLogits::engine(golden), golden), golden.greedy());
}

/// The golden's checkpoint, for the double-precision model.
TinyModel stored_model(const ModelGolden& golden) {
  TinyModel model;
  model.config = nlohmann::json::parse(read_text_file(golden.folder() / "config.json"));
  const Checkpoint checkpoint(golden.folder());
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const auto size = static_cast<std::int64_t>(tensor.bytes.size()) / dtype_bytes(tensor.dtype);
    auto* data = const_cast<std::byte*>(tensor.bytes.data());
    std::vector<float> values(static_cast<std::size_t>(size));
    widen({data, tensor.dtype, 1, size}, 0, size, values.data());
    model.weights[name].assign(values.begin(), values.end());
  }
  return model;
}

TEST(LongRope, angles_are_by_default_those_of_the_published_code) {
  const ModelGolden golden("minicpm4-bf16");
  EngineOptions options;
  options.model = golden.folder();
  options.device = "cpu";
  const auto ids = golden.prompt(1000);
  const auto by_default = make_engine(options)->logits(ids, 3);

  ReferenceModel reference(stored_model(golden));
  const auto last_rows = [&] {
    std::vector<float> last;
    const Rows rows = reference.logits(ids);
    for (std::size_t t = rows.size() - 3; t < rows.size(); ++t) {
      last.insert(last.end(), rows[t].begin(), rows[t].end());
    }
    return last;
  };
  const auto exact = last_rows();
  EXPECT_LT(worst_difference(exact, golden.logits(1000)), tolerance::kModelGolden);
  reference.published_angles = true;
  EXPECT_LT(worst_difference(by_default, last_rows()), tolerance::kModel);
  EXPECT_GT(worst_difference(by_default, exact), 10 * tolerance::kModel);
}

}  // namespace
}  // namespace sala::testing
