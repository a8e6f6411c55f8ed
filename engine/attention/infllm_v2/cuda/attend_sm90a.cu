// Attention of many tokens on Hopper: as on any GPU, but the copy engine brings the blocks.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/attend.h"
#include "engine/attention/infllm_v2/cuda/attend_ring.cuh"
#include "engine/backend/cuda/device/register_share.cuh"
#include "engine/backend/cuda/device/tma.cuh"
#include "engine/backend/cuda/tensor_map.h"

namespace sala::cuda::infllm_v2 {

namespace {

// A warp attends from one token. Of four more one copies: with a second one for values, random
// choices among 1M tokens took 15 % longer.
constexpr int kThreads = 32 * kAttendTile + 128;
constexpr int kAttendRegisters = 232;
constexpr int kCopyRegisters = 40;  // all together must not exceed those at launch

struct Maps {
  CUtensorMap keys, values;
};

/// What the copying warp does. All of it looks for blocks, one thread asks for them. Reads of a
/// stage that were over before the barrier need no fence against the copies behind it.
template <int kDim>
__device__ __forceinline__ void copy_blocks(Ring& ring, __nv_bfloat16* stages, int n_stages,
                                            const AttendParams& p, const Maps& maps,
                                            const Tile& tile) {
  const bool leads = threadIdx.x % 32 == 0;
  RingPlace at;
  for_blocks(p, tile, [&](int block, std::uint32_t members) {
    if (leads) {
      const auto copy = [&](__nv_bfloat16* to, const CUtensorMap* map, std::uint64_t* there) {
        mbarrier_arrive_expecting(there, kBlockElements<kDim> * sizeof(*to));
        for (int col = 0; col < kDim; col += kPanelCols) {
          load_box(to + kBlock * col, map, static_cast<int>(tile.head), block * kBlock, col, there);
        }
      };
      __nv_bfloat16* keys = stages + at.stage * 2 * kBlockElements<kDim>;
      mbarrier_wait(&ring.all_done[at.stage], at.parity ^ 1U);
      ring.entries[at.stage] = list_entry(static_cast<std::uint32_t>(block), members);
      copy(keys, &maps.keys, &ring.keys_there[at.stage]);
      copy(keys + kBlockElements<kDim>, &maps.values, &ring.values_there[at.stage]);
    }
    __syncwarp();
    at.advance(n_stages);
  });
  if (leads) {
    mbarrier_wait(&ring.all_done[at.stage], at.parity ^ 1U);
    ring.entries[at.stage] = list_entry(0, 0);
    mbarrier_arrive(&ring.keys_there[at.stage]);
  }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads, 1)
    attend_hopper_kernel(const AttendParams p, const __grid_constant__ Maps maps,
                         const int n_stages, const std::int64_t first_tile) {
  extern __shared__ __align__(1024) unsigned char raw[];
  __shared__ Ring ring;
  auto* stages = reinterpret_cast<__nv_bfloat16*>(raw);
  const Tile tile(p, first_tile + blockIdx.x);
  // The shuffle tells the compiler that it is the same in a warp.
  const int warp = __shfl_sync(kWarp, static_cast<int>(threadIdx.x) / 32, 0);
  if (threadIdx.x == 0) {
    ring.init(1);  // and the bytes
    publish_barriers();
  }
  __syncthreads();
  if (warp < kAttendTile) {
    take_registers<kAttendRegisters>();
    attend<kDim>(ring, stages, n_stages, p, tile, warp);
  } else {
    keep_registers<kCopyRegisters>();
    if (warp == kAttendTile) copy_blocks<kDim>(ring, stages, n_stages, p, maps, tile);
  }
}

template <int kDim>
cudaError_t launch(const AttendParams& p, cudaStream_t stream) {
  const auto stack = [&](const __nv_bfloat16* rows) {
    return MatrixStack{
        {rows, p.start + p.n_tokens, kDim}, kDim, p.shape.n_kv_heads, p.cache.capacity * kDim};
  };
  Maps maps;
  for (const cudaError_t error : {make_tensor_map(maps.keys, stack(p.cache.k), kBlock),
                                  make_tensor_map(maps.values, stack(p.cache.v), kBlock)}) {
    if (error != cudaSuccess) return error;
  }
  return launch_tiles<kDim>(p, attend_hopper_kernel<kDim>,
                            [&](unsigned n, std::int64_t first, int stages, std::size_t bytes) {
                              attend_hopper_kernel<kDim>
                                  <<<n, kThreads, bytes, stream>>>(p, maps, stages, first);
                            });
}

}  // namespace

cudaError_t launch_attend_hopper(const AttendParams& p, cudaStream_t stream) {
  if (p.shape.head_dim == 64) return launch<64>(p, stream);
  if (p.shape.head_dim == 128) return launch<128>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace sala::cuda::infllm_v2
