// Copies new keys and values into a head-major cache, 16 bytes a thread.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/cuda/append.h"

namespace sala::cuda::dense {

namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 8;  // elements of 16 bytes

/// Block (pieces of a token, token).
__global__ void __launch_bounds__(kThreads)
    append_kernel(const __grid_constant__ AppendParams p, int pieces) {
  const std::int64_t token = blockIdx.x;
  const int piece = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (piece >= pieces) return;
  const int head = piece * kPiece / p.head_dim;
  const std::int64_t row = (p.position != nullptr ? *p.position : p.start) + token;
  const std::int64_t from = token * pieces + piece;
  const std::int64_t to =
      (head * p.capacity + row) * (p.head_dim / kPiece) + piece % (p.head_dim / kPiece);
  reinterpret_cast<uint4*>(p.k_cache)[to] = reinterpret_cast<const uint4*>(p.k)[from];
  reinterpret_cast<uint4*>(p.v_cache)[to] = reinterpret_cast<const uint4*>(p.v)[from];
}

}  // namespace

cudaError_t launch_append(const AppendParams& params, cudaStream_t stream) {
  if (params.n_tokens < 1 || params.head_dim % kPiece != 0) return cudaErrorInvalidValue;
  const int pieces = params.n_kv_heads * params.head_dim / kPiece;
  const dim3 grid(static_cast<unsigned>(params.n_tokens),
                  static_cast<unsigned>((pieces + kThreads - 1) / kThreads));
  append_kernel<<<grid, kThreads, 0, stream>>>(params, pieces);
  return cudaGetLastError();
}

Cost append_cost(const AppendParams& params) {
  const double width = static_cast<double>(params.n_kv_heads) * params.head_dim;
  return {0, 8 * static_cast<double>(params.n_tokens) * width};
}

}  // namespace sala::cuda::dense
