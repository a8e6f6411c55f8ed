// Large products, a large copy, exponentials, and kernels too small to count.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/ceilings.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/parallel.h"
#include "engine/backend/cpu/vector_math.h"
#ifdef SALA_WITH_CUDA
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/bench/cuda/exp_rate.h"
#endif

namespace sala {

namespace {

/// Shortest time of one call in seconds, after a first call that does not count. pause: before
/// every call, since a GPU that runs without one slows down.
template <typename Call>
double best_seconds(const Call& call, std::chrono::milliseconds pause = {}) {
  constexpr int kTries = 7;
  double best = 1e30;
  call();
  for (int i = 0; i < kTries; ++i) {
    std::this_thread::sleep_for(pause);
    const auto start = std::chrono::steady_clock::now();
    call();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

/// FLOP/s of a product of (rows, in) with (out, in).
double cpu_product(Backend& backend, std::int64_t rows, std::int64_t in, std::int64_t out) {
  const Tensor x = make_tensor(backend, rows, in, "workspace");
  const Tensor weight = make_tensor(backend, out, in, "workspace");
  const Tensor y = make_tensor(backend, rows, out, "workspace");
  std::fill_n(x.view.f32(), x.view.size(), 0.5F);
  std::fill_n(weight.view.f32(), weight.view.size(), 0.25F);
  const double seconds = best_seconds([&] { backend.matmul(x.view, weight.view, y.view); });
  return 2.0 * static_cast<double>(rows * in * out) / seconds;
}

double cpu_exp_rate(int threads) {
  constexpr std::int64_t kValues = 2048;
  constexpr std::int64_t kPasses = 500;
  const double seconds = best_seconds([&] {
    parallel_for(threads, threads, kValues * kPasses, [&](std::int64_t, int) {
      std::array<float, kValues> x;
      std::array<float, kValues> y;
      x.fill(-0.5F);
      for (std::int64_t i = 0; i < kPasses; ++i) vector_exp(x.data(), y.data(), kValues);
    });
  });
  return static_cast<double>(threads * kValues * kPasses) / seconds;
}

Ceilings measure_cpu(Backend& backend) {
  constexpr std::int64_t kSide = 2048;
  constexpr std::int64_t kCopied = 64 << 20;  // floats
  const int threads = backend.info().threads;
  Ceilings ceilings;
  {
    const LibraryThreads library(threads);
    ceilings.gemm_flops_per_s = cpu_product(backend, kSide, kSide, kSide);
    ceilings.narrow_gemm_flops_per_s = cpu_product(backend, kSide, kSide, kSide / 8);
    ceilings.row_gemm_flops_per_s = cpu_product(backend, 1, kSide, 4 * kSide);
  }
  ceilings.exp_per_s = cpu_exp_rate(threads);
  const Tensor from = make_tensor(backend, 1, kCopied, "workspace");
  const Tensor to = make_tensor(backend, 1, kCopied, "workspace");
  std::fill_n(from.view.f32(), kCopied, 1.0F);
  const double seconds = best_seconds([&] {
    parallel_ranges(threads, kCopied, 1, [&](std::int64_t first, std::int64_t n) {
      std::memcpy(to.view.f32() + first, from.view.f32() + first,
                  static_cast<std::size_t>(n) * sizeof(float));
    });
  });
  ceilings.copy_bytes_per_s = 2.0 * static_cast<double>(from.view.bytes()) / seconds;
  return ceilings;
}

constexpr std::chrono::milliseconds kPause{100};

/// Random numbers: a GPU is faster on constant ones.
Tensor random(Backend& backend, std::int64_t rows, std::int64_t cols) {
  Tensor tensor = make_tensor(backend, rows, cols, "workspace");
  backend.fill_uniform(tensor.view, 1, 1.0F);
  return tensor;
}

double device_product(Backend& backend, std::int64_t rows, std::int64_t in, std::int64_t out) {
  constexpr int kCalls = 8;  // in a row: one of the small ones is shorter than a wait
  const Tensor x = random(backend, rows, in);
  const Tensor weight = random(backend, out, in);
  const Tensor y = make_tensor(backend, rows, out, "workspace");
  backend.set_tuning(true);
  backend.matmul(x.view, weight.view, y.view);
  backend.set_tuning(false);
  const int n = rows * out < std::int64_t{8192} * 8192 ? kCalls : 1;
  const double seconds = best_seconds(
      [&] {
        for (int i = 0; i < n; ++i) backend.matmul(x.view, weight.view, y.view);
        backend.wait();
      },
      kPause);
  return 2.0 * static_cast<double>(n * rows * in * out) / seconds;
}

#ifdef SALA_WITH_CUDA
double device_exp_rate(CudaBackend& backend) {
  const int n_sm = backend.properties().multiProcessorCount;
  const Buffer out = backend.allocate(
      cuda::exp_rate_outputs(n_sm) * static_cast<std::int64_t>(sizeof(float)), "workspace");
  const double seconds = best_seconds(
      [&] {
        SALA_CUDA(cuda::launch_exp_rate(static_cast<float*>(out.data()), n_sm, backend.stream()));
        backend.wait();
      },
      kPause);
  return cuda::exp_rate_count(n_sm) / seconds;
}
#endif

/// By the backend's own operations.
Ceilings measure_device(Backend& backend) {
  constexpr std::int64_t kSide = 8192;
  constexpr std::int64_t kCopyRows = 65536;  // 1 GiB in bf16
  constexpr int kLaunches = 1000;
  Ceilings ceilings;
  ceilings.gemm_flops_per_s = device_product(backend, kSide, kSide, kSide);
  ceilings.narrow_gemm_flops_per_s = device_product(backend, kSide, kSide, kSide / 8);
  ceilings.row_gemm_flops_per_s = device_product(backend, 1, kSide, 4 * kSide);
#ifdef SALA_WITH_CUDA
  ceilings.exp_per_s = device_exp_rate(static_cast<CudaBackend&>(backend));
#endif
  ceilings.launch_s = best_seconds([&] {
                        for (int i = 0; i < kLaunches; ++i) backend.set_position(0);
                        backend.wait();
                      }) /
                      kLaunches;
  const Tensor from = random(backend, kCopyRows, kSide);
  const Tensor to = make_tensor(backend, kCopyRows, kSide, "workspace");
  const double seconds = best_seconds([&] {
    backend.copy(from.view, to.view);
    backend.wait();
  });
  ceilings.copy_bytes_per_s = 2.0 * static_cast<double>(from.view.bytes()) / seconds;
  return ceilings;
}

}  // namespace

Ceilings measure_ceilings(Backend& backend) {
  return backend.device() == Device::cpu ? measure_cpu(backend) : measure_device(backend);
}

}  // namespace sala
