// Attention behind keys far larger than the L2, where tiles start in waves.
// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/cuda/infllm_v2_attend_fixture.h"

namespace sala::testing {
namespace {

// Blocks of a short sequence are laid so far apart that tiles start in waves, one a processor: more
// than one for each KV head, and every row must be what it is in the short sequence.
TEST_F(InfllmV2Attend, waves_of_tiles_in_a_very_long_sequence_change_nothing) {
  kernels::Shape shape = small_shape(128, 4);
  shape.topk = 10;
  constexpr std::int64_t kSpread = 16;  // blocks before those of the rows
  const std::int64_t n_processors = backend_->properties().multiProcessorCount;
  const std::int64_t l2_bytes = backend_->properties().l2CacheSize;
  constexpr std::int64_t kTile = 16;  // tokens of the larger tiles, those for Hopper
  const std::int64_t start = kSpread * kernels::kBlock + 3;
  const std::int64_t n = (n_processors + 3) * kTile - 5;
  DeviceSequence sequence(shape, start + n, stream());
  sequence.append(0, start + n);

  std::int64_t gap = 1;  // from one of the spread blocks to the next
  const auto far_block = [&](std::int64_t b) {
    return b < kSpread ? b * gap : b + kSpread * (gap - 1);
  };
  const auto moved = [&] { return kSpread * (gap - 1) * kernels::kBlock; };
  while (!kernels::is_far(start + n + moved(), shape.head_dim, l2_bytes)) ++gap;
  ASSERT_FALSE(kernels::is_far(start + n, shape.head_dim, l2_bytes));
  const std::int64_t capacity = sequence.capacity + moved();
  DeviceBuffer<Bf16Bits> far_k(shape.kv_dim() * capacity);  // NaN in all other blocks
  DeviceBuffer<Bf16Bits> far_v(shape.kv_dim() * capacity);
  const auto pitch = [&](std::int64_t tokens) {
    return static_cast<std::size_t>(tokens * shape.head_dim) * sizeof(Bf16Bits);
  };
  for (std::int64_t b = 0; b < sequence.capacity / kernels::kBlock; ++b) {
    const std::int64_t from = b * kernels::kBlock * shape.head_dim;
    const std::int64_t to = far_block(b) * kernels::kBlock * shape.head_dim;
    for (const auto& [far, near] : {std::pair{&far_k, &sequence.k}, {&far_v, &sequence.v}}) {
      SALA_CUDA(cudaMemcpy2D(far->data() + to, pitch(capacity), near->data() + from,
                             pitch(sequence.capacity), pitch(kernels::kBlock),
                             static_cast<std::size_t>(shape.n_kv_heads), cudaMemcpyDeviceToDevice));
    }
  }
  SALA_CUDA(cudaDeviceSynchronize());

  const Choice choice = [&](std::int64_t t, std::int64_t head) {
    return random_choice(shape, t, static_cast<std::uint64_t>(t * 2 + head));
  };
  const Choice far_choice = [&](std::int64_t t, std::int64_t head) {
    Blocks blocks = choice(t - moved(), head);
    for (std::int32_t& b : blocks) b = static_cast<std::int32_t>(far_block(b));
    return blocks;
  };
  const Call near = attend(sequence, start, n, first_ranked(shape), choice);
  expect_reference(sequence, near, start, first_ranked(shape), choice, 41);
  const kernels::Cache far_cache{.k = bf16(far_k), .v = bf16(far_v), .capacity = capacity};
  const std::vector<float> far =
      attend(far_cache, shape, near.q, start + moved(), first_ranked(shape), far_choice);
  const std::int64_t row = shape.q_dim();
  for (std::int64_t r = 0; r < n; ++r) {
    ASSERT_TRUE(
        std::equal(far.begin() + r * row, far.begin() + (r + 1) * row, near.out.begin() + r * row))
        << "row " << r;
  }
}

}  // namespace
}  // namespace sala::testing
