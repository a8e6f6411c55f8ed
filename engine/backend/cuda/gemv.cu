// Products of one row: a warp takes two rows of the weights and streams them past x in shared
// memory. Weights do not depend on x, so the first of them are on their way before x is there.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device/warp.cuh"
#include "engine/backend/cuda/gemv.h"
#include "engine/backend/cuda/vector8.cuh"

namespace sala::cuda {
namespace {

constexpr int kCta = 256;
constexpr int kWarps = kCta / 32;
constexpr int kRows = 2;                       // of the weights a warp
constexpr int kUnroll = 4;                     // vectors of each row in flight a lane
constexpr int kStep = kUnroll * 32 * kVector;  // elements of a row that a warp takes at a time

constexpr std::int64_t padded(std::int64_t in) {
  return (in + kStep - 1) / kStep * kStep;
}

using Weights = uint4[kRows][kUnroll];

/// Loads elements [begin, begin + kStep) of both rows; zeros behind the end.
__device__ __forceinline__ void load_weights(const __nv_bfloat16* const (&row)[kRows],
                                             std::int64_t begin, std::int64_t in, int lane,
                                             Weights& w) {
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t i = begin + (u * 32 + lane) * kVector;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      w[r][u] = i < in ? __ldcs(reinterpret_cast<const uint4*>(row[r] + i)) : uint4{0, 0, 0, 0};
    }
  }
}

__device__ __forceinline__ void multiply_add(const Weights& w, const __nv_bfloat16* x, int lane,
                                             float (&sum)[kRows]) {
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const Vector8 a = Vector8::load(x + (u * 32 + lane) * kVector);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Vector8 b = Vector8::unpack(w[r][u]);
#pragma unroll
      for (int j = 0; j < kVector; ++j) sum[r] = fmaf(a.value[j], b.value[j], sum[r]);
    }
  }
}

/// The part that row `index` of all parts together falls into; index becomes its row there.
__device__ __forceinline__ const GemvPart& part_of(const GemvParams& p, std::int64_t& index) {
  int i = 0;
  while (i + 1 < p.n_parts && index >= p.parts[i].rows) index -= p.parts[i++].rows;
  return p.parts[i];
}

__device__ __forceinline__ void store(const GemvPart& part, std::int64_t row, float value) {
  if (part.is_fp32) {
    static_cast<float*>(part.out)[row] = value;
  } else {
    static_cast<__nv_bfloat16*>(part.out)[row] = __float2bfloat16_rn(value);
  }
}

template <GemvEnd kEnd>
__global__ void __launch_bounds__(kCta)
    gemv_kernel(const __grid_constant__ GemvParams p, std::int64_t n_rows) {
  extern __shared__ __align__(16) __nv_bfloat16 x[];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t warp =
      static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  // Of GemvEnd::gate a warp takes row `warp` of both weights, else rows 2 warp and 2 warp + 1.
  // Warps and rows behind the end read the last row and store nothing.
  std::int64_t index[kRows];
  const __nv_bfloat16* row[kRows];
  const GemvPart* part[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if constexpr (kEnd == GemvEnd::gate) {
      index[r] = min(warp, n_rows - 1);
      part[r] = &p.parts[r];
    } else {
      index[r] = min(warp * kRows + r, n_rows - 1);
      part[r] = &part_of(p, index[r]);
    }
    row[r] = part[r]->weight + index[r] * p.in;
  }

  Weights now;
  load_weights(row, 0, p.in, lane, now);
  const std::int64_t end = (p.in + kStep - 1) / kStep * kStep;
  for (std::int64_t i = threadIdx.x * kVector; i < end; i += kCta * kVector) {
    const uint4 value = i < p.in ? *reinterpret_cast<const uint4*>(p.x + i) : uint4{0, 0, 0, 0};
    *reinterpret_cast<uint4*>(x + i) = value;
  }
  __syncthreads();

  float sum[kRows] = {};
  for (std::int64_t begin = 0; begin < end; begin += kStep) {
    Weights next;
    load_weights(row, begin + kStep, p.in, lane, next);
    multiply_add(now, x + begin, lane, sum);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) now[r][u] = next[r][u];
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) sum[r] = warp_sum(sum[r]);
  if (lane != 0) return;

  if constexpr (kEnd == GemvEnd::gate) {
    if (warp < n_rows) store(*part[0], warp, sum[0] * sigmoid(sum[0]) * sum[1]);
  } else {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (warp * kRows + r >= n_rows) break;
      if constexpr (kEnd == GemvEnd::add) {
        auto* out = static_cast<__nv_bfloat16*>(part[r]->out) + index[r];
        *out = __float2bfloat16_rn(__bfloat162float(*out) + p.scale * sum[r]);
      } else {
        store(*part[r], index[r], sum[r]);
      }
    }
  }
}

template <GemvEnd kEnd>
void run(const GemvParams& p, std::int64_t n_rows, cudaStream_t stream) {
  constexpr std::int64_t kRowsPerCta = kEnd == GemvEnd::gate ? kWarps : kWarps * kRows;
  const auto grid = static_cast<unsigned>((n_rows + kRowsPerCta - 1) / kRowsPerCta);
  const auto shared = static_cast<std::size_t>(padded(p.in)) * sizeof(__nv_bfloat16);
  gemv_kernel<kEnd><<<grid, kCta, shared, stream>>>(p, n_rows);
}

}  // namespace

cudaError_t launch_gemv(const GemvParams& p, cudaStream_t stream) {
  if (!gemv_takes(p.in) || p.n_parts < 1 || p.n_parts > kMaxGemvParts || !is_aligned(p.x)) {
    return cudaErrorInvalidValue;
  }
  std::int64_t n_rows = 0;
  for (int i = 0; i < p.n_parts; ++i) {
    if (!is_aligned(p.parts[i].weight) || p.parts[i].rows < 1) return cudaErrorInvalidValue;
    n_rows += p.parts[i].rows;
  }
  switch (p.end) {
    case GemvEnd::store:
      run<GemvEnd::store>(p, n_rows, stream);
      break;
    case GemvEnd::add:
      run<GemvEnd::add>(p, n_rows, stream);
      break;
    case GemvEnd::gate:
      if (p.n_parts != 2 || p.parts[0].rows != p.parts[1].rows) return cudaErrorInvalidValue;
      run<GemvEnd::gate>(p, p.parts[0].rows, stream);
      break;
  }
  return cudaGetLastError();
}

Cost gemv_cost(const GemvParams& p) {
  double rows = 0;
  for (int i = 0; i < p.n_parts; ++i) rows += static_cast<double>(p.parts[i].rows);
  return {2 * rows * static_cast<double>(p.in), 2 * rows * static_cast<double>(p.in)};
}

}  // namespace sala::cuda
