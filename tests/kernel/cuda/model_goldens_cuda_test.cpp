// Every family on the GPU against the transformers library: as near as that library is in bf16.
// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/model_goldens.h"

namespace sala::testing {
namespace {

class ModelGoldensCuda : public DeviceTest, public ::testing::WithParamInterface<const char*> {
 protected:
  static std::unique_ptr<Engine> engine(const ModelGolden& golden) {
    EngineOptions options;
    options.model = golden.folder();
    options.device = "cuda";
    options.chunk = 256;
    return make_engine(options);
  }
};
// Those with heads that the kernels take.
INSTANTIATE_TEST_SUITE_P(Families, ModelGoldensCuda,
                         ::testing::Values("llama-bf16", "qwen3-bf16", "minicpm4-bf16"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

double size_of_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double squares = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    squares += difference * difference;
  }
  return std::sqrt(squares);
}

TEST_P(ModelGoldensCuda, logits_are_as_near_as_plain_bf16) {
  const ModelGolden golden(GetParam());
  const auto engine = ModelGoldensCuda::engine(golden);
  for (const std::int64_t n : ModelGolden::lengths()) {
    const auto expected = golden.logits(n);
    const auto plain = golden.logits(n, ".bf16");
    const auto actual = engine_logits(*engine, golden, n);
    EXPECT_LT(size_of_difference(actual, expected), 2 * size_of_difference(plain, expected))
        << n << " tokens";
    EXPECT_LT(worst_difference(actual, expected), 3 * worst_difference(plain, expected))
        << n << " tokens";
  }
}

TEST_P(ModelGoldensCuda, greedy_continuation_is_that_of_transformers) {
  const ModelGolden golden(GetParam());
  EXPECT_EQ(engine_greedy(*ModelGoldensCuda::engine(golden), golden), golden.greedy());
}

}  // namespace
}  // namespace sala::testing
