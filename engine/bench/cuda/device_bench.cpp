// Times launches by events on the backend's stream.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/cuda/device_bench.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>

#include "engine/backend/cuda/cuda_error.h"
#include "engine/base/splitmix.h"

namespace sala {

namespace {

/// Two events around what is timed.
class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
    SALA_CUDA(cudaEventCreate(&begin_));
    SALA_CUDA(cudaEventCreate(&end_));
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  template <typename Run>
  double seconds(const Run& run) const {
    SALA_CUDA(cudaEventRecord(begin_, stream_));
    run();
    SALA_CUDA(cudaEventRecord(end_, stream_));
    SALA_CUDA(cudaEventSynchronize(end_));
    float ms = 0;
    SALA_CUDA(cudaEventElapsedTime(&ms, begin_, end_));
    return static_cast<double>(ms) * 1e-3;
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

void measure(const Bench& bench, const DeviceCase& timed, benchmark::State& state) {
  constexpr double kLeastSeconds = 2e-3;  // between two events: their own time is some microseconds
  constexpr double kMostLaunches = 1000;
  auto& backend = static_cast<CudaBackend&>(bench.backend);
  const Stopwatch watch(backend.stream());
  const auto launch = [&](std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) timed.launch(i % timed.copies);
  };
  launch(timed.copies);  // loads the kernels
  const double once = watch.seconds([&] { launch(timed.copies); });
  const double passes = std::ceil(kLeastSeconds / std::max(once, 1e-6));
  const double most = std::max(1.0, kMostLaunches / static_cast<double>(timed.copies));
  const std::int64_t batch = timed.copies * static_cast<std::int64_t>(std::min(passes, most));
  std::unique_ptr<Recording> recording;
  if (timed.is_recorded) recording = backend.record([&] { launch(batch); });

  double seconds = 0;
  while (state.KeepRunningBatch(batch)) {
    const double of_batch = watch.seconds([&] { recording ? recording->run() : launch(batch); });
    state.SetIterationTime(of_batch);
    seconds += of_batch;
  }
  const auto n = static_cast<double>(state.iterations());
  report_work(bench, {n * timed.cost.flops, n * timed.cost.bytes}, seconds, state);
}

}  // namespace

void DeviceBench::add(const std::string& name, const std::function<DeviceCase()>& make) const {
  add_benchmark(name, Clock::device, [bench = bench_, make](benchmark::State& state) {
    measure(*bench, make(), state);
    bench->backend.wait();
  });
}

Operands DeviceBench::random(std::int64_t n, std::int64_t rows, std::int64_t cols,
                             float shrink) const {
  static std::uint64_t n_made = 0;
  auto tensors = std::make_shared<std::vector<Tensor>>();
  for (std::int64_t i = 0; i < n; ++i) {
    tensors->push_back(make_tensor(backend(), rows, cols, "workspace"));
    backend().fill_uniform(tensors->back().view, splitmix64(++n_made), std::sqrt(3.0F) / shrink);
  }
  return tensors;
}

std::shared_ptr<const std::vector<Buffer>> DeviceBench::memory(std::int64_t n,
                                                               std::int64_t bytes) const {
  auto buffers = std::make_shared<std::vector<Buffer>>();
  for (std::int64_t i = 0; i < n; ++i) buffers->push_back(backend().allocate(bytes, "workspace"));
  return buffers;
}

std::int64_t DeviceBench::copies_of(double bytes) const {
  constexpr double kMost = 64;
  const double wanted = 3.0 * backend().properties().l2CacheSize;
  return static_cast<std::int64_t>(std::clamp(std::ceil(wanted / bytes), 1.0, kMost));
}

void add_cuda_benchmarks(const Bench& bench) {
  const DeviceBench device(bench);
  add_products(device);
  add_elementwise(device);
  add_dense(device);
  add_infllm_v2(device);
  add_lightning(device);
}

}  // namespace sala
