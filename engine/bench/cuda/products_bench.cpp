// Products of many rows through cuBLASLt, the gated one and those of one row by the project's
// kernels, with cuBLASLt as their peer; and the pick of the next token.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "engine/backend/cuda/cuda_error.h"
#include "engine/backend/cuda/gemm_lt.h"
#include "engine/backend/cuda/gemv.h"
#include "engine/backend/cuda/hopper.h"
#include "engine/backend/cuda/swiglu_product.h"
#include "engine/bench/cuda/device_bench.h"

namespace sala {

namespace {

constexpr std::int64_t kHidden = 4096;
constexpr std::int64_t kVocab = 73448;

void add_gemm(const DeviceBench& bench, std::int64_t rows, std::int64_t in, std::int64_t out) {
  bench.add(fmt::format("gemm/{}x{}x{}", rows, in, out), [=] {
    const Operands x = bench.random(1, rows, in);
    const Operands w = bench.random(1, out, in);
    const Operands y = bench.random(1, rows, out);
    const auto launch = [=](std::int64_t) {
      bench.backend().matmul((*x)[0].view, (*w)[0].view, (*y)[0].view);
    };
    bench.backend().set_tuning(true);
    launch(0);
    bench.backend().set_tuning(false);
    return DeviceCase{.cost = {2.0 * static_cast<double>(rows * in) * static_cast<double>(out),
                               2.0 * static_cast<double>(rows * in + in * out + rows * out)},
                      .launch = launch};
  });
}

/// The gated product of an MLP by one kernel where the GPU has it, and by cuBLASLt.
void add_gated_product(const DeviceBench& bench, std::int64_t rows, std::int64_t in,
                       std::int64_t out) {
  const auto add = [&](const char* name, bool is_fused) {
    bench.add(fmt::format("{}/{}x{}x{}", name, rows, in, out), [=] {
      const Operands x = bench.random(1, rows, in);
      const Operands w = bench.random(2, out, in, std::sqrt(static_cast<float>(in)));
      const Operands y = bench.random(2, rows, out);
      const cuda::SwigluProductParams params{
          bf16((*x)[0]), bf16((*w)[0]), bf16((*w)[1]), bf16((*y)[0]), rows, in, out};
      const auto launch = [=](std::int64_t) {
        if (is_fused) {
          SALA_CUDA(cuda::launch_swiglu_product(params, bench.stream()));
        } else {
          bench.backend().Backend::gated_matmul((*x)[0].view, (*w)[0].view, (*w)[1].view,
                                                (*y)[1].view, (*y)[0].view);
        }
      };
      bench.backend().set_tuning(true);
      launch(0);
      bench.backend().set_tuning(false);
      return DeviceCase{.cost = cuda::swiglu_product_cost(params), .launch = launch};
    });
  };
  if (cuda::is_hopper(bench.backend().properties())) add("swiglu_product", true);
  add("swiglu_product_cublaslt", false);
}

/// The products of one row with weights of so many rows each.
void add_gemv(const DeviceBench& bench, const std::string& name, std::int64_t in,
              const std::vector<std::int64_t>& rows, cuda::GemvEnd end, bool is_fp32 = false) {
  bench.add("gemv/" + name, [=] {
    double n_rows = 0;
    for (const std::int64_t n : rows) n_rows += static_cast<double>(n);
    const std::int64_t copies = bench.copies_of(2 * n_rows * static_cast<double>(in));
    const Operands x = bench.random(1, 1, in);
    auto sets = std::make_shared<std::vector<cuda::GemvParams>>();
    std::vector<Operands> weights;
    std::vector<std::shared_ptr<const std::vector<Buffer>>> outs;
    for (std::int64_t copy = 0; copy < copies; ++copy) {
      cuda::GemvParams params;
      params.x = bf16((*x)[0]);
      params.in = in;
      params.end = end;
      for (const std::int64_t n : rows) {
        weights.push_back(bench.random(1, n, in));
        outs.push_back(bench.memory(1, n * 4));
        params.parts[params.n_parts++] = {bf16((*weights.back())[0]), (*outs.back())[0].data(), n,
                                          is_fp32};
      }
      sets->push_back(params);
    }
    return DeviceCase{
        .cost = cuda::gemv_cost(sets->front()),
        .copies = copies,
        .launch =
            [=, keep = std::tuple(x, weights, outs)](std::int64_t copy) {
              SALA_CUDA(cuda::launch_gemv((*sets)[static_cast<std::size_t>(copy)], bench.stream()));
            },
        .is_recorded = true};
  });
}

void add_gemv_peer(const DeviceBench& bench, std::int64_t in, std::int64_t out) {
  bench.add(fmt::format("gemv_cublaslt/{}x{}", in, out), [=] {
    const double bytes = 2 * static_cast<double>(in) * static_cast<double>(out);
    const std::int64_t copies = bench.copies_of(bytes);
    const Operands x = bench.random(1, 1, in);
    const Operands w = bench.random(copies, out, in);
    const Operands y = bench.random(1, 1, out);
    const auto workspace = bench.memory(1, GemmLt::kWorkspaceBytes);
    const auto gemm = std::make_shared<GemmLt>((*workspace)[0].data(), bench.stream());
    const auto launch = [=](std::int64_t copy) {
      gemm->run((*x)[0].view, (*w)[static_cast<std::size_t>(copy)].view, 1, 0, (*y)[0].view);
    };
    gemm->set_tuning(true);
    launch(0);
    gemm->set_tuning(false);
    return DeviceCase{.cost = {bytes, bytes},
                      .copies = copies,
                      .launch = [launch, workspace](std::int64_t copy) { launch(copy); },
                      .is_recorded = true};
  });
}

void add_sampling(const DeviceBench& bench) {
  bench.add(fmt::format("sample/{}", kVocab), [=] {
    const Operands x = bench.random(1, 1, 64);
    const Operands w = bench.random(1, kVocab, 64);
    const auto memory = bench.memory(1, kVocab * 4);
    const TensorView logits{(*memory)[0].data(), DType::f32, 1, kVocab};
    bench.backend().matmul((*x)[0].view, (*w)[0].view, logits);
    bench.backend().wait();
    return DeviceCase{.cost = {0, 4.0 * static_cast<double>(kVocab)},
                      .launch = [=, keep = memory](
                                    std::int64_t) { bench.backend().sample_greedy(logits, false); },
                      .is_recorded = true};
  });
}

}  // namespace

void add_products(const DeviceBench& bench) {
  const std::int64_t shapes[][3] = {{8192, 8192, 8192},  {8192, 4096, 4096},  {8192, 4096, 16384},
                                    {8192, 16384, 4096}, {8192, 4096, 12288}, {8192, 12288, 4096},
                                    {8192, 4096, 32768}, {8192, 4096, 1024},  {8192, 4096, 256}};
  for (const auto& [rows, in, out] : shapes) add_gemm(bench, rows, in, out);

  add_gated_product(bench, 8192, 4096, 16384);

  using cuda::GemvEnd;
  add_gemv(bench, "lightning_qkvz", kHidden, {4096, 4096, 4096, 4096}, GemvEnd::store);
  add_gemv(bench, "sparse_qkvz", kHidden, {4096, 256, 256, 4096}, GemvEnd::store);
  add_gemv(bench, "out_proj", 4096, {kHidden}, GemvEnd::add);
  add_gemv(bench, "gate_up", kHidden, {16384, 16384}, GemvEnd::gate);
  add_gemv(bench, "down", 16384, {kHidden}, GemvEnd::add);
  add_gemv(bench, "lm_head", kHidden, {kVocab}, GemvEnd::store, true);
  add_gemv_peer(bench, kHidden, 16384);
  add_gemv_peer(bench, 16384, kHidden);
  add_gemv_peer(bench, kHidden, 4096);
  add_sampling(bench);
}

}  // namespace sala
