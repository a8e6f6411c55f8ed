// Attention of many tokens: a CTA takes eight of one KV head and all blocks that any of them reads.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/attend.h"

#include "engine/attention/infllm_v2/cuda/attend_row.h"
#include "engine/attention/infllm_v2/cuda/attend_tile.cuh"

namespace sala::cuda::infllm_v2 {

namespace {

constexpr int kThreads = 32 * kAttendTile;

template <int kDim>
__global__ void __launch_bounds__(kThreads, 1) attend_kernel(const AttendParams p) {
  extern __shared__ __align__(256) unsigned char raw[];
  auto& memory = *reinterpret_cast<AttendMemory<kDim>*>(raw);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t head = blockIdx.y;
  const std::int64_t first = (p.start / kAttendTile + blockIdx.x) * kAttendTile;
  const std::int64_t end = p.start + p.n_tokens;
  const std::int64_t last = first + kAttendTile < end ? first + kAttendTile - 1 : end - 1;
  const auto off = static_cast<int>(first / kBlock);
  const bool ranked = last >= p.ranked_begin;

  int n_entries = off + 1;
  if (ranked) {
    n_entries = make_list<kAttendTile, kThreads>(memory.list, off, [&](int i, int word) {
      const std::int64_t t = first + i;
      return t < p.start || t > last ? 0U : row_mask(p, head, t, t - p.start, off, word);
    });
    // Lists that most rows would only wait for are better done row by row.
    const bool alone = n_entries > 3 * p.shape.n_selected() || n_entries > kListEntries;
    if (threadIdx.x == 0) p.alone[head * gridDim.x + blockIdx.x] = alone ? 1 : 0;
    if (alone) return;
  } else if (p.alone != nullptr && threadIdx.x == 0) {
    p.alone[head * gridDim.x + blockIdx.x] = 0;
  }

  const std::int64_t t = first + warp;
  const bool present = t >= p.start && t < end;
  const std::int64_t offset =
      (present ? t - p.start : 0) * p.shape.q_dim() + head * p.shape.group * kDim;
  const int n_rows = present ? static_cast<int>(p.shape.group) : 0;
  std::uint32_t q[kDim / 16][4];
  load_query<kDim>(q, p.q + offset, n_rows);

  Softmax<kDim> softmax;
  const float factor = p.shape.scale * kLog2e;
  const auto n_local = static_cast<int>(p.shape.local_blocks + 1);
  const auto entry = [&](int i) {
    return ranked ? memory.list[list_order(i, n_entries, n_local)]
                  : list_entry(static_cast<std::uint32_t>(off - i), 0xffU);
  };
  for_blocks<kDim, kThreads>(
      memory, p, head, end, 0, n_entries, entry,
      [&](const __nv_bfloat16* keys, const __nv_bfloat16* values, std::uint32_t chosen) {
        if (!present || (entry_members(chosen) >> warp & 1U) == 0) return;
        const auto block = static_cast<int>(entry_block(chosen));
        const int n_visible = block == off ? static_cast<int>(t % kBlock) + 1 : kBlock;
        softmax.template add<kBlock>(q, keys, values, 0, n_visible, factor);
      });

  softmax.finish();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = c_fragment(lane, half * 2).row;
    if (row >= n_rows) continue;
    const float share = 1.0F / softmax.sum[half];
#pragma unroll
    for (int column = 0; column < kDim / 8; ++column) {
      const float* pair = softmax.out[column] + half * 2;
      *reinterpret_cast<std::uint32_t*>(p.out + offset + row * kDim + column * 8 +
                                        c_fragment(lane, 0).col) =
          pack_bf16(pair[0] * share, pair[1] * share);
    }
  }
}

template <int kDim>
cudaError_t launch(const AttendParams& p, cudaStream_t stream) {
  constexpr int kBytes = sizeof(AttendMemory<kDim>);
  const cudaError_t error = cudaFuncSetAttribute(
      attend_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  const dim3 grid(static_cast<unsigned>(attend_tiles(p.start, p.n_tokens)),
                  static_cast<unsigned>(p.shape.n_kv_heads));
  attend_kernel<kDim><<<grid, kThreads, kBytes, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_attend(const AttendParams& p, cudaStream_t stream) {
  const bool ranked = p.start + p.n_tokens > p.ranked_begin;
  if (p.shape.group > kRows || (p.shape.head_dim != 64 && p.shape.head_dim != 128) ||
      (ranked &&
       (p.shape.n_selected() > kListEntries || p.masks == nullptr || p.alone == nullptr))) {
    return cudaErrorInvalidValue;
  }
  const cudaError_t error = p.shape.head_dim == 64 ? launch<64>(p, stream) : launch<128>(p, stream);
  return error == cudaSuccess && ranked ? launch_attend_alone(p, stream) : error;
}

Cost attend_cost(const AttendParams& p) {
  double keys = 0;
  for (std::int64_t t = p.start; t < p.start + p.n_tokens; ++t) {
    const std::int64_t blocks = t < p.ranked_begin ? t / kBlock + 1 : p.shape.n_selected();
    keys += static_cast<double>((blocks - 1) * kBlock + t % kBlock + 1);
  }
  const auto rows = static_cast<double>(2 * p.n_tokens * p.shape.q_dim());
  const double most = static_cast<double>(p.start + p.n_tokens);
  const double cache = (keys < most ? keys : most) * static_cast<double>(2 * p.shape.kv_dim());
  return {4 * keys * static_cast<double>(p.shape.q_dim()), 2 * (rows + cache)};
}

}  // namespace sala::cuda::infllm_v2
