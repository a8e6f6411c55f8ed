// A large matrix product and a large copy.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/ceilings.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/parallel.h"

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

Ceilings measure_cpu(Backend& backend) {
  constexpr std::int64_t kSide = 2048;
  constexpr std::int64_t kCopied = 64 << 20;  // floats
  const int threads = backend.info().threads;
  Ceilings ceilings;
  {
    const Tensor a = make_tensor(backend, kSide, kSide, "workspace");
    const Tensor b = make_tensor(backend, kSide, kSide, "workspace");
    const Tensor c = make_tensor(backend, kSide, kSide, "workspace");
    std::fill_n(a.view.f32(), a.view.size(), 0.5F);
    std::fill_n(b.view.f32(), b.view.size(), 0.25F);
    const LibraryThreads library(threads);
    const double seconds = best_seconds([&] {
      gemm(kSide, kSide, kSide, a.view.f32(), kSide, b.view.f32(), kSide, 0.0F, c.view.f32(),
           kSide);
    });
    ceilings.gemm_flops_per_s = 2.0 * kSide * kSide * kSide / seconds;
  }
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

/// By the backend's own operations, on random numbers: a GPU is faster on constant ones.
Ceilings measure_device(Backend& backend) {
  constexpr std::int64_t kSide = 8192;
  constexpr std::int64_t kCopyRows = 65536;  // 1 GiB in bf16
  constexpr std::chrono::milliseconds kPause{100};
  Ceilings ceilings;
  const auto random = [&](std::int64_t rows) {
    Tensor tensor = make_tensor(backend, rows, kSide, "workspace");
    backend.fill_uniform(tensor.view, 1, 1.0F);
    return tensor;
  };
  {
    const Tensor a = random(kSide);
    const Tensor b = random(kSide);
    const Tensor c = make_tensor(backend, kSide, kSide, "workspace");
    backend.set_tuning(true);
    backend.matmul(a.view, b.view, c.view);
    backend.set_tuning(false);
    const double seconds = best_seconds(
        [&] {
          backend.matmul(a.view, b.view, c.view);
          backend.wait();
        },
        kPause);
    ceilings.gemm_flops_per_s = 2.0 * kSide * kSide * kSide / seconds;
  }
  const Tensor from = random(kCopyRows);
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
