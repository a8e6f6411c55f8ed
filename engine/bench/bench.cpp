// Registers the benchmarks with Google Benchmark and runs them.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/bench.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include "engine/base/error.h"
#include "engine/bench/ceilings.h"
#include "engine/bench/layer_bench.h"

namespace sala {

namespace {

/// Without the library's own lines about itself: its Debian build always calls itself DEBUG.
class TableReporter final : public benchmark::ConsoleReporter {
 public:
  TableReporter() : ConsoleReporter(OO_None) {}
  bool ReportContext(const Context& context) override {
    name_field_width_ = context.name_field_width;
    printed_header_ = false;
    return true;
  }
};

class Suite {
 public:
  explicit Suite(Backend& backend) : backend_(backend), ceilings_(measure_ceilings(backend)) {}

  const Ceilings& ceilings() const { return ceilings_; }

  void add_all() {
    const std::int64_t products[][3] = {{2048, 192, 1024}, {2048, 1024, 192}, {2048, 192, 512},
                                        {512, 192, 1024},  {512, 4096, 4096}, {1, 192, 1024},
                                        {1, 4096, 4096}};
    for (const auto& [rows, in, out] : products) add_product(rows, in, out);
    for (const char* kind : {"dense", "infllm_v2", "lightning"}) {
      for (const std::int64_t length : {1024, 4096, 8192, 16384}) add_prefill(kind, length);
    }
    for (const char* kind : {"dense", "infllm_v2", "lightning"}) {
      for (const std::int64_t length : {1024, 16384, 65536}) add_decode(kind, length);
    }
    using Op = void (*)(Backend&, TensorView, TensorView, TensorView);
    const std::pair<const char*, Op> operations[] = {
        {"rms_norm",
         [](Backend& b, TensorView x, TensorView w, TensorView y) { b.rms_norm(x, w, 1e-6F, y); }},
        {"silu_mul",
         [](Backend& b, TensorView x, TensorView, TensorView y) { b.silu_mul(x, y, y); }},
        {"sigmoid_mul",
         [](Backend& b, TensorView x, TensorView, TensorView y) { b.sigmoid_mul(x, y); }},
        {"rotary", [](Backend& b, TensorView, TensorView, TensorView y) {
           b.rotary(y, {64, 1e4, false}, 0);
         }}};
    for (const auto& [name, operation] : operations) add_elementwise(name, operation);
  }

 private:
  /// Repeats `call`, which returns its work, and attaches work per call and the shares of the
  /// ceilings that it comes to.
  template <typename Call>
  void measure(benchmark::State& state, const Call& call) const {
    Work total;
    const auto start = std::chrono::steady_clock::now();
    for (auto _ : state) {
      const Work work = call();
      total.flops += work.flops;
      total.bytes += work.bytes;
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    using benchmark::Counter;
    state.counters["bytes"] = Counter(total.bytes, Counter::kAvgIterations);
    state.counters["bytes_frac"] = total.bytes / seconds / ceilings_.copy_bytes_per_s;
    state.counters["flops"] = Counter(total.flops, Counter::kAvgIterations);
    state.counters["flops_frac"] = total.flops / seconds / ceilings_.gemm_flops_per_s;
  }

  void add(const std::string& name, const std::function<void(benchmark::State&)>& body) {
    benchmark::RegisterBenchmark(name.c_str(),
                                 [body](benchmark::State& state) {
                                   try {
                                     body(state);
                                   } catch (const OutOfMemory& error) {
                                     state.SkipWithError(error.what());
                                   }
                                 })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }

  void add_product(std::int64_t rows, std::int64_t in, std::int64_t out) {
    add(fmt::format("gemm/{}x{}x{}", rows, in, out), [=, this](benchmark::State& state) {
      const Tensor x = filled(rows, in);
      const Tensor w = filled(out, in);
      const Tensor y = filled(rows, out);
      const Work work{2.0 * static_cast<double>(rows * in * out),
                      4.0 * static_cast<double>(rows * in + in * out + rows * out)};
      measure(state, [&] {
        backend_.matmul(x.view, w.view, y.view);
        return work;
      });
    });
  }

  void add_prefill(const std::string& kind, std::int64_t length) {
    add(fmt::format("{}/prefill/{}", kind, length), [=, this](benchmark::State& state) {
      constexpr std::int64_t kChunk = 2048;
      BenchLayer layer(kind, std::min(length, kChunk), length, backend_);
      measure(state, [&] {
        Work total;
        layer.restart();
        for (std::int64_t done = 0; done < length; done += kChunk) {
          const Work work = layer.forward(std::min(kChunk, length - done));
          total.flops += work.flops;
          total.bytes += work.bytes;
        }
        return total;
      });
      state.counters["tokens_per_s"] = benchmark::Counter(
          static_cast<double>(length * state.iterations()), benchmark::Counter::kIsRate);
    });
  }

  void add_decode(const std::string& kind, std::int64_t length) {
    add(fmt::format("{}/decode/{}", kind, length), [=, this](benchmark::State& state) {
      constexpr std::int64_t kChunk = 2048;
      const auto iterations = static_cast<std::int64_t>(state.max_iterations);
      BenchLayer layer(kind, std::min(length, kChunk), length + iterations, backend_);
      for (std::int64_t done = 0; done < length; done += kChunk) {
        layer.forward(std::min(kChunk, length - done));
      }
      measure(state, [&] { return layer.forward(1); });
    });
  }

  void add_elementwise(const std::string& name,
                       void (*operation)(Backend&, TensorView, TensorView, TensorView)) {
    add(fmt::format("{}/8192x4096", name), [=, this](benchmark::State& state) {
      const Tensor x = filled(8192, 4096);
      const Tensor w = filled(1, 4096);
      const Tensor y = filled(8192, 4096);
      // Every operation writes y; all but rotary and rms_norm read it as well as x.
      const double passes = name == "rms_norm" || name == "rotary" ? 2.0 : 3.0;
      const Work work{0, passes * static_cast<double>(y.view.bytes())};
      measure(state, [&] {
        operation(backend_, x.view, w.view, y.view);
        return work;
      });
    });
  }

  Tensor filled(std::int64_t rows, std::int64_t cols) {
    Tensor tensor = make_tensor(backend_, rows, cols, "workspace");
    for (std::int64_t i = 0; i < tensor.view.size(); ++i) {
      tensor.view.f32()[i] = static_cast<float>(i % 97) / 97.0F - 0.5F;
    }
    return tensor;
  }

  Backend& backend_;
  Ceilings ceilings_;
};

}  // namespace

int run_benchmarks(const std::vector<std::string>& benchmark_args, bool json) {
  std::vector<std::string> args = benchmark_args;
  args.insert(args.begin(), "sala bench");
  std::vector<char*> argv;
  argv.reserve(args.size());
  for (std::string& arg : args) argv.push_back(arg.data());
  auto argc = static_cast<int>(argv.size());
  benchmark::Initialize(&argc, argv.data());
  if (argc > 1) throw Error("bench", "unknown option '{}' of Google Benchmark", argv[1]);

  const auto backend = make_backend("cpu", 0);
  check_kernels(*backend);
  Suite suite(*backend);
  suite.add_all();
  std::size_t n_run = 0;
  if (json) {
    benchmark::AddCustomContext("gemm_flops_per_s",
                                fmt::format("{:.4g}", suite.ceilings().gemm_flops_per_s));
    benchmark::AddCustomContext("copy_bytes_per_s",
                                fmt::format("{:.4g}", suite.ceilings().copy_bytes_per_s));
    benchmark::AddCustomContext("threads", fmt::format("{}", backend->info().threads));
    benchmark::JSONReporter reporter;
    n_run = benchmark::RunSpecifiedBenchmarks(&reporter);
  } else {
    fmt::print(
        "{}, {} threads; ceilings: {:.1f} GFLOP/s (library's square product), {:.1f} GB/s "
        "(copy)\nall kernels equal their references; *_frac: share of the "
        "ceiling, above 1 from the caches\n",
        backend->info().name, backend->info().threads, suite.ceilings().gemm_flops_per_s * 1e-9,
        suite.ceilings().copy_bytes_per_s * 1e-9);
    std::fflush(stdout);
    TableReporter reporter;
    n_run = benchmark::RunSpecifiedBenchmarks(&reporter);
  }
  benchmark::ClearRegisteredBenchmarks();
  if (n_run == 0) throw Error("--filter", "no benchmark has such a name; try --filter prefill");
  return static_cast<int>(n_run);
}

}  // namespace sala
