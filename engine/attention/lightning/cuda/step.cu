// Linear attention for one token: every block carries 32 columns of one head's state on.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/cuda/step.h"
#include "engine/backend/cuda/device/warp.cuh"
#include "engine/backend/cuda/vector8.cuh"

namespace sala::cuda::lightning {

namespace {

constexpr int kThreads = 256;
constexpr int kCols = 32;            // of v, eight threads of four
constexpr int kRows = kThreads / 8;  // of k, taken in one pass

/// Cosine and sine of pair i at the present position; 1 and 0 without rotation.
__device__ float2 turn(const StepParams& p, int i) {
  if (!p.rotates) return make_float2(1.0F, 0.0F);
  float2 result;
  if (p.exact_angle) {
    double sine = 0;
    double cosine = 0;
    sincos(*p.position * p.inv_freq[i], &sine, &cosine);
    result = make_float2(static_cast<float>(cosine), static_cast<float>(sine));
  } else {
    const float angle = static_cast<float>(*p.position) * static_cast<float>(p.inv_freq[i]);
    sincosf(angle, &result.y, &result.x);
  }
  return result;
}

/// One warp: norm and rotation of one head's vector, of which a lane holds elements 2 lane and
/// 2 lane + 1 of either half. Adds and rounds as norm_rotary() of the backend does.
template <int kDim>
__device__ void norm_and_rotate(const __nv_bfloat16* x, const __nv_bfloat16* weight,
                                const StepParams& p, int lane, float* result) {
  constexpr int kHalf = kDim / 2;
  const int at = lane * 2;
  const bool holds = at < kHalf;
  const auto load = [&](const __nv_bfloat16* from) {
    if (!holds) return make_float2(0.0F, 0.0F);
    return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(from + at));
  };
  float2 low = load(x);
  float2 high = load(x + kHalf);
  if (weight != nullptr) {
    const float squares = low.x * low.x + low.y * low.y + high.x * high.x + high.y * high.y;
    const float factor = rsqrtf(warp_sum(squares) / kDim + p.rms_norm_eps);
    const float2 low_weight = load(weight);
    const float2 high_weight = load(weight + kHalf);
    low.x = round_bf16(round_bf16(low.x * factor) * low_weight.x);
    low.y = round_bf16(round_bf16(low.y * factor) * low_weight.y);
    high.x = round_bf16(round_bf16(high.x * factor) * high_weight.x);
    high.y = round_bf16(round_bf16(high.y * factor) * high_weight.y);
  }
  if (!holds) return;
  const float2 turn_0 = turn(p, at);
  const float2 turn_1 = turn(p, at + 1);
  result[at] = round_bf16(low.x * turn_0.x - high.x * turn_0.y);
  result[at + 1] = round_bf16(low.y * turn_1.x - high.y * turn_1.y);
  result[at + kHalf] = round_bf16(high.x * turn_0.x + low.x * turn_0.y);
  result[at + kHalf + 1] = round_bf16(high.y * turn_1.x + low.y * turn_1.y);
}

/// Block (head, columns): thread t holds columns 4 (t % 8) ... of rows t / 8, t / 8 + 32, ...
template <int kDim>
__global__ void __launch_bounds__(kThreads) step_kernel(const __grid_constant__ StepParams p) {
  constexpr int kPasses = kDim / kRows;
  __shared__ float q[kDim];
  __shared__ float k[kDim];
  __shared__ float4 sums[kThreads / 32][8];
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  const int lane = thread % 32;
  const int head = static_cast<int>(blockIdx.x);
  const int kv_head = head / (p.n_heads / p.n_kv_heads);
  const int row_0 = thread / 8;
  const int col = static_cast<int>(blockIdx.y) * kCols + thread % 8 * 4;

  float* state = p.state + static_cast<std::int64_t>(head) * kDim * kDim + col;
  float4 s[kPasses];
#pragma unroll
  for (int i = 0; i < kPasses; ++i) {
    s[i] = *reinterpret_cast<const float4*>(state + (row_0 + i * kRows) * kDim);
  }
  if (warp == 0) {
    norm_and_rotate<kDim>(p.q + head * kDim, p.q_norm, p, lane, q);
  } else if (warp == 1) {
    norm_and_rotate<kDim>(p.k + kv_head * kDim, p.k_norm, p, lane, k);
  }
  const float keep = exp2f(-p.slope_log2[head]);
  float v[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i] = __bfloat162float(p.v[kv_head * kDim + col + i]);
  __syncthreads();

  float4 out{};
#pragma unroll
  for (int i = 0; i < kPasses; ++i) {
    const float key = k[row_0 + i * kRows];
    const float query = q[row_0 + i * kRows];
    s[i].x = keep * s[i].x + key * v[0];
    s[i].y = keep * s[i].y + key * v[1];
    s[i].z = keep * s[i].z + key * v[2];
    s[i].w = keep * s[i].w + key * v[3];
    *reinterpret_cast<float4*>(state + (row_0 + i * kRows) * kDim) = s[i];
    out.x += query * s[i].x;
    out.y += query * s[i].y;
    out.z += query * s[i].z;
    out.w += query * s[i].w;
  }
#pragma unroll
  for (int step = 8; step < 32; step *= 2) {
    out.x += __shfl_xor_sync(kWarp, out.x, step);
    out.y += __shfl_xor_sync(kWarp, out.y, step);
    out.z += __shfl_xor_sync(kWarp, out.z, step);
    out.w += __shfl_xor_sync(kWarp, out.w, step);
  }
  if (lane < 8) sums[warp][lane] = out;
  __syncthreads();
  if (thread < kCols) {
    float sum = 0.0F;
#pragma unroll
    for (int i = 0; i < kThreads / 32; ++i) {
      sum += reinterpret_cast<const float*>(sums[i])[thread];
    }
    p.out[head * kDim + static_cast<int>(blockIdx.y) * kCols + thread] =
        __float2bfloat16_rn(p.scale * sum);
  }
}

template <int kDim>
cudaError_t launch(const StepParams& p, cudaStream_t stream) {
  step_kernel<kDim>
      <<<dim3(static_cast<unsigned>(p.n_heads), kDim / kCols), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_step(const StepParams& params, cudaStream_t stream) {
  if (params.head_dim == 64) return launch<64>(params, stream);
  if (params.head_dim == 128) return launch<128>(params, stream);
  return cudaErrorInvalidValue;
}

Cost step_cost(const StepParams& params) {
  const double state = static_cast<double>(params.n_heads) * params.head_dim * params.head_dim;
  return {5 * state, 2 * state * 4};
}

}  // namespace sala::cuda::lightning
