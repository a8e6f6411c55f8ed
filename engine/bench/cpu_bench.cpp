// Benchmarks of the CPU's products, layers and element-wise operations.
// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/attention/dense/dense.h"
#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/parallel.h"
#include "engine/bench/layer_bench.h"
#include "engine/bench/measured.h"

namespace sala {

namespace {

constexpr std::int64_t kChunk = 2048;

/// Repeats `call`, which returns its work.
template <typename Call>
void measure(const Bench& bench, benchmark::State& state, const Call& call) {
  Work total;
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    const Work work = call();
    total.flops += work.flops;
    total.bytes += work.bytes;
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  report_work(bench, total, elapsed.count(), state);
}

Tensor filled(Backend& backend, std::int64_t rows, std::int64_t cols) {
  Tensor tensor = make_tensor(backend, rows, cols, "workspace");
  for (std::int64_t i = 0; i < tensor.view.size(); ++i) {
    tensor.view.f32()[i] = static_cast<float>(i % 97) / 97.0F - 0.5F;
  }
  return tensor;
}

void add_product(const Bench& bench, std::int64_t rows, std::int64_t in, std::int64_t out) {
  add_benchmark(fmt::format("gemm/{}x{}x{}", rows, in, out), Clock::host,
                [&bench, rows, in, out](benchmark::State& state) {
                  const Tensor x = filled(bench.backend, rows, in);
                  const Tensor w = filled(bench.backend, out, in);
                  const Tensor y = filled(bench.backend, rows, out);
                  const Work work{2.0 * static_cast<double>(rows * in * out),
                                  4.0 * static_cast<double>(rows * in + in * out + rows * out)};
                  measure(bench, state, [&] {
                    bench.backend.matmul(x.view, w.view, y.view);
                    return work;
                  });
                });
}

/// The two products of softmax attention alone, as attend_cpu() cuts them for the needle models'
/// heads: what attention takes beyond them is softmax.
void add_attention_products(const Bench& bench, std::int64_t block) {
  add_benchmark(fmt::format("attention_products/8192/{}", block), Clock::host,
                [&bench, block](benchmark::State& state) {
                  constexpr std::int64_t kKeys = 8192;
                  constexpr std::int64_t kTiles = 8;
                  const HeadOptions heads{.n_heads = 16, .n_kv_heads = 1, .head_dim = 64};
                  const std::int64_t d = heads.head_dim;
                  const std::int64_t rows = tile_tokens(heads) * heads.group();
                  const Tensor q = filled(bench.backend, kTiles * rows, d);
                  const Tensor scores = filled(bench.backend, kTiles * rows, block);
                  const Tensor out = filled(bench.backend, kTiles * rows, d);
                  const Tensor keys = filled(bench.backend, kKeys, d);
                  const Tensor values = filled(bench.backend, kKeys, d);
                  const double products = 4.0 * static_cast<double>(kTiles * rows * kKeys * d);
                  const Work work{
                      products, 8.0 * static_cast<double>(kTiles * kKeys * d)};  // keys and values
                  measure(bench, state, [&] {
                    parallel_for(bench.backend.info().threads, kTiles, products,
                                 [&](std::int64_t t, int) {
                                   const auto at = [&](const Tensor& matrix) {
                                     return matrix.view.f32() + t * rows * matrix.view.cols;
                                   };
                                   for (std::int64_t key = 0; key < kKeys; key += block) {
                                     gemm(rows, block, d, at(q), d, keys.view.f32() + key * d,
                                          block, 0.0F, at(scores), block);
                                     gemm(rows, d, block, at(scores), block,
                                          values.view.f32() + key * d, d, 0.0F, at(out), d);
                                   }
                                 });
                    return work;
                  });
                });
}

void add_prefill(const Bench& bench, const std::string& kind, std::int64_t length) {
  add_benchmark(fmt::format("{}/prefill/{}", kind, length), Clock::host,
                [&bench, kind, length](benchmark::State& state) {
                  BenchLayer layer(kind, std::min(length, kChunk), length, bench.backend);
                  measure(bench, state, [&] {
                    Work total;
                    layer.restart();
                    for (std::int64_t done = 0; done < length; done += kChunk) {
                      const Work work = layer.forward(std::min(kChunk, length - done));
                      total.flops += work.flops;
                      total.bytes += work.bytes;
                    }
                    return total;
                  });
                  state.counters["tokens_per_s"] =
                      benchmark::Counter(static_cast<double>(length * state.iterations()),
                                         benchmark::Counter::kIsRate);
                });
}

void add_decode(const Bench& bench, const std::string& kind, std::int64_t length) {
  add_benchmark(fmt::format("{}/decode/{}", kind, length), Clock::host,
                [&bench, kind, length](benchmark::State& state) {
                  const auto iterations = static_cast<std::int64_t>(state.max_iterations);
                  BenchLayer layer(kind, std::min(length, kChunk), length + iterations,
                                   bench.backend);
                  for (std::int64_t done = 0; done < length; done += kChunk) {
                    layer.forward(std::min(kChunk, length - done));
                  }
                  measure(bench, state, [&] { return layer.forward(1); });
                });
}

using Operation = void (*)(Backend&, TensorView x, TensorView weight, TensorView y);

/// passes: operands of full size that are read or written.
void add_elementwise(const Bench& bench, const char* name, double passes, Operation operation) {
  add_benchmark(fmt::format("{}/8192x4096", name), Clock::host,
                [&bench, passes, operation](benchmark::State& state) {
                  const Tensor x = filled(bench.backend, 8192, 4096);
                  const Tensor w = filled(bench.backend, 1, 4096);
                  const Tensor y = filled(bench.backend, 8192, 4096);
                  const Work work{0, passes * static_cast<double>(y.view.bytes())};
                  measure(bench, state, [&] {
                    operation(bench.backend, x.view, w.view, y.view);
                    return work;
                  });
                });
}

}  // namespace

void add_cpu_benchmarks(const Bench& bench) {
  const std::int64_t products[][3] = {{2048, 192, 1024}, {2048, 1024, 192}, {2048, 192, 512},
                                      {512, 192, 1024},  {512, 4096, 4096}, {1, 192, 1024},
                                      {1, 4096, 4096}};
  for (const auto& [rows, in, out] : products) add_product(bench, rows, in, out);
  for (const std::int64_t block : {64, 128}) add_attention_products(bench, block);
  for (const char* kind : {"dense", "infllm_v2", "lightning"}) {
    for (const std::int64_t length : {1024, 4096, 8192, 16384}) add_prefill(bench, kind, length);
  }
  for (const char* kind : {"dense", "infllm_v2", "lightning"}) {
    for (const std::int64_t length : {1024, 16384, 65536}) add_decode(bench, kind, length);
  }
  add_elementwise(bench, "rms_norm", 2, [](Backend& b, TensorView x, TensorView w, TensorView y) {
    b.rms_norm(x, w, 1e-6F, y);
  });
  add_elementwise(bench, "silu_mul", 3,
                  [](Backend& b, TensorView x, TensorView, TensorView y) { b.silu_mul(x, y, y); });
  add_elementwise(bench, "sigmoid_mul", 3,
                  [](Backend& b, TensorView x, TensorView, TensorView y) { b.sigmoid_mul(x, y); });
  add_elementwise(bench, "rotary", 2, [](Backend& b, TensorView, TensorView, TensorView y) {
    b.rotary(y, {.head_dim = 64, .theta = 1e4}, 0);
  });
}

}  // namespace sala
