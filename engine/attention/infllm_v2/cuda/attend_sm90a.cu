// Attention of many tokens on Hopper: a CTA takes sixteen, a warp two of them, and the copy engine
// brings the blocks.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/cuda/attend.h"
#include "engine/attention/infllm_v2/cuda/attend_tokens.cuh"
#include "engine/backend/cuda/device/mbarrier.cuh"
#include "engine/backend/cuda/device/register_share.cuh"
#include "engine/backend/cuda/device/ring_place.h"
#include "engine/backend/cuda/device/tma.cuh"
#include "engine/backend/cuda/tensor_map.h"

namespace sala::cuda::infllm_v2 {

namespace {

constexpr int kTileTokens = 2 * kReaders;
using AttendTile = Tile<kTileTokens>;
// Of four more warps one lists blocks and one copies them.
constexpr int kThreads = 32 * kReaders + 128;
constexpr int kAttendRegisters = 240;
constexpr int kCopyRegisters = 24;  // all together must not exceed those at launch

constexpr std::int64_t kSharedBytes = 227 << 10;  // of a CTA
template <int kDim>
constexpr std::int64_t kQueryBytes = kTileTokens * kRows * kDim * 2;
template <int kDim>
constexpr int kStages = static_cast<int>(n_stages(kSharedBytes - kQueryBytes<kDim>, kDim));

struct Maps {
  CUtensorMap keys, values;
};

constexpr int kPage = 32;
constexpr int kPages = 3;  // one that is copied, one that is listed, and see list_blocks()
constexpr int kListed = kPages * kPage;

/// Blocks in the order in which they are copied, page after page, and where those who list, copy
/// and read them meet. The rank of a block counts those before it.
struct List {
  std::uint32_t entries[kPages][kPage];  // without members: the end
  std::uint64_t listed[kPages];
  std::uint64_t done[kPages];  // by all who walk along the pages
  std::uint64_t keys_there[kListed];
  std::uint64_t values_there[kListed];

  __device__ void init() {
    const auto i = static_cast<int>(threadIdx.x);
    if (i < kListed) {
      mbarrier_init(&keys_there[i], 1);  // and the bytes
      mbarrier_init(&values_there[i], 1);
    }
    if (i < kPages) {
      mbarrier_init(&listed[i], 32);
      mbarrier_init(&done[i], 32 * (kReaders + 1));
    }
  }
  /// Of the barriers of a block, or of the page of which it is the first.
  static __device__ std::uint32_t parity(int rank) {
    return static_cast<std::uint32_t>(rank) / kListed & 1U;
  }
  static __device__ int page(int rank) { return rank / kPage % kPages; }
};

template <int kDim>
struct Shared {
  __nv_bfloat16 stages[kStages<kDim>][2][kBlockElements<kDim>];  // keys, values
  uint4 queries[kTileTokens][kDim / 16][32];  // A fragments; registers hold the outputs
  List list;
  std::uint64_t stage_done[kStages<kDim>];  // by all that read
};

/// Members as bits of their warps, at even places.
__device__ __forceinline__ std::uint32_t member_warps(std::uint32_t members) {
  return (members | members >> 1) & 0x5555U;
}

/// What the listing warp does. Page n takes the place of n - 3, whose copies must be over. They are
/// once all are done with n - 2: its last copy was started into a stage that another of that page
/// had left.
__device__ __forceinline__ void list_blocks(List& list, const AttendParams& p,
                                            const AttendTile& tile) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int rank = 0;
  std::uint32_t entry = 0;
  const auto publish = [&](int first) {
    const int next = first + kPage;  // has the place of n - 2
    mbarrier_wait(&list.done[List::page(next)], List::parity(next) ^ 1U);
    list.entries[List::page(first)][lane] = entry;
    mbarrier_arrive(&list.listed[List::page(first)]);
    entry = 0;
  };
  for_blocks(p, tile, [&](int block, std::uint32_t members) {
    if (lane == rank % kPage) entry = list_entry(static_cast<std::uint32_t>(block), members);
    if (++rank % kPage == 0) publish(rank - kPage);
  });
  publish(rank / kPage * kPage);
}

/// Calls visit(rank, entry) for the blocks in turn whose members are wanted(members). All lanes of
/// a warp get the same.
template <typename Wanted, typename Visit>
__device__ __forceinline__ void for_listed(List& list, const Wanted& wanted, const Visit& visit) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  bool ends = false;
  for (int first = 0; !ends; first += kPage) {
    const int page = List::page(first);
    mbarrier_wait(&list.listed[page], List::parity(first));
    const std::uint32_t entry = list.entries[page][lane];
    std::uint32_t chosen = __ballot_sync(kWarp, wanted(entry_members(entry)));
    for (; chosen != 0; chosen &= chosen - 1) {
      const int i = __ffs(static_cast<int>(chosen)) - 1;
      visit(first + i, __shfl_sync(kWarp, entry, i));
    }
    mbarrier_arrive(&list.done[page]);
    ends = __any_sync(kWarp, entry_members(entry) == 0);
  }
}

/// What the copying warp does. Reads of a stage that were over before the barrier need no fence
/// against the copies behind it.
template <int kDim>
__device__ __forceinline__ void copy_blocks(Shared<kDim>& shared, const Maps& maps,
                                            const AttendTile& tile) {
  const bool leads = threadIdx.x % 32 == 0;
  RingPlace at;
  for_listed(
      shared.list, [](std::uint32_t members) { return members != 0; },
      [&](int rank, std::uint32_t entry) {
        if (leads) {
          const int row = static_cast<int>(entry_block(entry)) * kBlock;
          const auto copy = [&](__nv_bfloat16* to, const CUtensorMap* map, std::uint64_t* there) {
            mbarrier_arrive_expecting(there, kBlockElements<kDim> * sizeof(*to));
            for (int col = 0; col < kDim; col += kPanelCols) {
              load_box(to + kBlock * col, map, static_cast<int>(tile.head), row, col, there);
            }
          };
          auto& [keys, values] = shared.stages[at.stage];
          std::uint64_t* done = &shared.stage_done[at.stage];
          mbarrier_wait(done, at.parity ^ 1U);
          copy(keys, &maps.keys, &shared.list.keys_there[rank % kListed]);
          copy(values, &maps.values, &shared.list.values_there[rank % kListed]);
          // For the warps that never come to it.
          const int n_present = __popc(member_warps(entry_members(entry)));
          if (n_present < kReaders) mbarrier_arrive(done, 32 * (kReaders - n_present));
        }
        __syncwarp();
        at.advance(kStages<kDim>);
      });
}

/// Query rows of one or two tokens in shared memory.
template <int kDim>
struct StoredQueries {
  uint4 (*fragments)[kDim / 16][32];  // of each token

  __device__ __forceinline__ void read(int token, int k, std::uint32_t (&a)[4]) const {
    const uint4 piece = fragments[token][k][threadIdx.x % 32];
    a[0] = piece.x;
    a[1] = piece.y;
    a[2] = piece.z;
    a[3] = piece.w;
  }
};

/// What the warp of a pair of tokens does. What both read is loaded for both at once.
template <int kDim>
__device__ __forceinline__ void attend(Shared<kDim>& shared, const AttendParams& p,
                                       const AttendTile& tile, int warp) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t t = tile.first + 2 * warp;
  auto* queries = shared.queries + 2 * warp;
  TokenRows rows[2];
#pragma unroll 1  // keeps them out of registers, of which the outputs leave few
  for (int n = 0; n < 2; ++n) {
    rows[n] = TokenRows(p, tile, t + n);
    std::uint32_t q[kDim / 16][4];
    load_query<kDim>(q, p.q + rows[n].offset, rows[n].count);
#pragma unroll
    for (int k = 0; k < kDim / 16; ++k) queries[n][k][lane] = {q[k][0], q[k][1], q[k][2], q[k][3]};
  }

  Softmax<kDim> softmax[2];
  const float factor = p.shape.scale * kLog2e;
  const auto own = [&](std::uint32_t members) { return members >> (2 * warp) & 3U; };
  for_listed(
      shared.list, [&](std::uint32_t members) { return own(members) != 0; },
      [&](int rank, std::uint32_t entry) {
        const int stage = rank % kStages<kDim>;
        const __nv_bfloat16* keys = shared.stages[stage][0];
        const int n_visible = tile.n_visible(static_cast<int>(entry_block(entry)), t);
        const std::uint32_t readers = own(entry_members(entry));
        const auto wait_for_values = [&] {
          mbarrier_wait(&shared.list.values_there[rank % kListed], List::parity(rank));
        };
        mbarrier_wait(&shared.list.keys_there[rank % kListed], List::parity(rank));
        if (readers == 3) {
          attend_block<kDim, 2>(softmax, StoredQueries<kDim>{queries}, keys, n_visible, factor,
                                wait_for_values);
        } else if (readers == 1) {
          attend_block<kDim, 1>(softmax, StoredQueries<kDim>{queries}, keys, n_visible, factor,
                                wait_for_values);
        } else {
          attend_block<kDim, 1>(softmax + 1, StoredQueries<kDim>{queries + 1}, keys, n_visible + 1,
                                factor, wait_for_values);
        }
        // Each lane: racecheck does not follow one that arrives for its warp.
        mbarrier_arrive(&shared.stage_done[stage]);
      });
#pragma unroll
  for (int n = 0; n < 2; ++n) store_rows(softmax[n], p, rows[n]);
}

template <int kDim>
__global__ void __launch_bounds__(kThreads, 1)
    attend_hopper_kernel(const AttendParams p, const __grid_constant__ Maps maps,
                         const std::int64_t first_tile) {
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<Shared<kDim>*>(memory);
  const AttendTile tile(p, first_tile + blockIdx.x);
  // The shuffle tells the compiler that it is the same in a warp.
  const int warp = __shfl_sync(kWarp, static_cast<int>(threadIdx.x) / 32, 0);
  shared.list.init();
  if (threadIdx.x < kStages<kDim>) mbarrier_init(&shared.stage_done[threadIdx.x], 32 * kReaders);
  publish_barriers();
  __syncthreads();
  if (warp < kReaders) {
    take_registers<kAttendRegisters>();
    attend<kDim>(shared, p, tile, warp);
  } else {
    keep_registers<kCopyRegisters>();
    if (warp == kReaders) list_blocks(shared.list, p, tile);
    if (warp == kReaders + 1) copy_blocks<kDim>(shared, maps, tile);
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
  constexpr int kBytes = sizeof(Shared<kDim>);
  static_assert(kBytes <= kSharedBytes);
  return launch_tiles<kDim, kTileTokens>(
      p, attend_hopper_kernel<kDim>, kBytes, [&](unsigned n, std::int64_t first) {
        attend_hopper_kernel<kDim><<<n, kThreads, kBytes, stream>>>(p, maps, first);
      });
}

}  // namespace

cudaError_t launch_attend_hopper(const AttendParams& p, cudaStream_t stream) {
  if (p.shape.head_dim == 64) return launch<64>(p, stream);
  if (p.shape.head_dim == 128) return launch<128>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace sala::cuda::infllm_v2
