// Picks the best-scored blocks of a row, whose scores a CTA holds in registers.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/select.h"
#include "engine/backend/cuda/device/warp.cuh"

namespace sala::cuda::infllm_v2 {

namespace {

// Scores are bf16 and not negative, so their 15 bits order like integers. Two share a register,
// with the unused sign bits set: subtracting a threshold leaves the sign where a score reaches it.
constexpr std::uint32_t kSigns = 0x80008000U;

/// One 16-byte piece of a row: the scores of eight blocks.
struct Piece {
  std::uint32_t pair[4];
};

__device__ __forceinline__ std::uint32_t reaching(std::uint32_t pair, std::uint32_t threshold) {
  return (pair - threshold * 0x10001U) & kSigns;
}

/// Bit i tells whether the i-th score of the piece reaches the threshold.
__device__ __forceinline__ unsigned char reaching_bits(const Piece& piece,
                                                       std::uint32_t threshold) {
  std::uint32_t bits = 0;  // even ones from bit 0 on, odd ones from bit 16 on, gaps between them
#pragma unroll
  for (int i = 0; i < 4; ++i) bits |= reaching(piece.pair[i], threshold) >> (15 - 2 * i);
  return static_cast<unsigned char>(bits | bits >> 15);
}

/// Makes the first n scores zero, which reach no threshold but zero.
__device__ __forceinline__ void clear_scores(Piece& piece, int n) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t kept = (2 * i >= n ? 0xffffU : 0U) | (2 * i + 1 >= n ? 0xffff0000U : 0U);
    piece.pair[i] &= kept | kSigns;
  }
}

/// Sum over the CTA. `sums`: shared, one int a warp, not in use by a call that others may still be
/// in; alternating between two arrays is enough.
template <int kThreads>
__device__ __forceinline__ int cta_sum(int x, int* sums) {
  x = static_cast<int>(__reduce_add_sync(kWarp, static_cast<unsigned>(x)));
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  int total = 0;
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) total += sums[i];
  return total;
}

/// Sum over the threads before this one, and over all of them in `total`.
template <int kThreads>
__device__ __forceinline__ int cta_prefix(int x, int* sums, int& total) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int inclusive = x;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int before = __shfl_up_sync(kWarp, inclusive, step);
    if (lane >= step) inclusive += before;
  }
  if (lane == 31) sums[threadIdx.x / 32] = inclusive;
  __syncthreads();
  int prefix = inclusive - x;
  total = 0;
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) {
    if (i < static_cast<int>(threadIdx.x) / 32) prefix += sums[i];
    total += sums[i];
  }
  return prefix;
}

/// Largest threshold that at least n_slots scores reach, found bit by bit; any set of n_slots
/// scores that does not depend on the order of equal ones lies above it.
template <int kThreads, int kPieces>
__device__ __forceinline__ std::uint32_t find_threshold(const Piece (&pieces)[kPieces],
                                                        std::int64_t n_slots,
                                                        int (&sums)[2][kThreads / 32]) {
  std::uint32_t threshold = 0;
  for (int bit = 14; bit >= 0; --bit) {
    const std::uint32_t candidate = threshold | 1U << bit;
    std::uint32_t counts = 0;  // of lower and upper halves
#pragma unroll
    for (const Piece& piece : pieces) {
#pragma unroll
      for (const std::uint32_t pair : piece.pair) counts += reaching(pair, candidate) >> 15;
    }
    const int mine = static_cast<int>((counts & 0xffffU) + (counts >> 16));
    const int total = cta_sum<kThreads>(mine, sums[bit % 2]);
    if (total >= n_slots) threshold = candidate;
    if (total == n_slots) break;
  }
  return threshold;
}

/// Largest threshold that the best scores of n_slots threads reach.
template <int kThreads, int kPieces>
__device__ __forceinline__ std::uint32_t find_bound(const Piece (&pieces)[kPieces],
                                                    std::int64_t n_slots) {
  std::uint32_t pair = kSigns;
#pragma unroll
  for (const Piece& piece : pieces) {
#pragma unroll
    for (const std::uint32_t other : piece.pair) pair = __vmaxu2(pair, other);
  }
  const std::uint32_t best = max(pair & 0x7fffU, pair >> 16 & 0x7fffU);
  std::uint32_t bound = 0;
  for (int bit = 14; bit >= 0; --bit) {
    const std::uint32_t candidate = bound | 1U << bit;
    if (__syncthreads_count(best >= candidate) >= n_slots) bound = candidate;
  }
  return bound;
}

/// The same threshold as find_threshold(), or another that selects the same scores, from the few
/// that reach find_bound(): all that are kept are among them. Zero when more reach it than fit.
/// scores: of the row. few: shared, a piece a thread.
template <int kThreads, int kPieces>
__device__ __forceinline__ std::uint32_t find_threshold_of_few(const Piece (&pieces)[kPieces],
                                                               const __nv_bfloat16* scores,
                                                               std::int64_t n_slots,
                                                               Piece (&few)[kThreads],
                                                               int (&sums)[2][kThreads / 32]) {
  const std::uint32_t bound = find_bound<kThreads>(pieces, n_slots);
  if (bound == 0) return 0;
  std::uint32_t reach[kPieces / 4];  // a byte a piece
  int n_mine = 0;
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const std::uint32_t bits = reaching_bits(pieces[i], bound);
    reach[i / 4] = i % 4 == 0 ? bits : reach[i / 4] | bits << (i % 4 * 8);
    if (i % 4 == 3) n_mine += __popc(reach[i / 4]);
  }
  few[threadIdx.x] = {{kSigns, kSigns, kSigns, kSigns}};
  int n_few;
  int at = cta_prefix<kThreads>(n_mine, sums[1], n_few);
  if (n_few > 8 * kThreads) return 0;
  auto* gathered = reinterpret_cast<std::uint16_t*>(few);
#pragma unroll
  for (int i = 0; i < kPieces / 4; ++i) {
    for (std::uint32_t bits = reach[i]; bits != 0; bits &= bits - 1) {
      const int bit = __ffs(static_cast<int>(bits)) - 1;
      const int piece = (i * 4 + bit / 8) * kThreads + static_cast<int>(threadIdx.x);
      // Read once more: registers cannot be indexed.
      gathered[at++] = __bfloat16_as_ushort(scores[piece * 8 + bit % 8]) | 0x8000U;
    }
  }
  __syncthreads();
  const Piece mine[1] = {few[threadIdx.x]};
  const std::uint32_t threshold = find_threshold<kThreads>(mine, n_slots, sums);
  return max(threshold, bound);  // scores that are not among the few may reach less
}

template <int kThreads, int kPieces>
__global__ void __launch_bounds__(kThreads) select_kernel(const SelectParams p) {
  constexpr int kWords = kPieces / 4;  // of the mask, a thread
  __shared__ int sums[2][kThreads / 32];
  __shared__ Piece few[kThreads];
  __shared__ union {
    unsigned char bytes[kThreads * kPieces];
    std::uint32_t words[kThreads * kWords];
  } above, equal;
  const std::int64_t row = blockIdx.x;
  const std::int64_t head = blockIdx.y;
  const std::int64_t t = p.position != nullptr ? *p.position : p.start + row;
  if (p.position != nullptr && t < p.ranked_begin) return;
  const std::int64_t off = t / kBlock;
  const std::int64_t begin = p.shape.init_blocks;
  const std::int64_t end = p.shape.candidates_end(off);
  const std::int64_t list = row * p.shape.n_kv_heads + head;

  Piece pieces[kPieces];
  const __nv_bfloat16* scores = p.scores + list * p.score_stride;
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const int index = i * kThreads + static_cast<int>(threadIdx.x);
    const uint4 loaded = index * 8 < end ? reinterpret_cast<const uint4*>(scores)[index] : uint4{};
    pieces[i] = {{loaded.x | kSigns, loaded.y | kSigns, loaded.z | kSigns, loaded.w | kSigns}};
    if (index * 8 < begin) clear_scores(pieces[i], static_cast<int>(begin) - index * 8);
  }

  const std::int64_t n_slots = p.shape.slots();
  std::uint32_t threshold = 0x7fffU;
  if (n_slots > 0) {
    // Threads without scores, and fewer of them than places, bound nothing.
    const bool has_bound = end - begin > 8 * kThreads && n_slots <= kThreads;
    threshold = has_bound ? find_threshold_of_few<kThreads>(pieces, scores, n_slots, few, sums) : 0;
    if (threshold == 0) threshold = find_threshold<kThreads>(pieces, n_slots, sums);
  }
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const int index = i * kThreads + static_cast<int>(threadIdx.x);
    const unsigned char greater = reaching_bits(pieces[i], threshold + 1);
    above.bytes[index] = greater;
    equal.bytes[index] = reaching_bits(pieces[i], threshold) & ~greater;
  }
  __syncthreads();

  // Each thread goes on with neighbouring words, so that threads are in the order of blocks.
  std::uint32_t ties[kWords];
  int n_ties = 0;
  int n_above = 0;
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    const int word = static_cast<int>(threadIdx.x) * kWords + i;
    ties[i] = equal.words[word] & bits_between(word, begin, end);
    n_ties += __popc(ties[i]);
    n_above += __popc(above.words[word]);
  }
  const int n_taken = cta_sum<kThreads>(n_above, sums[0]);
  int total_ties;
  const int ties_before = cta_prefix<kThreads>(n_ties, sums[1], total_ties);
  int left = static_cast<int>(n_slots) - n_taken - ties_before;
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    const int word = static_cast<int>(threadIdx.x) * kWords + i;
    const std::uint32_t forced = bits_between(word, 0, begin) | bits_between(word, end, off + 1);
    const int n = __popc(ties[i]);
    const std::uint32_t kept = left >= n ? ties[i] : lowest_bits(ties[i], left);
    if (word < mask_words(off)) {
      p.masks[list * p.mask_stride + word] = above.words[word] | kept | forced;
    }
    left -= n;
  }
}

/// For rows of up to kThreads * kPieces * 8 blocks.
template <int kThreads, int kPieces>
cudaError_t launch(const SelectParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.n_tokens), static_cast<unsigned>(p.shape.n_kv_heads));
  select_kernel<kThreads, kPieces><<<grid, kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_select(const SelectParams& p, cudaStream_t stream) {
  if (p.score_stride % 8 != 0 || p.score_stride > kMostBlocks) return cudaErrorInvalidValue;
  if (p.position != nullptr) return launch<512, 8>(p, stream);
  const std::int64_t last = (p.start + p.n_tokens - 1) / kBlock;
  if (p.start / kBlock < p.shape.n_selected() || p.mask_stride < mask_words(last) ||
      p.score_stride < padded_scores(p.shape.candidates_end(last)) || last >= kMostBlocks) {
    return cudaErrorInvalidValue;
  }
  if (last < 128 * 4 * 8) return launch<128, 4>(p, stream);
  if (last < 128 * 16 * 8) return launch<128, 16>(p, stream);
  return launch<256, 16>(p, stream);
}

Cost select_cost(const SelectParams& p) {
  double blocks = 0;
  double words = 0;
  for (std::int64_t t = p.start; t < p.start + p.n_tokens; ++t) {
    blocks += static_cast<double>(p.shape.candidates_end(t / kBlock));
    words += static_cast<double>(mask_words(t / kBlock));
  }
  return {0, static_cast<double>(p.shape.n_kv_heads) * (2 * blocks + 4 * words)};
}

}  // namespace sala::cuda::infllm_v2
