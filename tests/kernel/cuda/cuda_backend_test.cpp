// Operations and memory of the CUDA backend against fp64 references and the CPU backend.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "engine/attention/reference_math.h"
#include "engine/backend/cuda/hopper.h"
#include "tests/expect_error.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/random_weights.h"

namespace sala::testing {
namespace {

using CudaBackendTest = DeviceTest;

std::vector<float> bf16_floats(std::int64_t n, std::uint64_t seed, float deviation = 1.0F,
                               float mean = 0.0F) {
  return rounded_to_bf16(random_floats(n, seed, deviation, mean));
}

/// The output of `run` on a poisoned matrix, checked for guards and equal bits of a second run.
template <typename Run>
std::vector<float> output_of(std::int64_t rows, std::int64_t cols, const Run& run) {
  return run_twice([&] {
    const DeviceMatrix out(rows, cols);
    run(out.view());
    std::vector<float> values = out.values();
    out.expect_guards_intact();
    return values;
  });
}

// Tensor cores cut off where they add, so long sums drift a little.
constexpr Bounds kTensorCoreSums{5e-5, 5e-4};

struct ProductCase {
  std::int64_t rows, in, out;
};
constexpr ProductCase kProducts[] = {
    {1, 8, 1},       {1, 64, 3},     {1, 1000, 17},  {1, 1024, 100},  {1, 1032, 5},
    {1, 4096, 33},   {1, 16384, 31}, {2, 64, 64},    {7, 256, 48},    {15, 48, 24},
    {16, 80, 16},    {17, 1024, 64}, {33, 192, 512}, {64, 4096, 128}, {65, 512, 304},
    {129, 2048, 96}, {511, 96, 40},  {513, 64, 264}};

TEST_F(CudaBackendTest, matmul_equals_reference_in_bf16_and_fp32) {
  for (const auto& [rows, in, out] : kProducts) {
    SCOPED_TRACE(fmt::format("{} x {} -> {}", rows, in, out));
    const std::vector<float> x = bf16_floats(rows * in, 1);
    const std::vector<float> w = bf16_floats(out * in, 2);
    const std::vector<double> expected = reference_product(widened(x), widened(w), in);
    const DeviceMatrix a(rows, in, x);
    const DeviceMatrix b(out, in, w);
    expect_within(
        output_of(rows, out, [&](TensorView y) { backend_->matmul(a.view(), b.view(), y); }),
        expected, tolerance::kOneRounding);
    const DeviceBuffer<float> wide(rows * out);
    backend_->matmul(a.view(), b.view(), {wide.data(), DType::f32, rows, out});
    expect_within(wide.download(), expected, kTensorCoreSums);
    wide.expect_guards_intact();
    a.expect_guards_intact();
    EXPECT_EQ(a.values(), x) << "the input was changed";
    EXPECT_EQ(b.values(), w) << "the weight was changed";
  }
}

TEST_F(CudaBackendTest, matmul_add_rounds_the_sum_once) {
  for (const auto& [rows, in, out] : kProducts) {
    SCOPED_TRACE(fmt::format("{} x {} -> {}", rows, in, out));
    const std::vector<float> x = bf16_floats(rows * in, 3);
    const std::vector<float> w = bf16_floats(out * in, 4, 1 / std::sqrt(static_cast<float>(in)));
    const std::vector<float> residual = bf16_floats(rows * out, 5);
    std::vector<double> expected = reference_product(widened(x), widened(w), in);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expected[i] = static_cast<double>(residual[i]) - 0.25 * expected[i];
    }
    const DeviceMatrix a(rows, in, x);
    const DeviceMatrix b(out, in, w);
    const auto run = [&] {
      const DeviceMatrix y(rows, out, residual);
      backend_->matmul_add(a.view(), b.view(), -0.25F, y.view());
      std::vector<float> values = y.values();
      y.expect_guards_intact();
      return values;
    };
    expect_within(run_twice(run), expected, tolerance::kOneRounding);
  }
}

TEST_F(CudaBackendTest, products_that_share_a_side_equal_single_ones) {
  constexpr std::int64_t kIn = 1032;
  for (const std::int64_t rows : {1, 5}) {
    const std::int64_t step = rows == 1 ? 1 : 8;  // the library wants whole vectors
    const std::int64_t sizes[] = {1 * step, 34 * step, 7 * step, 40 * step};
    const DeviceMatrix x(rows, kIn, bf16_floats(rows * kIn, 6));
    std::vector<std::unique_ptr<DeviceMatrix>> weights;
    std::vector<std::unique_ptr<DeviceMatrix>> outs;
    std::vector<Product> products;
    for (const std::int64_t out : sizes) {
      const auto w = bf16_floats(out * kIn, static_cast<std::uint64_t>(out));
      weights.push_back(std::make_unique<DeviceMatrix>(out, kIn, w));
      outs.push_back(std::make_unique<DeviceMatrix>(rows, out));
      products.push_back({weights.back()->view(), outs.back()->view()});
    }
    backend_->matmul_each(x.view(), products);
    for (std::size_t i = 0; i < products.size(); ++i) {
      const auto alone = output_of(
          rows, sizes[i], [&](TensorView y) { backend_->matmul(x.view(), weights[i]->view(), y); });
      EXPECT_EQ(outs[i]->values(), alone) << "product " << i << " of " << rows << " rows";
      outs[i]->expect_guards_intact();
    }
  }
}

struct GatedCase {
  explicit GatedCase(ProductCase c)
      : x(bf16_floats(c.rows * c.in, 7)),
        gate(bf16_floats(c.out * c.in, 8, 1 / std::sqrt(static_cast<float>(c.in)))),
        up(bf16_floats(c.out * c.in, 9, 1 / std::sqrt(static_cast<float>(c.in)))),
        device_x(c.rows, c.in, x),
        device_gate(c.out, c.in, gate),
        device_up(c.out, c.in, up),
        expected(reference_product(widened(x), widened(gate), c.in)) {
    const std::vector<double> ups = reference_product(widened(x), widened(up), c.in);
    for (std::size_t i = 0; i < ups.size(); ++i) {
      expected[i] = expected[i] / (1 + std::exp(-expected[i])) * ups[i];
    }
  }

  /// Of the first rows of x.
  std::vector<float> result(CudaBackend& backend, std::int64_t rows) const {
    const std::int64_t out = device_gate.view().rows;
    const DeviceMatrix spare(rows, out);
    std::vector<float> values = output_of(rows, out, [&](TensorView y) {
      backend.gated_matmul(device_x.view().row_range(0, rows), device_gate.view(), device_up.view(),
                           spare.view(), y);
    });
    spare.expect_guards_intact();
    return values;
  }

  std::vector<float> x, gate, up;
  DeviceMatrix device_x, device_gate, device_up;
  std::vector<double> expected;
};

TEST_F(CudaBackendTest, gated_matmul_equals_reference) {
  for (const ProductCase& c : kProducts) {
    SCOPED_TRACE(fmt::format("{} x {} -> {}", c.rows, c.in, c.out));
    const GatedCase product(c);
    // Two products of many rows round gate and up to bf16 before they are combined.
    expect_within(product.result(*backend_, c.rows), product.expected, Bounds{4e-3, 2e-2});
  }
}

TEST_F(CudaBackendTest, fused_gated_matmul_rounds_once_and_alike_for_any_number_of_rows) {
  if (!cuda::is_hopper(backend_->properties())) {
    GTEST_SKIP() << "this GPU has no fused product";
  }
  constexpr std::int64_t kRows = 1000;
  const GatedCase product({kRows, 256, 384});
  const std::vector<float> all = product.result(*backend_, kRows);
  expect_within(all, product.expected, tolerance::kOneRounding);
  for (const std::int64_t rows : {256, 300, 999}) {
    const std::vector<float> some = product.result(*backend_, rows);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin())) << rows;
  }
}

TEST_F(CudaBackendTest, rms_norm_equals_reference_at_odd_sizes_and_may_alias) {
  for (const std::int64_t cols :
       {1, 8, 16, 48, 50, 64, 128, 256, 264, 1000, 1024, 1032, 4096, 4104, 12288, 16384, 16392}) {
    for (const std::int64_t rows : {1, 7, 33}) {
      SCOPED_TRACE(fmt::format("{} x {}", rows, cols));
      const std::vector<float> x = bf16_floats(rows * cols, 10);
      const std::vector<float> w = bf16_floats(cols, 11, 0.2F, 1.0F);
      std::vector<double> expected = widened(x);
      reference_rms_norm(expected, widened(w), 1e-6);
      const DeviceMatrix a(rows, cols, x);
      const DeviceMatrix weight(1, cols, w);
      const auto out = output_of(
          rows, cols, [&](TensorView y) { backend_->rms_norm(a.view(), weight.view(), 1e-6F, y); });
      expect_within(out, expected, tolerance::kOneRounding);
      backend_->rms_norm(a.view(), weight.view(), 1e-6F, a.view());
      EXPECT_EQ(a.values(), out) << "in place";
      a.expect_guards_intact();
    }
  }
}

TEST_F(CudaBackendTest, rms_norm_keeps_extremes_visible) {
  constexpr std::int64_t kCols = 64;
  std::vector<float> x(4 * kCols, 0.0F);
  for (std::int64_t c = 0; c < kCols; ++c) x[static_cast<std::size_t>(kCols + c)] = 1e-3F;
  x[kCols] = 1e4F;
  x[2 * kCols] = std::numeric_limits<float>::infinity();
  for (std::int64_t c = 0; c < kCols; ++c) x[static_cast<std::size_t>(3 * kCols + c)] = 1e-39F;
  const DeviceMatrix a(4, kCols, x);
  const DeviceMatrix weight(1, kCols, std::vector<float>(kCols, 1.0F));
  const DeviceMatrix out(4, kCols);
  backend_->rms_norm(a.view(), weight.view(), 1e-6F, out.view());
  const std::vector<float> y = out.values();
  EXPECT_EQ(y[0], 0.0F) << "zeros stay zeros";
  EXPECT_NEAR(y[kCols], 8.0F, 0.05F);
  EXPECT_NEAR(y[kCols + 1], 8e-7F, 1e-8F);
  EXPECT_TRUE(std::isnan(y[2 * kCols])) << "infinity over infinity";
  EXPECT_LT(std::abs(y[3 * kCols]), 1e-30F);
}

TEST_F(CudaBackendTest, element_wise_operations_equal_reference) {
  for (const std::int64_t n : {1, 7, 8, 9, 255, 4096, 100003}) {
    std::vector<float> g = bf16_floats(n, 12, 5.0F);
    constexpr float kExtremes[] = {-100, -20, 0, 20, 100};
    std::copy_n(kExtremes, std::min<std::int64_t>(n, 5), g.begin());
    const std::vector<float> u = bf16_floats(n, 13);
    std::vector<double> silu;
    std::vector<double> sigmoid;
    std::vector<double> scaled;
    for (std::size_t i = 0; i < g.size(); ++i) {
      const double gate = 1 / (1 + std::exp(-static_cast<double>(g[i])));
      silu.push_back(static_cast<double>(g[i]) * gate * static_cast<double>(u[i]));
      sigmoid.push_back(static_cast<double>(u[i]) * gate);
      scaled.push_back(-3.0 * static_cast<double>(u[i]));
    }
    const DeviceMatrix gate(1, n, g);
    const DeviceMatrix up(1, n, u);
    expect_within(
        output_of(1, n, [&](TensorView y) { backend_->silu_mul(gate.view(), up.view(), y); }), silu,
        tolerance::kOneRounding);
    const auto in_place = [&](const auto& operation) {
      return output_of(1, n, [&](TensorView y) {
        backend_->copy(up.view(), y);
        operation(y);
      });
    };
    expect_within(in_place([&](TensorView y) { backend_->sigmoid_mul(gate.view(), y); }), sigmoid,
                  tolerance::kOneRounding);
    expect_within(in_place([&](TensorView y) { backend_->scale(y, -3.0F); }), scaled,
                  tolerance::kOneRounding);
    EXPECT_EQ(in_place([&](TensorView y) { backend_->fill_zero(y); }),
              std::vector<float>(static_cast<std::size_t>(n), 0.0F));
  }
}

TEST_F(CudaBackendTest, embed_takes_the_rows_asked_for) {
  for (const std::int64_t cols : {16, 30, 4096}) {
    const std::vector<float> table = bf16_floats(50 * cols, 17);
    std::vector<TokenId> ids(20000);  // more than are embedded at a time
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<TokenId>(i * i % 50);
    if (cols == 4096) ids.resize(9);
    const auto n = static_cast<std::int64_t>(ids.size());
    std::vector<float> expected;
    for (const TokenId id : ids) {
      for (std::int64_t c = 0; c < cols; ++c) {
        expected.push_back(round_to_bf16(12.0F * table[static_cast<std::size_t>(id * cols + c)]));
      }
    }
    const DeviceMatrix t(50, cols, table);
    EXPECT_EQ(output_of(n, cols, [&](TensorView y) { backend_->embed(t.view(), ids, 12.0F, y); }),
              expected);
    backend_->set_sampled(31);
    const auto row =
        output_of(1, cols, [&](TensorView y) { backend_->embed_sampled(t.view(), 12.0F, y); });
    for (std::int64_t c = 0; c < cols; ++c) {
      ASSERT_EQ(row[static_cast<std::size_t>(c)],
                round_to_bf16(12.0F * table[static_cast<std::size_t>(31 * cols + c)]));
    }
  }
}

TEST_F(CudaBackendTest, random_weights_are_those_of_the_cpu) {
  const auto cpu = make_backend("cpu", 1);
  const Tensor expected = make_tensor(*cpu, 37, 1001, "weights");
  cpu->fill_uniform(expected.view, 0x123456789abcdefU, 0.3F);
  const auto values = output_of(
      37, 1001, [&](TensorView y) { backend_->fill_uniform(y, 0x123456789abcdefU, 0.3F); });
  EXPECT_TRUE(std::equal(values.begin(), values.end(), expected.view.f32()));
}

TEST_F(CudaBackendTest, upload_rounds_every_dtype_to_bf16_and_download_widens) {
  constexpr std::int64_t kN = (1 << 20) + 77;  // more than one block of the conversion
  std::vector<float> wide = random_floats(kN, 18);
  const Tensor from_f32 = backend_->upload({wide.data(), DType::f32, 1, kN}, "weights");
  std::vector<float> values(wide.size());
  backend_->download(from_f32.view, values);
  EXPECT_EQ(values, rounded_to_bf16(wide));
  std::vector<Bf16Bits> narrow = to_bf16(wide);
  const Tensor from_narrow = backend_->upload({narrow.data(), DType::bf16, 1, kN}, "weights");
  backend_->download(from_narrow.view, values);
  EXPECT_EQ(values, from_bf16(narrow));
  std::vector<std::uint16_t> halves{0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00};
  const Tensor from_f16 = backend_->upload({halves.data(), DType::f16, 1, 5}, "weights");
  values.resize(5);
  backend_->download(from_f16.view, values);
  EXPECT_EQ(values,
            (std::vector<float>{1, -2, 65536, 0x1p-24F, std::numeric_limits<float>::infinity()}));
}

TEST_F(CudaBackendTest, sampling_takes_the_largest_logit_and_the_lowest_id_on_ties) {
  const auto sample = [&](const std::vector<float>& logits, bool round = false) {
    const DeviceBuffer<float> buffer(logits);
    backend_->sample_greedy({buffer.data(), DType::f32, 1, buffer.size()}, round);
    const auto id = backend_->sampled();
    return id ? *id : -1;
  };
  for (const std::int64_t vocab : {1, 31, 256, 73448, 200001}) {
    std::vector<float> logits = random_floats(vocab, 19);
    const auto top = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(sample(logits), top) << vocab;
    std::fill(logits.begin(), logits.end(), -5.0F);
    EXPECT_EQ(sample(logits), 0) << "all equal, " << vocab;
    if (vocab < 31) continue;
    logits[30] = logits[static_cast<std::size_t>(vocab - 1)] = 2.0F;
    EXPECT_EQ(sample(logits), 30) << vocab;
    logits[7] = std::nextafter(2.0F, 3.0F);
    EXPECT_EQ(sample(logits), 7);
    logits[5] = 2.0F;
    EXPECT_EQ(sample(logits, true), 5) << "rounded to bf16 they are equal";
  }
  EXPECT_EQ(sample({-1.0F, -0.0F, 0.0F}), 1) << "both zeros are equal";
  EXPECT_EQ(sample({1.0F, std::numeric_limits<float>::quiet_NaN()}), -1);
  EXPECT_EQ(sample({1.0F, -std::numeric_limits<float>::infinity()}), -1);
  EXPECT_EQ(sample({1.0F, 3e38F}), 1) << "the scratch is clean after a failure";
  EXPECT_EQ(sample({1.0F, 3.4e38F}, true), -1) << "rounds to infinity";
}

TEST_F(CudaBackendTest, recorded_work_runs_when_asked_and_as_often) {
  const DeviceMatrix x(1, 64, std::vector<float>(64, 1.0F));
  const auto recording = backend_->record([&] {
    backend_->scale(x.view(), 2.0F);
    backend_->advance_position();
  });
  ASSERT_NE(recording, nullptr);
  EXPECT_EQ(x.values()[0], 1.0F) << "recording runs nothing";
  backend_->set_position(5);
  for (int i = 0; i < 3; ++i) recording->run();
  EXPECT_EQ(x.values()[63], 8.0F);
  std::int32_t position = 0;
  SALA_CUDA(cudaMemcpy(&position, backend_->position(), sizeof(position), cudaMemcpyDeviceToHost));
  EXPECT_EQ(position, 8);
}

TEST_F(CudaBackendTest, work_that_throws_while_recorded_leaves_the_stream_usable) {
  EXPECT_THROW(backend_->record([&] { throw Error("test", "stop"); }), Error);
  EXPECT_THROW(backend_->record([&] { backend_->allocate(1 << 20, "workspace"); }), Error);
  const DeviceMatrix x(1, 8, std::vector<float>(8, 1.0F));
  backend_->scale(x.view(), 2.0F);
  EXPECT_EQ(x.values()[0], 2.0F);
}

TEST_F(CudaBackendTest, a_product_is_tuned_and_computes_the_same) {
  constexpr std::int64_t kRows = 192;
  const std::vector<float> x = bf16_floats(kRows * 256, 20);
  const std::vector<float> w = bf16_floats(128 * 256, 21);
  const DeviceMatrix a(kRows, 256, x);
  const DeviceMatrix b(128, 256, w);
  backend_->set_tuning(true);
  const DeviceMatrix ignored(kRows, 128);
  backend_->matmul(a.view(), b.view(), ignored.view());
  backend_->set_tuning(false);
  expect_within(
      output_of(kRows, 128, [&](TensorView y) { backend_->matmul(a.view(), b.view(), y); }),
      reference_product(widened(x), widened(w), 256), tolerance::kOneRounding);
}

TEST_F(CudaBackendTest, a_row_has_the_same_bits_whatever_number_of_rows_was_tuned) {
  constexpr std::int64_t kRows = 4096;
  constexpr std::int64_t kIn = 1024;
  constexpr std::int64_t kOut = 512;
  const DeviceMatrix x(kRows, kIn, bf16_floats(kRows * kIn, 22));
  const DeviceMatrix w(kOut, kIn, bf16_floats(kOut * kIn, 23));
  const auto product = [&](std::int64_t rows) {
    return output_of(rows, kOut, [&](TensorView y) {
      backend_->matmul(x.view().row_range(0, rows), w.view(), y);
    });
  };
  backend_->set_tuning(true);
  const DeviceMatrix ignored(kRows, kOut);
  backend_->matmul(x.view(), w.view(), ignored.view());
  backend_->set_tuning(false);
  const std::vector<float> all = product(kRows);
  for (const std::int64_t rows : {2048, 2501, 4095}) {
    const std::vector<float> some = product(rows);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin())) << rows;
  }
}

TEST_F(CudaBackendTest, stages_are_timed_on_the_device) {
  Trace trace(backend_->stage_clock());
  const DeviceMatrix x(1, 1 << 20, std::vector<float>(1 << 20, 1.0F));
  for (int i = 0; i < 3; ++i) {
    const Span span(trace, "scale", {10, 0});
    backend_->scale(x.view(), 1.0F);
  }
  ASSERT_EQ(trace.stages().size(), 1U);
  EXPECT_EQ(trace.stages()[0].calls, 3);
  EXPECT_EQ(trace.stages()[0].flops, 30);
  EXPECT_GT(trace.stages()[0].ns, 0);
}

TEST_F(CudaBackendTest, stages_on_the_device_follow_each_other) {
  Trace trace(backend_->stage_clock());
  trace.set_keeps_timeline(true);
  const DeviceMatrix x(1, 1 << 20, std::vector<float>(1 << 20, 1.0F));
  for (int i = 0; i < 4; ++i) {
    {
      const RangeScope range(trace, "layer", RangeKind::layer, i);
      const Span span(trace, "scale");
      backend_->scale(x.view(), 1.0F);
    }
    if (i % 2 == 1) trace.settle();
  }
  ASSERT_EQ(trace.timeline().stages.size(), 4U);
  std::int64_t end = trace.timeline().stages[0].time.start_ns;
  for (const Timeline::Stage& stage : trace.timeline().stages) {
    EXPECT_GE(stage.time.start_ns, end);
    EXPECT_GT(stage.time.ns, 0);
    EXPECT_LT(stage.time.start_ns - end, 1'000'000'000) << "the axis jumps";
    end = stage.time.start_ns + stage.time.ns;
  }
}

TEST_F(CudaBackendTest, ledger_follows_allocations) {
  MemoryLedger& ledger = backend_->ledger();
  const std::int64_t before = ledger.live_bytes();
  {
    const Buffer small = backend_->allocate(1, "kv_full");
    const Buffer large = backend_->allocate(1 << 20, "kv_full");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(small.data()) % 256, 0U);
    EXPECT_EQ(ledger.live_bytes() - before, 256 + (1 << 20));
  }
  EXPECT_EQ(ledger.live_bytes(), before);
}

TEST_F(CudaBackendTest, a_request_beyond_memory_is_a_typed_error_and_the_next_one_works) {
  try {
    backend_->allocate(std::int64_t{1} << 45, "kv_full");
    FAIL() << "allocated 32 TiB";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.category, "kv_full");
    EXPECT_EQ(error.requested_bytes, std::int64_t{1} << 45);
    EXPECT_FALSE(error.predicted);
  }
  EXPECT_NO_THROW(backend_->allocate(1 << 20, "kv_full"));
  EXPECT_GT(backend_->available_bytes(), 0);
  EXPECT_LE(backend_->available_bytes(), backend_->info().memory_bytes);
}

TEST_F(CudaBackendTest, elements_behind_two_to_the_32_are_reached) {
  constexpr std::int64_t kCols = 4096;
  constexpr std::int64_t kRows = (std::int64_t{1} << 20) + 3;
  if (backend_->available_bytes() < (kRows + 1) * kCols * 2) GTEST_SKIP() << "needs 8.6 GB";
  const Tensor x = make_tensor(*backend_, kRows, kCols, "workspace");
  backend_->fill_zero(x.view);
  const std::vector<float> last = bf16_floats(3 * kCols, 22);
  const DeviceMatrix tail(3, kCols, last);
  backend_->copy(tail.view(), x.view.row_range(kRows - 3, 3));
  const DeviceMatrix weight(1, kCols, std::vector<float>(kCols, 1.0F));
  backend_->rms_norm(x.view, weight.view(), 1e-6F, x.view);
  backend_->scale(x.view, 2.0F);
  std::vector<double> expected = widened(last);
  reference_rms_norm(expected, std::vector<double>(kCols, 1.0), 1e-6);
  for (double& value : expected) value *= 2;
  std::vector<float> values(last.size());
  backend_->download(x.view.row_range(kRows - 3, 3), values);
  expect_within(values, expected, tolerance::kOneRounding);
}

TEST_F(CudaBackendTest, an_index_without_a_gpu_is_named) {
  expect_error([] { make_backend("cuda:63", 0); }, {"cuda:63", "GPUs"});
}

TEST(CudaBackendWithoutDevice, says_what_is_missing) {
  int n_devices = 0;
  if (cudaGetDeviceCount(&n_devices) == cudaSuccess && n_devices > 0)
    GTEST_SKIP() << "a GPU is here";
  expect_error([] { make_backend("cuda", 0); }, {"cuda", "--device cpu"});
}

TEST(CudaBackendWithoutDevice, names_that_are_no_device_are_refused) {
  for (const char* name : {"cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cudas"}) {
    expect_error([&] { make_backend(name, 0); }, {name, "cuda:<index>"});
  }
}

}  // namespace
}  // namespace sala::testing
