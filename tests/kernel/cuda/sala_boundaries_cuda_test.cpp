// MiniCPM-SALA with its published sparse sizes on the GPU against the CPU, around 6144 tokens and
// dense_len; the CPU's are proven against double precision in tests/unit/sala_boundaries_test.cpp.
// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

constexpr std::int64_t kVocab = 304;

class SalaBoundariesCuda : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    TinyOptions options;
    options.mixers = {"minicpm4", "lightning-attn", "minicpm4"};
    options.n_heads = 4;
    options.n_kv_heads = 2;
    options.lightning_nkv = 4;
    options.head_dim = 64;
    options.hidden = 96;
    options.intermediate = 160;
    options.vocab = kVocab;
    options.changes["sparse_config"] = {
        {"kernel_size", 32},   {"kernel_stride", 16}, {"init_blocks", 1},  {"block_size", 64},
        {"window_size", 2048}, {"topk", 64},          {"use_nope", false}, {"dense_len", 8192}};
    write_tiny_model(folder_.path(), options);
  }
  std::vector<float> logits(const char* device, std::int64_t n, std::int64_t last,
                            const std::map<std::string, std::string>& settings) const {
    EngineOptions options;
    options.model = folder_.path();
    options.device = device;
    options.chunk = 4096;
    options.settings = settings;
    return make_engine(options)->logits(random_ids(n, kVocab, 5), last);
  }
  /// |a - b| over |b| of every row, smallest first.
  static std::vector<double> row_errors(const std::vector<float>& a, const std::vector<float>& b) {
    std::vector<double> errors;
    for (std::size_t begin = 0; begin < b.size(); begin += kVocab) {
      double difference = 0;
      double size = 0;
      for (std::size_t i = begin; i < begin + kVocab; ++i) {
        difference += std::pow(static_cast<double>(a.at(i)) - static_cast<double>(b[i]), 2);
        size += std::pow(static_cast<double>(b[i]), 2);
      }
      errors.push_back(std::sqrt(difference / size));
    }
    std::sort(errors.begin(), errors.end());
    return errors;
  }

  TempFolder folder_;
};

TEST_F(SalaBoundariesCuda, rows_around_every_boundary_equal_those_of_the_cpu) {
  // bf16 through three layers; a row whose last block is another one of nearly equal score is
  // further off.
  constexpr double kMostRows = 0.03;
  constexpr double kAnyRow = 0.15;
  struct Case {
    std::int64_t n_tokens;
    const char* dense_len;
  };
  for (const auto& [n_tokens, dense_len] : {Case{6400, "0"}, Case{6144, "0"}, Case{8191, "8192"},
                                            Case{8192, "8192"}, Case{8193, "8192"}}) {
    SCOPED_TRACE(fmt::format("{} tokens, dense_len {}", n_tokens, dense_len));
    const std::int64_t last = 300;
    const auto errors = row_errors(logits("cuda", n_tokens, last, {{"dense_len", dense_len}}),
                                   logits("cpu", n_tokens, last, {{"dense_len", dense_len}}));
    ASSERT_EQ(errors.size(), static_cast<std::size_t>(last));
    EXPECT_LT(errors[errors.size() * 9 / 10], kMostRows);
    EXPECT_LT(errors.back(), kAnyRow);
  }
}

}  // namespace
}  // namespace sala::testing
