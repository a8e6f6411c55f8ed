// Norms, rotary embedding and gates: what has no products and lives from bandwidth.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <utility>

#include "engine/attention/lightning/cuda/output_gate.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/backend/cuda/elementwise.h"
#include "engine/backend/cuda/norm.h"
#include "engine/backend/cuda/rotary.h"
#include "engine/bench/cuda/device_bench.h"

namespace sala {

namespace {

constexpr std::int64_t kHidden = 4096;
constexpr std::int64_t kHeadDim = 128;
constexpr std::int64_t kIntermediate = 16384;

void add_rms_norm(const DeviceBench& bench, std::int64_t rows) {
  bench.add(fmt::format("rms_norm/{}x{}", rows, kHidden), [=] {
    const Operands x = bench.random(2, rows, kHidden);
    const Operands w = bench.random(1, 1, kHidden);
    return DeviceCase{.cost = cuda::rms_norm_cost({.rows = rows, .cols = kHidden}),
                      .launch =
                          [=](std::int64_t) {
                            bench.backend().rms_norm((*x)[0].view, (*w)[0].view, 1e-6F,
                                                     (*x)[1].view);
                          },
                      .is_recorded = rows == 1};
  });
}

void add_norm_rotary(const DeviceBench& bench, std::int64_t rows) {
  bench.add(fmt::format("norm_rotary/{}x{}", rows, kHidden), [=] {
    const Operands x = bench.random(1, rows, kHidden);
    const Operands w = bench.random(1, 1, kHeadDim);
    const cuda::RotaryParams size{
        .n_tokens = rows, .n_heads = kHidden / kHeadDim, .head_dim = kHeadDim};
    return DeviceCase{.cost = cuda::rotary_cost(size),
                      .launch =
                          [=](std::int64_t) {
                            bench.backend().norm_rotary((*x)[0].view, (*w)[0].view, 1e-6F,
                                                        {.head_dim = kHeadDim, .theta = 1e4},
                                                        100000);
                          },
                      .is_recorded = rows == 1};
  });
}

void add_silu_mul(const DeviceBench& bench, std::int64_t rows) {
  bench.add(fmt::format("silu_mul/{}x{}", rows, kIntermediate), [=] {
    const Operands x = bench.random(3, rows, kIntermediate);
    return DeviceCase{.cost = cuda::gated_cost(rows * kIntermediate), .launch = [=](std::int64_t) {
                        bench.backend().silu_mul((*x)[0].view, (*x)[1].view, (*x)[2].view);
                      }};
  });
}

void add_sigmoid_mul(const DeviceBench& bench, std::int64_t rows) {
  bench.add(fmt::format("sigmoid_mul/{}x{}", rows, kHidden), [=] {
    const Operands x = bench.random(2, rows, kHidden);
    return DeviceCase{
        .cost = cuda::gated_cost(rows * kHidden),
        .launch = [=](std::int64_t) { bench.backend().sigmoid_mul((*x)[0].view, (*x)[1].view); },
        .is_recorded = rows == 1};
  });
}

void add_output_gate(const DeviceBench& bench, std::int64_t rows) {
  bench.add(fmt::format("output_gate/{}x{}", rows, kHidden), [=] {
    const Operands x = bench.random(3, rows, kHidden);
    const Operands w = bench.random(1, 1, kHidden);
    const cuda::lightning::OutputGateParams params{.x = bf16((*x)[0]),
                                                   .gate = bf16((*x)[1]),
                                                   .norm = bf16((*w)[0]),
                                                   .rms_norm_eps = 1e-6F,
                                                   .out = bf16((*x)[2]),
                                                   .n_tokens = rows,
                                                   .width = kHidden};
    return DeviceCase{.cost = cuda::lightning::output_gate_cost(params),
                      .launch =
                          [=, keep = std::pair(x, w)](std::int64_t) {
                            SALA_CUDA(cuda::lightning::launch_output_gate(params, bench.stream()));
                          },
                      .is_recorded = rows == 1};
  });
}

}  // namespace

void add_elementwise(const DeviceBench& bench) {
  for (const std::int64_t rows : {8192, 1}) {
    add_rms_norm(bench, rows);
    add_norm_rotary(bench, rows);
    add_sigmoid_mul(bench, rows);
    add_output_gate(bench, rows);
  }
  add_silu_mul(bench, 8192);
}

}  // namespace sala
