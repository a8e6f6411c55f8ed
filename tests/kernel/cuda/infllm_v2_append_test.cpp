// The caches of block-sparse attention on the GPU: contents, and independence of how tokens arrive.
// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/cuda/infllm_v2_fixture.h"

namespace sala::testing {
namespace {

class InfllmV2Append : public DeviceTest {};

struct Contents {
  std::vector<Bf16Bits> k, v, k1, k2;
  bool operator==(const Contents&) const = default;
};

Contents contents(const DeviceSequence& sequence) {
  sequence.expect_guards_intact();
  return {sequence.k.download(), sequence.v.download(), sequence.k1.download(),
          sequence.k2.download()};
}

/// The caches after tokens that arrive in those pieces, the last n_steps one by one.
Contents after(const kernels::Shape& shape, const std::vector<std::int64_t>& pieces,
               std::int64_t n_steps, cudaStream_t stream) {
  const std::int64_t length = std::accumulate(pieces.begin(), pieces.end(), n_steps);
  DeviceSequence sequence(shape, length, stream);
  std::int64_t done = 0;
  for (const std::int64_t n : pieces) {
    sequence.append(done, done + n);
    done += n;
  }
  if (n_steps > 0) sequence.append(done, length, true);
  return contents(sequence);
}

constexpr Bf16Bits kPoison = 0xffff;

TEST_F(InfllmV2Append, caches_hold_rows_and_means_of_complete_windows_and_nothing_else) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t n : {1, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 700}) {
      SCOPED_TRACE(n);
      DeviceSequence sequence(small_shape(head_dim), n, stream());
      sequence.append(0, n);
      const Contents got = contents(sequence);
      const auto expect_rows = [&](const std::vector<Bf16Bits>& all, std::int64_t step,
                                   std::int64_t count, const auto& expected) {
        const std::int64_t rows = sequence.capacity / step;
        for (std::int64_t i = 0; i < static_cast<std::int64_t>(all.size()); ++i) {
          const std::int64_t head = i / (rows * head_dim);
          const std::int64_t j = i / head_dim % rows;
          const Bf16Bits bits = all[static_cast<std::size_t>(i)];
          if (j >= count) {
            ASSERT_EQ(bits, kPoison) << "row " << j << " was written";
          } else {
            expected(j, head * head_dim + i % head_dim, bf16_to_f32(bits));
          }
        }
      };
      const auto key = [&](std::int64_t t, std::int64_t column) {
        return sequence.keys[static_cast<std::size_t>(t * sequence.shape.kv_dim() + column)];
      };
      expect_rows(got.k, 1, n, [&](std::int64_t t, std::int64_t column, float value) {
        ASSERT_EQ(value, key(t, column));
      });
      expect_rows(got.v, 1, n, [&](std::int64_t t, std::int64_t column, float value) {
        ASSERT_EQ(value,
                  sequence.values[static_cast<std::size_t>(t * sequence.shape.kv_dim() + column)]);
      });
      const auto expect_mean = [&](std::int64_t first, std::int64_t width, std::int64_t column,
                                   float value) {
        double mean = 0;
        for (std::int64_t t = first; t < first + width; ++t) {
          mean += static_cast<double>(key(t, column)) / static_cast<double>(width);
        }
        ASSERT_NEAR(static_cast<double>(value), mean, std::abs(mean) / 256 + 1e-7);
      };
      expect_rows(got.k1, 16, kernels::n_windows(n, 16),
                  [&](std::int64_t j, std::int64_t column, float value) {
                    expect_mean(16 * j, 32, column, value);
                  });
      expect_rows(got.k2, 64, kernels::n_windows(n, 64),
                  [&](std::int64_t j, std::int64_t column, float value) {
                    expect_mean(64 * j, 128, column, value);
                  });
    }
  }
}

TEST_F(InfllmV2Append, bits_do_not_depend_on_how_tokens_arrive) {
  for (const std::int64_t head_dim : {64, 128}) {
    const kernels::Shape shape = small_shape(head_dim);
    const Contents whole = after(shape, {400}, 0, stream());
    EXPECT_TRUE(after(shape, {1, 14, 1, 16, 17, 64, 63, 100, 124}, 0, stream()) == whole);
    EXPECT_TRUE(after(shape, {127}, 273, stream()) == whole);
    EXPECT_TRUE(after(shape, {}, 400, stream()) == whole);
  }
}

TEST_F(InfllmV2Append, offsets_beyond_two_to_the_31st_are_reached) {
  constexpr std::int64_t kCapacity = std::int64_t{1} << 20;
  kernels::Shape shape = small_shape(128);
  shape.n_kv_heads = 33;  // 4.4e9 elements a cache
  std::size_t available = 0;
  std::size_t installed = 0;
  SALA_CUDA(cudaMemGetInfo(&available, &installed));
  if (available < std::size_t{22} << 30) GTEST_SKIP() << "needs 22 GiB of device memory";
  DeviceBuffer<Bf16Bits> k(shape.kv_dim() * kCapacity);
  DeviceBuffer<Bf16Bits> v(shape.kv_dim() * kCapacity);
  DeviceBuffer<Bf16Bits> k1(shape.kv_dim() * kCapacity / 16);
  DeviceBuffer<Bf16Bits> k2(shape.kv_dim() * kCapacity / 64);
  const kernels::Cache cache{bf16(k), bf16(v), bf16(k1), bf16(k2), kCapacity};
  const DeviceBuffer<Bf16Bits> ones(
      std::vector<Bf16Bits>(static_cast<std::size_t>(128 * shape.kv_dim()), f32_to_bf16(1.0F)));
  SALA_CUDA(kernels::launch_append({.k = bf16(ones),
                                    .v = bf16(ones),
                                    .cache = cache,
                                    .shape = shape,
                                    .start = kCapacity - 128,
                                    .n_tokens = 128},
                                   stream()));
  sync();
  const auto last = [](const DeviceBuffer<Bf16Bits>& buffer, std::int64_t back) {
    Bf16Bits bits = 0;
    SALA_CUDA(cudaMemcpy(&bits, buffer.data() + buffer.size() - back, sizeof(bits),
                         cudaMemcpyDeviceToHost));
    return bf16_to_f32(bits);
  };
  EXPECT_EQ(last(k, 1), 1.0F);
  EXPECT_EQ(last(v, 128 * 128), 1.0F);
  EXPECT_EQ(last(k1, 129), 1.0F);  // the last row of k1 and of k2 never becomes a window
  EXPECT_EQ(last(k2, 129), 1.0F);
  for (const auto* buffer : {&k, &v, &k1, &k2}) buffer->expect_guards_intact();
}

}  // namespace
}  // namespace sala::testing
