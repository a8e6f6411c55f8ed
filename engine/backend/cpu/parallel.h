// Loops over a fixed number of threads, with denormal numbers flushed to zero.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

// From omp.h, which clang-tidy cannot read: gcc's is for gcc alone.
extern "C" {
int omp_get_max_threads() noexcept;
int omp_get_thread_num() noexcept;
void omp_set_num_threads(int threads) noexcept;
}

namespace sala {

/// Flushes denormal results and inputs to zero on this thread while it lives: decays and softmax
/// tails underflow often, and a denormal costs a hundred times a normal number on many CPUs.
class FlushToZero {
 public:
#ifdef __SSE__
  FlushToZero() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040U); }
  ~FlushToZero() { _mm_setcsr(saved_); }
#else
  FlushToZero() = default;
  ~FlushToZero() {}
#endif
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;

 private:
  [[maybe_unused]] unsigned saved_ = 0;
};

/// Lets library calls of this thread use that many threads while it lives.
class LibraryThreads {
 public:
  explicit LibraryThreads(int threads) : saved_(omp_get_max_threads()) {
    omp_set_num_threads(threads);
  }
  ~LibraryThreads() { omp_set_num_threads(saved_); }
  LibraryThreads(const LibraryThreads&) = delete;
  LibraryThreads& operator=(const LibraryThreads&) = delete;

 private:
  int saved_;
};

/// Elements of elementwise work, or 32 times as many FLOPs of a product, that pay for waking
/// threads.
constexpr double kLeastParallelWork = 1 << 14;
constexpr double kFlopsPerElement = 32;

/// body(item, thread) for every item in [0, n_items), in any order; on the calling thread alone
/// when `work` (elements in all) is little. Library calls in the body run on one thread. The body
/// must not throw.
template <typename Body>
void parallel_for(int threads, std::int64_t n_items, double work, const Body& body) {
  if (threads == 1 || n_items <= 1 || work < kLeastParallelWork) {
    const FlushToZero flush;
    const LibraryThreads single(1);
    for (std::int64_t item = 0; item < n_items; ++item) body(item, 0);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const FlushToZero flush;
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t item = 0; item < n_items; ++item) body(item, omp_get_thread_num());
  }
}

/// body(first, count) over contiguous ranges of n_items that touch `item_work` elements each.
template <typename Body>
void parallel_ranges(int threads, std::int64_t n_items, std::int64_t item_work, const Body& body) {
  const double work = static_cast<double>(n_items) * static_cast<double>(item_work);
  const std::int64_t parts =
      work < kLeastParallelWork ? 1 : std::min<std::int64_t>(threads, n_items);
  parallel_for(threads, parts, work, [&](std::int64_t part, int) {
    const std::int64_t first = n_items * part / parts;
    body(first, n_items * (part + 1) / parts - first);
  });
}

}  // namespace sala
