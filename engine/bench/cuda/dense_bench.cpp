// Full softmax attention in the shape of the 8B model: the project's kernel and cuDNN.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "engine/attention/dense/cuda/append.h"
#include "engine/attention/dense/cuda/prefill.h"
#include "engine/attention/dense/cuda/step.h"
#include "engine/attention/dense/cuda/tiles.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/backend/cuda/cudnn_attention.h"
#include "engine/base/error.h"
#include "engine/bench/cuda/device_bench.h"

namespace sala {

namespace {

namespace kernels = cuda::dense;

constexpr int kHeads = 32;
constexpr int kKvHeads = 8;
constexpr int kHeadDim = 128;
constexpr std::int64_t kRows = 8192;
const float kScale = 1.0F / std::sqrt(static_cast<float>(kHeadDim));

void add_append(const DeviceBench& bench) {
  bench.add(fmt::format("dense/append/{}", kRows), [=] {
    const Operands kv = bench.random(2, kRows, kKvHeads * kHeadDim);
    const Operands cache = bench.random(2, kKvHeads * kRows, kHeadDim);
    const kernels::AppendParams params{.k = bf16((*kv)[0]),
                                       .v = bf16((*kv)[1]),
                                       .k_cache = bf16((*cache)[0]),
                                       .v_cache = bf16((*cache)[1]),
                                       .capacity = kRows,
                                       .n_tokens = kRows,
                                       .n_kv_heads = kKvHeads,
                                       .head_dim = kHeadDim};
    return DeviceCase{.cost = kernels::append_cost(params),
                      .launch = [=, keep = std::pair(kv, cache)](std::int64_t) {
                        SALA_CUDA(kernels::launch_append(params, bench.stream()));
                      }};
  });
}

/// The last kRows rows of a prompt, `history` tokens before them.
struct Chunk {
  Chunk(const DeviceBench& bench, std::int64_t history)
      : q(bench.random(2, kRows, kHeads * kHeadDim)),
        kv(bench.random(2, kKvHeads * kernels::cache_capacity(history + kRows), kHeadDim)),
        params{.q = bf16((*q)[0]),
               .k = bf16((*kv)[0]),
               .v = bf16((*kv)[1]),
               .capacity = kernels::cache_capacity(history + kRows),
               .out = bf16((*q)[1]),
               .start = history,
               .n_tokens = kRows,
               .n_heads = kHeads,
               .n_kv_heads = kKvHeads,
               .head_dim = kHeadDim,
               .scale = kScale} {}

  Operands q;
  Operands kv;
  kernels::PrefillParams params;
};

void add_own(const DeviceBench& bench, std::int64_t history) {
  bench.add(fmt::format("dense/prefill/own/{}", history), [=] {
    const Chunk chunk(bench, history);
    return DeviceCase{.cost = kernels::prefill_cost(chunk.params), .launch = [=](std::int64_t) {
                        SALA_CUDA(kernels::launch_prefill(chunk.params, bench.stream()));
                      }};
  });
}

void add_cudnn(const DeviceBench& bench, std::int64_t history) {
  bench.add(fmt::format("dense/prefill/cudnn/{}", history), [=] {
    static_assert(kRows == CudnnAttention::kRows, "one run a call");
    const Chunk chunk(bench, history);
    const CudnnAttention& cudnn =
        shared_cudnn_attention({kHeads, kKvHeads, kHeadDim, chunk.params.capacity});
    if (!cudnn.available()) throw Error("cudnn", "{}", cudnn.reason());
    const auto workspace = bench.memory(1, cudnn.workspace_bytes());
    return DeviceCase{.cost = kernels::prefill_cost(chunk.params),
                      .launch = [=, &cudnn](std::int64_t) {
                        cudnn.run({.q = chunk.params.q,
                                   .k = chunk.params.k,
                                   .v = chunk.params.v,
                                   .out = chunk.params.out,
                                   .n_rows = kRows,
                                   .n_keys = history + kRows,
                                   .scale = kScale,
                                   .workspace = (*workspace)[0].data()},
                                  bench.stream());
                      }};
  });
}

void add_step(const DeviceBench& bench, std::int64_t length) {
  bench.add(fmt::format("dense/step/{}", length), [=] {
    const std::int64_t capacity = kernels::cache_capacity(length);
    kernels::StepParams params{.capacity = capacity,
                               .position = bench.backend().position(),
                               .n_heads = kHeads,
                               .n_kv_heads = kKvHeads,
                               .head_dim = kHeadDim,
                               .scale = kScale};
    const Cost cost = kernels::step_cost(params, length - 1);
    const std::int64_t copies = bench.copies_of(cost.bytes);
    const Operands q = bench.random(2, 1, kHeads * kHeadDim);
    const Operands kv = bench.random(2 * copies, kKvHeads * capacity, kHeadDim);
    const auto partials =
        bench.memory(1, kernels::step_workspace_bytes(capacity, kHeads, kKvHeads, kHeadDim));
    params.q = bf16((*q)[0]);
    params.out = bf16((*q)[1]);
    params.partials = static_cast<float*>((*partials)[0].data());
    bench.backend().set_position(length - 1);
    return DeviceCase{.cost = cost,
                      .copies = copies,
                      .launch =
                          [=, keep = std::pair(q, partials)](std::int64_t copy) {
                            kernels::StepParams of_copy = params;
                            of_copy.k = bf16((*kv)[static_cast<std::size_t>(2 * copy)]);
                            of_copy.v = bf16((*kv)[static_cast<std::size_t>(2 * copy + 1)]);
                            SALA_CUDA(kernels::launch_step(of_copy, bench.stream()));
                          },
                      .is_recorded = true};
  });
}

}  // namespace

void add_dense(const DeviceBench& bench) {
  add_append(bench);
  for (const std::int64_t history : {0, 32 << 10, 120 << 10}) {
    add_own(bench, history);
    add_cudnn(bench, history);
  }
  for (const std::int64_t length : {4 << 10, 128 << 10, 256 << 10}) add_step(bench, length);
}

}  // namespace sala
