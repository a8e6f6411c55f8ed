// Linear attention over many tokens: states of segments, their scan, and the outputs.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/cuda/prefill.h"

#include "engine/attention/lightning/cuda/prefill_tile.cuh"

namespace sala::cuda::lightning {

namespace {

constexpr int kStateStages = 3;
constexpr int kScanThreads = 256;

template <int kDim>
constexpr int kTileElements = kTile * kDim;

template <int kDim>
constexpr int kStateBytes = kStateStages * 2 * kTileElements<kDim> * 2;

/// Stages of q, k and v, the state in bf16, and the faded scores.
template <int kDim, int kStages>
constexpr int kOutputBytes = (kStages * 3 * kTileElements<kDim> + kDim * kDim + kTile * kTile) * 2;

__device__ __forceinline__ TokenRange call_range(const PrefillParams& p) {
  return {p.start, p.start + p.n_tokens};
}
/// The KV head of a query head.
__device__ __forceinline__ int kv_head(const PrefillParams& p, int head) {
  return head / (p.n_heads / p.n_kv_heads);
}
__device__ __forceinline__ float* segment_state(const PrefillParams& p, std::int64_t index,
                                                int head) {
  const std::int64_t state = static_cast<std::int64_t>(p.head_dim) * p.head_dim;
  return static_cast<float*>(p.workspace) + (index * p.n_heads + head) * state;
}

/// The tiles of one block's tokens, numbered from 0, and where the first would begin in memory.
struct Tiles {
  __device__ Tiles(const PrefillParams& p, TokenRange range)
      : count(n_tiles(range)),
        begin(tile_rows(range, first_tile(range)).first),
        end(tile_rows(range, first_tile(range) + count - 1).end),
        token_0(first_tile(range) * kTile - p.start) {}

  __device__ ValidRows rows(int tile) const {
    return {tile == 0 ? begin : 0, tile + 1 == count ? end : kTile};
  }

  int count;
  int begin;  // first row of the first tile that is a token of the block
  int end;    // of the last tile
  std::int64_t token_0;
};

/// One head's column of a (n_tokens, n_heads * kDim) matrix, from row 0 of the first tile on, which
/// may lie before the matrix.
template <int kDim, typename T>
struct HeadColumn {
  __device__ HeadColumn(T* x, int n_heads, int head, const Tiles& tiles)
      : stride(static_cast<std::int64_t>(n_heads) * kDim),
        row_0(x + tiles.token_0 * stride + head * kDim) {}
  __device__ T* tile(int index) const { return row_0 + index * kTile * stride; }

  std::int64_t stride;
  T* row_0;
};

template <int kDim>
__device__ __forceinline__ void load_tile(__nv_bfloat16* to,
                                          const HeadColumn<kDim, const __nv_bfloat16>& from,
                                          int tile, const Tiles& tiles) {
  load_rows<kDim, kTile, kThreads>(to, from.tile(tile), from.stride, tiles.rows(tile),
                                   static_cast<int>(threadIdx.x));
}

/// What segment blockIdx.y adds to the state of one head, into the slot of the segment after it.
template <int kDim>
__global__ void __launch_bounds__(kThreads, 2)
    segment_states_kernel(const __grid_constant__ PrefillParams p) {
  extern __shared__ __align__(128) unsigned char memory[];
  auto* stages = reinterpret_cast<__nv_bfloat16*>(memory);
  const Place<kDim> place;
  // Slow-fading heads, which read most, have the highest numbers: they start first.
  const int head = p.n_heads - 1 - static_cast<int>(blockIdx.x);
  const float slope = p.slope_log2[head];
  const Tiles tiles(p, remembered(segment(call_range(p), blockIdx.y), slope));
  const HeadColumn<kDim, const __nv_bfloat16> k(p.k, p.n_kv_heads, kv_head(p, head), tiles);
  const HeadColumn<kDim, const __nv_bfloat16> v(p.v, p.n_kv_heads, kv_head(p, head), tiles);

  const auto stage = [&](int tile) {
    return stages + tile % kStateStages * 2 * kTileElements<kDim>;
  };
  const auto start_load = [&](int tile) {
    if (tile < tiles.count) {
      load_tile(stage(tile), k, tile, tiles);
      load_tile(stage(tile) + kTileElements<kDim>, v, tile, tiles);
    }
    cp_async_commit();
  };
  for (int i = 0; i < kStateStages - 1; ++i) start_load(i);

  StateTile<kDim> state;
  state.clear();
  for (int tile = 0; tile < tiles.count; ++tile) {
    cp_async_wait<kStateStages - 2>();
    __syncthreads();
    start_load(tile + kStateStages - 1);
    state.update(stage(tile), stage(tile) + kTileElements<kDim>, tiles.rows(tile), slope, place);
  }
  cp_async_wait<0>();
  state.store(segment_state(p, blockIdx.y + 1, head), place);
}

/// Turns the slots into the states before each segment, four neighbouring elements a thread.
__global__ void __launch_bounds__(kScanThreads)
    scan_kernel(const __grid_constant__ PrefillParams p) {
  const int per_head = p.head_dim * p.head_dim / 4;
  const int index = static_cast<int>(blockIdx.x * kScanThreads + threadIdx.x);
  const int head = index / per_head;
  const int element = index % per_head * 4;
  const float slope = p.slope_log2[head];
  const TokenRange call = call_range(p);
  const std::int64_t segments = n_segments(call);

  const auto slot = [&](std::int64_t i) {
    return reinterpret_cast<float4*>(segment_state(p, i, head) + element);
  };
  float4 state = *reinterpret_cast<const float4*>(
      p.state + static_cast<std::int64_t>(head) * p.head_dim * p.head_dim + element);
  *slot(0) = state;
  float4 added = *slot(1);
  for (std::int64_t i = 1; i < segments; ++i) {
    const float4 next = i + 1 < segments ? *slot(i + 1) : float4{};
    const TokenRange range = segment(call, i - 1);
    const float keep = decay(slope, static_cast<int>(range.end - range.first));
    state.x = keep * state.x + added.x;
    state.y = keep * state.y + added.y;
    state.z = keep * state.z + added.z;
    state.w = keep * state.w + added.w;
    *slot(i) = state;
    added = next;
  }
}

/// Outputs of segment blockIdx.y of one head; the last segment's block leaves the new state.
template <int kDim, int kStages>
__global__ void __launch_bounds__(kThreads, kDim == 64 ? 2 : 1)
    outputs_kernel(const __grid_constant__ PrefillParams p) {
  extern __shared__ __align__(128) unsigned char memory[];
  auto* stages = reinterpret_cast<__nv_bfloat16*>(memory);
  __nv_bfloat16* rounded_state = stages + kStages * 3 * kTileElements<kDim>;
  __nv_bfloat16* scores = rounded_state + kDim * kDim;
  const Place<kDim> place;
  const int head = static_cast<int>(blockIdx.x);
  float slope = p.slope_log2[head];
  const TokenRange call = call_range(p);
  const std::int64_t segments = n_segments(call);
  const Tiles tiles(p, segment(call, blockIdx.y));
  const HeadColumn<kDim, const __nv_bfloat16> q(p.q, p.n_heads, head, tiles);
  const HeadColumn<kDim, const __nv_bfloat16> k(p.k, p.n_kv_heads, kv_head(p, head), tiles);
  const HeadColumn<kDim, const __nv_bfloat16> v(p.v, p.n_kv_heads, kv_head(p, head), tiles);
  const HeadColumn<kDim, __nv_bfloat16> out(p.out, p.n_heads, head, tiles);
  float* carried = p.state + static_cast<std::int64_t>(head) * kDim * kDim;

  const auto stage = [&](int tile) { return stages + tile % kStages * 3 * kTileElements<kDim>; };
  const auto start_load = [&](int tile) {
    if (tile < tiles.count) {
      load_tile(stage(tile), q, tile, tiles);
      load_tile(stage(tile) + kTileElements<kDim>, k, tile, tiles);
      load_tile(stage(tile) + 2 * kTileElements<kDim>, v, tile, tiles);
    }
    cp_async_commit();
  };
  for (int i = 0; i < kStages - 1; ++i) start_load(i);

  StateTile<kDim> state;
  state.load(segments == 1 ? carried : segment_state(p, blockIdx.y, head), place);
  state.round_to(rounded_state, place);
  for (int tile = 0; tile < tiles.count; ++tile) {
    if constexpr (kStages == 1) {
      __syncthreads();  // all are done with the tile before
      start_load(tile);
      cp_async_wait<0>();
      __syncthreads();
    } else {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // the tile and the rounded state are there, the stage before it is free
      start_load(tile + kStages - 1);
    }
    __nv_bfloat16* q_tile = stage(tile);
    const __nv_bfloat16* k_tile = q_tile + kTileElements<kDim>;
    const __nv_bfloat16* v_tile = k_tile + kTileElements<kDim>;
    const ValidRows rows = tiles.rows(tile);
    keep_in_loop(slope);
    OutputTile<kDim> output;
    output.read_past(q_tile, k_tile, rounded_state, place);
    output.fade(scores, rows, slope, p.scale, place);
    __syncthreads();  // the scores are there; nobody reads q or the rounded state any more
    output.read_tile(scores, v_tile, place);
    output.store(out.tile(tile), out.stride, rows,
                 q_tile + place.warp * 32 * OutputTile<kDim>::kCols, place);
    state.update(k_tile, v_tile, rows, slope, place);
    state.round_to(rounded_state, place);
  }
  cp_async_wait<0>();
  if (blockIdx.y + 1 == segments) state.store(carried, place);
}

template <int kDim, int kStages>
cudaError_t launch_outputs(const PrefillParams& p, dim3 grid, cudaStream_t stream) {
  constexpr int kBytes = kOutputBytes<kDim, kStages>;
  const cudaError_t error = cudaFuncSetAttribute(
      outputs_kernel<kDim, kStages>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  outputs_kernel<kDim, kStages><<<grid, kThreads, kBytes, stream>>>(p);
  return cudaGetLastError();
}

/// Picks as many stages as the device has shared memory for.
template <int kDim>
cudaError_t launch_outputs(const PrefillParams& p, dim3 grid, cudaStream_t stream) {
  int device = 0;
  int bytes = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  }
  if (error != cudaSuccess) return error;
  if (kDim == 64 || bytes >= kOutputBytes<kDim, 3>) {
    return launch_outputs<kDim, 3>(p, grid, stream);
  }
  if constexpr (kDim == 128) {
    if (bytes >= kOutputBytes<kDim, 2>) return launch_outputs<kDim, 2>(p, grid, stream);
    return launch_outputs<kDim, 1>(p, grid, stream);
  }
  return cudaErrorInvalidValue;
}

template <int kDim>
cudaError_t launch_segments(const PrefillParams& p, unsigned n, cudaStream_t stream) {
  constexpr int kBytes = kStateBytes<kDim>;
  const cudaError_t error = cudaFuncSetAttribute(
      segment_states_kernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  const dim3 grid(static_cast<unsigned>(p.n_heads), n - 1);
  segment_states_kernel<kDim><<<grid, kThreads, kBytes, stream>>>(p);
  const unsigned elements = static_cast<unsigned>(p.n_heads) * kDim * kDim / 4;
  scan_kernel<<<elements / kScanThreads, kScanThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

template <int kDim>
cudaError_t launch(const PrefillParams& p, cudaStream_t stream) {
  const auto n = static_cast<unsigned>(n_segments({p.start, p.start + p.n_tokens}));
  if (n > 1) {
    const cudaError_t error = launch_segments<kDim>(p, n, stream);
    if (error != cudaSuccess) return error;
  }
  return launch_outputs<kDim>(p, dim3(static_cast<unsigned>(p.n_heads), n), stream);
}

}  // namespace

cudaError_t launch_prefill(const PrefillParams& params, cudaStream_t stream) {
  if (params.n_tokens < 1) return cudaErrorInvalidValue;
  if (params.head_dim == 64) return launch<64>(params, stream);
  if (params.head_dim == 128) return launch<128>(params, stream);
  return cudaErrorInvalidValue;
}

Cost prefill_cost(const PrefillParams& params) {
  const double d = params.head_dim;
  const double rows = static_cast<double>(params.n_tokens) * params.n_heads;
  const double kv_rows = static_cast<double>(params.n_tokens) * params.n_kv_heads;
  return {rows * 4 * d * (kTile + d),
          (2 * rows + 2 * kv_rows) * d * 2 + 2.0 * params.n_heads * d * d * 4};
}

std::int64_t prefill_workspace_bytes(std::int64_t n_tokens, int n_heads, int head_dim) {
  const std::int64_t most = (n_tokens + kSegment - 2) / kSegment + 1;
  return most == 1 ? 0 : most * n_heads * head_dim * head_dim * 4;
}

}  // namespace sala::cuda::lightning
