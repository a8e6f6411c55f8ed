// Operations and memory of the CPU backend against fp64 references.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <random>

#include "engine/attention/reference_math.h"
#include "engine/backend/backend.h"
#include "engine/base/bf16.h"
#include "engine/base/error.h"
#include "engine/tensor/convert.h"
#include "tests/guarded_matrix.h"
#include "tests/random_weights.h"
#include "tests/tolerance.h"

namespace sala::testing {
namespace {

constexpr std::int64_t kSizes[] = {1, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 1000};

class CpuBackendTest : public ::testing::TestWithParam<int> {
 protected:
  std::unique_ptr<Backend> backend_ = make_backend("cpu", GetParam());
};
INSTANTIATE_TEST_SUITE_P(Threads, CpuBackendTest, ::testing::Values(1, 2, 3));

void expect_near(const GuardedMatrix& actual, const std::vector<double>& expected, double allowed) {
  actual.expect_guards_intact();
  expect_close(actual.values(), std::span<const double>(expected), allowed);
}

TEST_P(CpuBackendTest, matmul_equals_reference_at_odd_sizes) {
  std::mt19937_64 random(1);
  for (const std::int64_t n : {1, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1700}) {
    const auto in = static_cast<std::int64_t>(1 + random() % 200);
    const auto out = static_cast<std::int64_t>(1 + random() % 90);
    const std::vector<float> x = random_floats(n * in, 2);
    const std::vector<float> w = random_floats(out * in, 3);
    GuardedMatrix a(n, in, x);
    GuardedMatrix b(out, in, w);
    GuardedMatrix y(n, out);
    std::vector<double> expected = reference_product(widened(x), widened(w), in);
    backend_->matmul(a.view(), b.view(), y.view());
    expect_near(y, expected, tolerance::kProduct);
    backend_->matmul_add(a.view(), b.view(), -0.25F, y.view());
    for (double& value : expected) value *= 0.75;
    expect_near(y, expected, tolerance::kProduct);
  }
}

TEST_P(CpuBackendTest, rms_norm_equals_reference_and_may_alias) {
  for (const std::int64_t n : kSizes) {
    const std::vector<float> x = random_floats(7 * n, 4);
    const std::vector<float> w = random_floats(n, 5, 0.2F, 1.0F);
    std::vector<double> expected = widened(x);
    reference_rms_norm(expected, widened(w), 1e-6);
    GuardedMatrix a(7, n, x);
    GuardedMatrix weight(1, n, w);
    GuardedMatrix y(7, n);
    backend_->rms_norm(a.view(), weight.view(), 1e-6F, y.view());
    expect_near(y, expected, tolerance::kElementwise);
    backend_->rms_norm(a.view(), weight.view(), 1e-6F, a.view());
    expect_near(a, expected, tolerance::kElementwise);
  }
}

TEST_P(CpuBackendTest, elementwise_operations_equal_reference) {
  for (const std::int64_t n : kSizes) {
    const std::vector<float> g = random_floats(33 * n, 6, 5.0F);
    const std::vector<float> u = random_floats(33 * n, 7);
    const std::vector<double> gate = widened(g);
    const std::vector<double> up = widened(u);
    std::vector<double> silu(gate.size());
    std::vector<double> sigmoid(gate.size());
    std::vector<double> scaled(gate.size());
    for (std::size_t i = 0; i < gate.size(); ++i) {
      silu[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      sigmoid[i] = up[i] / (1 + std::exp(-gate[i]));
      scaled[i] = -3.0 * up[i];
    }
    GuardedMatrix a(33, n, g);
    GuardedMatrix b(33, n, u);
    GuardedMatrix y(33, n);
    backend_->silu_mul(a.view(), b.view(), y.view());
    expect_near(y, silu, tolerance::kElementwise);
    backend_->copy(b.view(), y.view());
    backend_->sigmoid_mul(a.view(), y.view());
    expect_near(y, sigmoid, tolerance::kElementwise);
    backend_->copy(b.view(), y.view());
    backend_->scale(y.view(), -3.0F);
    expect_near(y, scaled, tolerance::kElementwise);
    backend_->fill_zero(y.view());
    expect_near(y, std::vector<double>(gate.size()), 0.0);
  }
}

TEST_P(CpuBackendTest, rotary_equals_reference_and_continues) {
  for (const std::int64_t head_dim : {2, 32, 64, 80, 128}) {
    const std::int64_t n_tokens = 70;
    const Rotary rotary{head_dim, 10000.0, false};
    const std::vector<float> x = random_floats(n_tokens * 3 * head_dim, 8);
    std::vector<double> expected = widened(x);
    reference_rotary(expected, 3, rotary);
    GuardedMatrix whole(n_tokens, 3 * head_dim, x);
    backend_->rotary(whole.view(), rotary, 0);
    expect_near(whole, expected, tolerance::kRotary);
    GuardedMatrix parts(n_tokens, 3 * head_dim, x);
    backend_->rotary(parts.view().row_range(0, 33), rotary, 0);
    backend_->rotary(parts.view().row_range(33, n_tokens - 33), rotary, 33);
    EXPECT_TRUE(std::equal(whole.values().begin(), whole.values().end(), parts.values().begin()));
  }
}

TEST_P(CpuBackendTest, slowed_rotary_equals_reference) {
  const std::int64_t n_tokens = 70;
  const std::vector<double> slowdown = {0.5, 1.0, 1.5, 3.0, 8.0, 17.0, 30.0, 31.0};
  const std::vector<float> x = random_floats(n_tokens * 3 * 16, 8);
  std::vector<double> plain = widened(x);
  reference_rotary(plain, 3, {16, 10000.0, false});
  for (const bool exact : {false, true}) {
    const Rotary rotary{16, 10000.0, exact, slowdown, 1.25F};
    std::vector<double> expected = widened(x);
    reference_rotary(expected, 3, rotary);
    EXPECT_NE(expected, plain);
    GuardedMatrix y(n_tokens, 3 * 16, x);
    backend_->rotary(y.view(), rotary, 0);
    expect_near(y, expected, tolerance::kRotary);
  }
}

TEST_P(CpuBackendTest, embed_scales_the_rows_asked_for) {
  const std::vector<float> table = random_floats(50 * 65, 9);
  const std::vector<TokenId> ids{49, 0, 7, 7, 31};
  std::vector<double> expected;
  for (const TokenId id : ids) {
    for (std::size_t c = 0; c < 65; ++c) {
      expected.push_back(12.0 * static_cast<double>(table[static_cast<std::size_t>(id) * 65 + c]));
    }
  }
  GuardedMatrix t(50, 65, table);
  GuardedMatrix y(5, 65);
  backend_->embed(t.view(), ids, 12.0F, y.view());
  expect_near(y, expected, tolerance::kElementwise);
}

TEST(CpuBackend, upload_widens_every_dtype_exactly) {
  const auto backend = make_backend("cpu", 1);
  std::vector<std::uint16_t> bits(1 << 16);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  const auto n = static_cast<std::int64_t>(bits.size());
  const Tensor bf16 = backend->upload({bits.data(), DType::bf16, 1, n}, "weights");
  const Tensor f16 = backend->upload({bits.data(), DType::f16, 1, n}, "weights");
  EXPECT_EQ(bf16.view.dtype, DType::f32);
  std::vector<float> values(bits.size());
  backend->download(f16.view, values);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const int exponent = static_cast<int>(i >> 10 & 31);
    const double fraction = static_cast<double>(i & 1023) / 1024.0;
    const double sign = i >= 32768 ? -1.0 : 1.0;
    double expected = sign * std::ldexp(exponent == 0 ? fraction : 1.0 + fraction,
                                        exponent == 0 ? -14 : exponent - 15);
    if (exponent == 31) expected = fraction == 0 ? sign * INFINITY : NAN;
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(values[i]));
    } else {
      ASSERT_EQ(static_cast<double>(values[i]), expected) << i;
    }
    const float wide = bf16.view.f32()[i];
    if (!std::isnan(wide)) {
      ASSERT_EQ(f32_to_bf16(wide), bits[i]);
    }
  }
}

TEST(CpuBackend, ledger_follows_allocations_and_remembers_the_peak) {
  const auto backend = make_backend("cpu", 1);
  MemoryLedger& ledger = backend->ledger();
  {
    const Tensor a = make_tensor(*backend, 100, 16, "weights");
    Tensor b = make_tensor(*backend, 10, 16, "kv_full");
    const Tensor moved = std::move(b);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(moved.view.data) % 64, 0U);
    EXPECT_EQ(ledger.live_bytes(), 6400 + 640);
  }
  EXPECT_EQ(ledger.live_bytes(), 0);
  EXPECT_EQ(ledger.peak_bytes(), 6400 + 640);
  std::int64_t at_peak = 0;
  for (const MemoryUse& use : ledger.uses()) at_peak += use.at_peak_bytes;
  EXPECT_EQ(at_peak, ledger.peak_bytes());
  ledger.restart_peaks();
  EXPECT_EQ(ledger.peak_bytes(), 0);
}

TEST(CpuBackend, a_request_beyond_memory_is_a_typed_error) {
  const auto backend = make_backend("cpu", 1);
  EXPECT_GT(backend->available_bytes(), 0);
  try {
    backend->allocate(std::int64_t{1} << 50, "kv_full");
    FAIL() << "allocated a pebibyte";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.category, "kv_full");
    EXPECT_EQ(error.requested_bytes, std::int64_t{1} << 50);
    EXPECT_FALSE(error.predicted);
  }
  EXPECT_EQ(backend->ledger().live_bytes(), 0);
}

TEST(CpuBackend, unknown_devices_and_threads_are_named) {
  EXPECT_THROW(make_backend("tpu", 0), Error);
  EXPECT_THROW(make_backend("cuda:x", 0), Error);
  EXPECT_THROW(make_backend("cpu", -1), Error);
  EXPECT_GE(make_backend("auto", 0)->info().threads, 1);
}

}  // namespace
}  // namespace sala::testing
