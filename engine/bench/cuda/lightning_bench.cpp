// Linear attention in the shape of the 9B hybrid.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <tuple>
#include <vector>

#include "engine/attention/lightning/cuda/prefill.h"
#include "engine/attention/lightning/cuda/step.h"
#include "engine/attention/lightning/lightning_config.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/bench/cuda/device_bench.h"

namespace sala {

namespace {

namespace kernels = cuda::lightning;

constexpr int kHeads = 32;
constexpr int kHeadDim = 128;
constexpr std::int64_t kWidth = kHeads * kHeadDim;
constexpr std::int64_t kStateBytes = kWidth * kHeadDim * 4;
const float kScale = 1.0F / std::sqrt(static_cast<float>(kHeadDim));

using Memory = std::shared_ptr<const std::vector<Buffer>>;

Memory slopes_on_device(const DeviceBench& bench) {
  std::vector<float> slopes;
  for (const double slope : lightning_slopes(kHeads)) {
    slopes.push_back(static_cast<float>(slope * std::numbers::log2e));
  }
  const std::size_t bytes = slopes.size() * sizeof(float);
  Memory memory = bench.memory(1, static_cast<std::int64_t>(bytes));
  SALA_CUDA(cudaMemcpyAsync((*memory)[0].data(), slopes.data(), bytes, cudaMemcpyHostToDevice,
                            bench.stream()));
  bench.backend().wait();
  return memory;
}

Memory zero_states(const DeviceBench& bench, std::int64_t n) {
  Memory states = bench.memory(n, kStateBytes);
  for (const Buffer& state : *states) {
    SALA_CUDA(
        cudaMemsetAsync(state.data(), 0, static_cast<std::size_t>(kStateBytes), bench.stream()));
  }
  return states;
}

void add_prefill(const DeviceBench& bench, std::int64_t n_tokens) {
  bench.add(fmt::format("lightning/prefill/{}", n_tokens), [=] {
    const Operands qkvo = bench.random(4, n_tokens, kWidth);
    const Memory state = zero_states(bench, 1);
    const Memory slopes = slopes_on_device(bench);
    const Memory workspace =
        bench.memory(1, kernels::prefill_workspace_bytes(n_tokens, kHeads, kHeadDim));
    const kernels::PrefillParams params{
        .q = bf16((*qkvo)[0]),
        .k = bf16((*qkvo)[1]),
        .v = bf16((*qkvo)[2]),
        .out = bf16((*qkvo)[3]),
        .state = static_cast<float*>((*state)[0].data()),
        .workspace = (*workspace)[0].data(),
        .slope_log2 = static_cast<const float*>((*slopes)[0].data()),
        .n_tokens = n_tokens,
        .n_heads = kHeads,
        .n_kv_heads = kHeads,
        .head_dim = kHeadDim,
        .scale = kScale};
    return DeviceCase{
        .cost = kernels::prefill_cost(params),
        .launch = [=, keep = std::tuple(qkvo, state, slopes, workspace)](std::int64_t) {
          SALA_CUDA(kernels::launch_prefill(params, bench.stream()));
        }};
  });
}

void add_step(const DeviceBench& bench) {
  bench.add("lightning/step", [=] {
    kernels::StepParams params{.rms_norm_eps = 1e-6F,
                               .rotates = true,
                               .position = bench.backend().position(),
                               .n_heads = kHeads,
                               .n_kv_heads = kHeads,
                               .head_dim = kHeadDim,
                               .scale = kScale};
    const Cost cost = kernels::step_cost(params);
    const std::int64_t copies = bench.copies_of(cost.bytes);
    const Operands qkvo = bench.random(4, 1, kWidth);
    const Operands norms = bench.random(2, 1, kHeadDim);
    const Memory states = zero_states(bench, copies);
    const Memory slopes = slopes_on_device(bench);
    for (int i = 0; i < kHeadDim / 2; ++i) params.inv_freq[i] = std::pow(1e4, -2.0 * i / kHeadDim);
    params.q = bf16((*qkvo)[0]);
    params.k = bf16((*qkvo)[1]);
    params.v = bf16((*qkvo)[2]);
    params.out = bf16((*qkvo)[3]);
    params.q_norm = bf16((*norms)[0]);
    params.k_norm = bf16((*norms)[1]);
    params.slope_log2 = static_cast<const float*>((*slopes)[0].data());
    bench.backend().set_position(100000);
    return DeviceCase{
        .cost = cost,
        .copies = copies,
        .launch =
            [=, keep = std::tuple(qkvo, norms, slopes)](std::int64_t copy) {
              kernels::StepParams of_copy = params;
              of_copy.state = static_cast<float*>((*states)[static_cast<std::size_t>(copy)].data());
              SALA_CUDA(kernels::launch_step(of_copy, bench.stream()));
            },
        .is_recorded = true};
  });
}

}  // namespace

void add_lightning(const DeviceBench& bench) {
  for (const std::int64_t n_tokens : {8 << 10, 256 << 10}) add_prefill(bench, n_tokens);
  add_step(bench);
}

}  // namespace sala
