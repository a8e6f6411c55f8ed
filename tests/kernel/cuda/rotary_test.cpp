// Rotary embedding on the GPU against fp64, by the kernel of 16-byte pieces and by that of pairs.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "engine/attention/reference_math.h"
#include "tests/expect_error.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/random_weights.h"

namespace sala::testing {
namespace {

/// Norm of every head when w is given, then rotation of rows at first, first + 1, ...
std::vector<double> rotated(const std::vector<float>& x, std::int64_t n_heads,
                            const std::vector<float>& w, const Rotary& rotary, std::int64_t first) {
  std::vector<double> y = widened(x);
  if (!w.empty()) reference_rms_norm(y, widened(w), 1e-6);
  const std::int64_t d = rotary.head_dim;
  for (std::int64_t row = 0; row < static_cast<std::int64_t>(y.size()) / d; ++row) {
    const std::int64_t position = first + row / n_heads;
    for (std::int64_t i = 0; i < d / 2; ++i) {
      const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(d);
      const float stepwise =
          1.0F / std::pow(static_cast<float>(rotary.theta), static_cast<float>(exponent));
      const double frequency =
          rotary.exact_angle ? std::pow(rotary.theta, -exponent) : static_cast<double>(stepwise);
      const double slowdown =
          rotary.slowdown.empty() ? 1.0 : rotary.slowdown[static_cast<std::size_t>(i)];
      const float slowed = static_cast<float>(position) * (1.0F / static_cast<float>(slowdown));
      const float product = slowed * static_cast<float>(frequency);
      const double angle = rotary.exact_angle ? static_cast<double>(position) / slowdown * frequency
                                              : static_cast<double>(product);
      const double cosine = std::cos(angle) * static_cast<double>(rotary.magnitude);
      const double sine = std::sin(angle) * static_cast<double>(rotary.magnitude);
      double& a = item(y, row * d + i);
      double& b = item(y, row * d + i + d / 2);
      const double turned = a * cosine - b * sine;
      b = b * cosine + a * sine;
      a = turned;
    }
  }
  return y;
}

constexpr Bounds kRotated{2.5e-3, 2.5e-2, 0x1p-8};   // one rounding; the turn mixes two values
constexpr Bounds kNormedAndRotated{0x1p-8, 2.5e-2};  // three roundings, as the CPU's steps

/// A bf16 matrix on the device that begins `n_before` elements behind an aligned address.
class ShiftedMatrix {
 public:
  ShiftedMatrix(std::int64_t rows, std::int64_t cols, const std::vector<float>& values,
                std::int64_t n_before)
      : rows_(rows), cols_(cols), n_before_(n_before), buffer_(n_before + rows * cols) {
    std::vector<Bf16Bits> host(static_cast<std::size_t>(n_before), kPoison);
    const std::vector<Bf16Bits> bits = to_bf16(values);
    host.insert(host.end(), bits.begin(), bits.end());
    buffer_.upload(host);
  }
  TensorView view() const { return {buffer_.data() + n_before_, DType::bf16, rows_, cols_}; }
  /// Checks what lies around them.
  std::vector<float> values() const {
    buffer_.expect_guards_intact();
    const std::vector<Bf16Bits> host = buffer_.download();
    for (std::int64_t i = 0; i < n_before_; ++i) {
      EXPECT_EQ(host[static_cast<std::size_t>(i)], kPoison) << "written before the matrix";
    }
    return from_bf16(std::span(host).subspan(static_cast<std::size_t>(n_before_)));
  }

 private:
  static constexpr Bf16Bits kPoison = 0xffff;
  std::int64_t rows_;
  std::int64_t cols_;
  std::int64_t n_before_;
  DeviceBuffer<Bf16Bits> buffer_;
};

class RotaryTest : public DeviceTest {
 protected:
  /// Turns random heads, plainly and with their norm. The offsets are those of x and of the norm's
  /// weight behind an aligned address, in elements.
  void expect_reference(const Rotary& rotary, std::int64_t n_tokens, std::int64_t n_heads,
                        std::int64_t first, std::int64_t x_offset = 0,
                        std::int64_t weight_offset = 0) {
    const std::int64_t d = rotary.head_dim;
    const std::vector<float> x = rounded_to_bf16(random_floats(n_tokens * n_heads * d, 14));
    const std::vector<float> w = rounded_to_bf16(random_floats(d, 15, 0.2F, 1.0F));
    const ShiftedMatrix weight(1, d, w, weight_offset);
    const ShiftedMatrix plain(n_tokens, n_heads * d, x, x_offset);
    backend_->rotary(plain.view(), rotary, first);
    expect_within(plain.values(), rotated(x, n_heads, {}, rotary, first), kRotated);
    const ShiftedMatrix normed(n_tokens, n_heads * d, x, x_offset);
    backend_->norm_rotary(normed.view(), weight.view(), 1e-6F, rotary, first);
    expect_within(normed.values(), rotated(x, n_heads, w, rotary, first), kNormedAndRotated);
  }
};

TEST_F(RotaryTest, equals_reference_at_near_and_far_positions) {
  for (const std::int64_t head_dim : {4, 16, 64, 80, 128, 256}) {
    for (const std::int64_t first : {0, 4093, (1 << 20) - 5}) {
      for (const int kind : {0, 1, 2, 3}) {
        const bool exact = kind % 2 == 1;
        const bool slowed = kind >= 2;
        SCOPED_TRACE(
            fmt::format("head_dim {} first {} exact {} slowed {}", head_dim, first, exact, slowed));
        std::vector<double> slowdown;
        for (std::int64_t i = 0; slowed && i < head_dim / 2; ++i) {
          slowdown.push_back(0.998 + 0.5 * static_cast<double>(i));
        }
        expect_reference({head_dim, 1e4, exact, slowdown, slowed ? 1.0625F : 1.0F}, 5, 11, first);
      }
    }
  }
}

// A CTA turns 64 heads of 64 elements at a time, 32 of 128.
TEST_F(RotaryTest, equals_reference_when_a_cta_goes_round_more_than_once) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t n_heads : {32, 33, 63, 64, 65, 70, 129}) {
      SCOPED_TRACE(fmt::format("head_dim {} heads {}", head_dim, n_heads));
      expect_reference({head_dim, 1e4, false}, 3, n_heads, 4093);
    }
  }
}

TEST_F(RotaryTest, equals_reference_without_alignment_to_16_bytes) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const auto& [x_offset, weight_offset] :
         {std::pair{2, 0}, {4, 0}, {6, 0}, {0, 2}, {0, 4}, {6, 2}, {8, 8}}) {
      SCOPED_TRACE(
          fmt::format("head_dim {} x + {} weight + {}", head_dim, x_offset, weight_offset));
      expect_reference({head_dim, 1e4, false}, 3, 70, 4093, x_offset, weight_offset);
    }
  }
}

TEST_F(RotaryTest, a_single_row_is_at_the_position_on_the_device) {
  const Rotary rotary{64, 1e4, false};
  const std::vector<float> x = rounded_to_bf16(random_floats(3 * 64, 16));
  const DeviceMatrix row(1, 3 * 64, x);
  backend_->set_position(776);
  backend_->advance_position();
  backend_->rotary(row.view(), rotary, 0);
  expect_within(row.values(), rotated(x, 3, {}, rotary, 777), kRotated);
}

TEST_F(RotaryTest, a_head_dim_without_a_kernel_is_named) {
  const DeviceMatrix x(2, 300);
  expect_error([&] { backend_->rotary(x.view(), {300, 1e4, false}, 0); }, {"head_dim", "300"});
}

}  // namespace
}  // namespace sala::testing
