// The gated product in one kernel against fp64, at odd sizes, and the laws that it keeps.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/swiglu_product.h"

#include <array>
#include <cmath>
#include <cstring>
#include <random>

#include "engine/backend/cuda/hopper.h"
#include "tests/kernel/cuda/device_fixture.h"

namespace sala::testing {
namespace {

class SwigluProduct : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    const cudaDeviceProp& properties = backend_->properties();
    if (!cuda::is_hopper(properties)) {
      GTEST_SKIP() << "the kernel is for compute capability 9.0, this is " << properties.major
                   << "." << properties.minor;
    }
  }

  static std::vector<float> random_values(std::int64_t n, float scale, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) value = normal(generator);
    return rounded_to_bf16(values);
  }

  struct Case {
    std::int64_t rows, in, cols;
    std::vector<float> x = random_values(rows * in, 1, 1);
    std::vector<float> gate = random_values(cols * in, 1.5F / std::sqrt(static_cast<float>(in)), 2);
    std::vector<float> up = random_values(cols * in, 1 / std::sqrt(static_cast<float>(in)), 3);

    std::vector<double> expected() const {
      std::vector<double> out(static_cast<std::size_t>(rows * cols));
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < cols; ++c) {
          const double g = dot(x.data() + r * in, gate.data() + c * in);
          const double u = dot(x.data() + r * in, up.data() + c * in);
          out[static_cast<std::size_t>(r * cols + c)] = g / (1 + std::exp(-g)) * u;
        }
      }
      return out;
    }

   private:
    double dot(const float* a, const float* b) const {
      double sum = 0;
      for (std::int64_t i = 0; i < in; ++i) {
        sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      }
      return sum;
    }
  };

  std::vector<float> product(const Case& c) {
    const DeviceBuffer<Bf16Bits> x(to_bf16(c.x));
    const DeviceBuffer<Bf16Bits> gate(to_bf16(c.gate));
    const DeviceBuffer<Bf16Bits> up(to_bf16(c.up));
    const DeviceBuffer<Bf16Bits> out(c.rows * c.cols);
    SALA_CUDA(cuda::launch_swiglu_product(
        {bf16(x), bf16(gate), bf16(up), bf16(out), c.rows, c.in, c.cols}, stream()));
    sync();
    out.expect_guards_intact();
    return from_bf16(out.download());
  }

 private:
  static __nv_bfloat16* bf16(const DeviceBuffer<Bf16Bits>& buffer) {
    return reinterpret_cast<__nv_bfloat16*>(buffer.data());
  }
};

TEST_F(SwigluProduct, equals_reference_at_odd_sizes) {
  for (const auto& [rows, in, cols] : {std::array<std::int64_t, 3>{1, 64, 128},
                                       {5, 192, 128},
                                       {127, 256, 128},
                                       {128, 64, 256},
                                       {129, 320, 128},
                                       {257, 448, 384},
                                       {513, 576, 128}}) {
    SCOPED_TRACE(::testing::Message() << rows << " x " << in << " x " << cols);
    const Case c{rows, in, cols};
    expect_within(product(c), c.expected(), tolerance::kOneRounding);
  }
}

TEST_F(SwigluProduct, equals_reference_at_the_inputs_of_the_model) {
  const Case c{131, 4096, 256};
  expect_within(product(c), c.expected(), tolerance::kOneRounding);
}

TEST_F(SwigluProduct, equals_reference_when_clusters_take_several_tiles) {
  for (const std::int64_t in : {64, 128}) {  // one stage a tile, and two
    const Case c{2309, in, 2048};            // ten tiles down, a group and a part of one; 160 tiles
    expect_within(run_twice([&] { return product(c); }), c.expected(), tolerance::kOneRounding);
  }
}

TEST_F(SwigluProduct, a_row_has_the_same_bits_whatever_the_others_are) {
  const Case whole{300, 256, 256};
  const std::vector<float> all = product(whole);
  Case tail = whole;
  constexpr std::int64_t kCut = 77;
  tail.rows = whole.rows - kCut;
  tail.x.erase(tail.x.begin(), tail.x.begin() + kCut * whole.in);
  const std::vector<float> part = product(tail);
  EXPECT_EQ(std::memcmp(part.data(), all.data() + kCut * whole.cols, part.size() * sizeof(float)),
            0);
}

TEST_F(SwigluProduct, extreme_gates_close_or_let_through) {
  // One input of 1: gate and up are the weights' first column.
  Case c{1, 64, 128};
  std::fill(c.x.begin(), c.x.end(), 0.0F);
  c.x[0] = 1;
  const std::vector<float> gates = {-200, -89, -42, -30, 0, 30, 200, 1e30F};
  for (std::size_t i = 0; i < static_cast<std::size_t>(c.cols); ++i) {
    c.gate[i * 64] = round_to_bf16(gates[i % gates.size()]);
    c.up[i * 64] = 1;
  }
  const std::vector<float> got = product(c);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const float gate = c.gate[i * 64];
    if (gate > 0) {
      EXPECT_EQ(got[i], gate);
    } else {
      EXPECT_LE(got[i], 0.0F);
      EXPECT_GE(got[i], gate * 0x1p-40F) << gate;
    }
  }
}

TEST_F(SwigluProduct, a_nan_stays_in_its_own_results) {
  Case c{3, 64, 128};
  c.gate[64 * 6] = NAN;
  const std::vector<float> got = product(c);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(std::isnan(got[i]), i % 128 == 6) << i;
}

TEST_F(SwigluProduct, no_rows_are_no_work_and_other_shapes_are_refused) {
  EXPECT_EQ(cuda::launch_swiglu_product({.rows = 0, .in = 64, .cols = 128}, stream()), cudaSuccess);
  for (const auto& [in, cols] : {std::pair<std::int64_t, std::int64_t>{96, 128}, {64, 64}}) {
    EXPECT_EQ(cuda::launch_swiglu_product({.rows = 1, .in = in, .cols = cols}, stream()),
              cudaErrorInvalidValue);
  }
}

}  // namespace
}  // namespace sala::testing
