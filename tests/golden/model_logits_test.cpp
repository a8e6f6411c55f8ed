// Every family against the transformers library: logits at several lengths, greedy continuations.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/model_goldens.h"

namespace sala::testing {
namespace {

// Both sides in fp32; angles at position 1000 are rounded to 6e-5 on either.
constexpr double kTolerance = 1e-4;

class ModelLogits : public ::testing::TestWithParam<std::string> {
 protected:
  static std::unique_ptr<Engine> engine(const ModelGolden& golden) {
    EngineOptions options;
    options.model = golden.folder();
    options.device = "cpu";
    options.chunk = 256;
    options.threads = 1;
    // That golden has LongRoPE's angles in double; the others have the library's own.
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
    EXPECT_LT(worst, kTolerance) << n << " tokens";
    RecordProperty("worst_at_" + std::to_string(n), std::to_string(worst));
  }
}

TEST_P(ModelLogits, greedy_continuation_is_that_of_transformers) {
  const ModelGolden golden(GetParam());
  EXPECT_EQ(engine_greedy(*ModelLogits::engine(golden), golden), golden.greedy());
}

}  // namespace
}  // namespace sala::testing
