// Copies of whole tiles between global and shared memory by the tensor copy engine, and what pairs
// of CTAs need to share them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include <cstdint>

#include "engine/backend/cuda/device/shared_address.cuh"

namespace sala::cuda {

/// Makes what this thread wrote to shared memory visible to copies that it, or threads that it
/// meets at a later barrier, start.
__device__ __forceinline__ void publish_to_copies() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// One arrival, and as many bytes of copies, before the barrier's phase can end. The copies may
/// have come earlier within the phase.
__device__ __forceinline__ void mbarrier_arrive_expecting(std::uint64_t* barrier, int n_bytes) {
  asm volatile(
      "{\n"
      ".reg .b64 state;\n"
      "mbarrier.arrive.expect_tx.shared.b64 state, [%0], %1;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(n_bytes)
      : "memory");
}

/// Arrives at the barrier that CTA `rank` of the cluster has at the same place. It orders nothing
/// beyond this CTA: a release for the cluster would flush to the L2 at every call, and what it
/// tells the other CTA, that wgmma has read a stage, is over once wgmma was waited for.
__device__ __forceinline__ void mbarrier_arrive_at(std::uint64_t* barrier, int rank) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}

/// Makes the barriers that this thread has initialised known to copies and to the other CTAs, once
/// the cluster has met.
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  publish_to_copies();
}

/// Waits for all threads of the cluster, converged or not.
__device__ __forceinline__ void meet_cluster() {
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}

/// Starts copying the map's box whose first element is (row, col) to `to`, 128-byte aligned, or to
/// what the map's swizzle needs. What lies outside of the matrix becomes zero. The barrier gets the
/// bytes of the whole box.
__device__ __forceinline__ void load_box(void* to, const CUtensorMap* map, int row, int col,
                                         std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(col), "r"(row)
      : "memory");
}

/// The same of the matrix-th of several matrices.
__device__ __forceinline__ void load_box(void* to, const CUtensorMap* map, int matrix, int row,
                                         int col, std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(col), "r"(row), "r"(matrix)
      : "memory");
}

/// The same from the matrix-th on of a stack of several.
__device__ __forceinline__ void load_box(void* to, const CUtensorMap* map, int stack, int matrix,
                                         int row, int col, std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(col), "r"(row), "r"(matrix), "r"(stack)
      : "memory");
}

/// The two-dimensional copy into every CTA of the cluster whose bit is set in `ranks`, and to the
/// barriers that they have at the same place.
__device__ __forceinline__ void load_box_for(std::uint16_t ranks, void* to, const CUtensorMap* map,
                                             int row, int col, std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(col), "r"(row), "h"(ranks)
      : "memory");
}

/// Starts copying a box to the matrix, without what lies outside of it. What was written to shared
/// memory needs publish_to_copies() of the writers before.
__device__ __forceinline__ void store_box(const CUtensorMap* map, int row, int col,
                                          const void* from) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
      "r"(shared_address(from)), "r"(col), "r"(row)
      : "memory");
}
/// Closes the group of stores that this thread has started since the last commit.
__device__ __forceinline__ void store_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
/// Waits until all of this thread's committed stores have read shared memory.
__device__ __forceinline__ void store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

}  // namespace sala::cuda
