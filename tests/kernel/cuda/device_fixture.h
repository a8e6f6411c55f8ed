// Tests on a GPU: skip without one, buffers that are guarded and poisoned, comparison by two norms.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/base/bf16.h"
#include "engine/base/error.h"

namespace sala::testing {

/// Skips with the reason when no GPU can be used.
class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      backend_ = make_cuda_backend(0);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
  cudaStream_t stream() const { return backend_->stream(); }
  /// Waits for the kernels of the test; throws when one failed.
  void sync() const { SALA_CUDA(cudaStreamSynchronize(stream())); }

  std::unique_ptr<CudaBackend> backend_;
};

/// n elements of T on the device between two guards, every byte 0xff until somebody writes: a NaN
/// as float or bf16, -1 as an integer. 256-byte aligned.
template <typename T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::int64_t n) : n_(n), bytes_(n * static_cast<std::int64_t>(sizeof(T))) {
    SALA_CUDA(cudaMalloc(&memory_, static_cast<std::size_t>(bytes_ + 2 * kGuard)));
    SALA_CUDA(cudaMemset(memory_, kGuardByte, static_cast<std::size_t>(bytes_ + 2 * kGuard)));
    SALA_CUDA(cudaMemset(data(), 0xff, static_cast<std::size_t>(bytes_)));
    SALA_CUDA(cudaDeviceSynchronize());
  }
  explicit DeviceBuffer(std::span<const T> values)
      : DeviceBuffer(static_cast<std::int64_t>(values.size())) {
    upload(values);
  }
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(std::span<const T>(values)) {}
  ~DeviceBuffer() { cudaFree(memory_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* data() const { return reinterpret_cast<T*>(static_cast<std::byte*>(memory_) + kGuard); }
  std::int64_t size() const { return n_; }

  void upload(std::span<const T> values) {
    SALA_CUDA(cudaMemcpy(data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice));
    SALA_CUDA(cudaDeviceSynchronize());  // other streams do not wait for the copy
  }
  /// Waits for the whole device.
  std::vector<T> download() const {
    std::vector<T> host(static_cast<std::size_t>(n_));
    SALA_CUDA(cudaDeviceSynchronize());
    SALA_CUDA(
        cudaMemcpy(host.data(), data(), static_cast<std::size_t>(bytes_), cudaMemcpyDeviceToHost));
    return host;
  }
  void expect_guards_intact() const {
    std::vector<unsigned char> guard(kGuard);
    SALA_CUDA(cudaDeviceSynchronize());
    for (const std::int64_t offset : {std::int64_t{0}, kGuard + bytes_}) {
      SALA_CUDA(cudaMemcpy(guard.data(), static_cast<std::byte*>(memory_) + offset, kGuard,
                           cudaMemcpyDeviceToHost));
      EXPECT_TRUE(std::all_of(guard.begin(), guard.end(),
                              [](unsigned char byte) { return byte == kGuardByte; }))
          << "written " << (offset == 0 ? "before" : "behind") << " the buffer";
    }
  }

 private:
  static constexpr std::int64_t kGuard = 256;
  static constexpr unsigned char kGuardByte = 0xa5;

  std::int64_t n_;
  std::int64_t bytes_;
  void* memory_ = nullptr;
};

using Bf16Bits = std::uint16_t;

inline std::vector<Bf16Bits> to_bf16(std::span<const float> values) {
  std::vector<Bf16Bits> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(), f32_to_bf16);
  return bits;
}
inline std::vector<float> from_bf16(std::span<const Bf16Bits> bits) {
  std::vector<float> values(bits.size());
  std::transform(bits.begin(), bits.end(), values.begin(), bf16_to_f32);
  return values;
}
/// What the values become once stored in bf16: the input that a reference must see.
inline std::vector<float> rounded_to_bf16(std::span<const float> values) {
  std::vector<float> rounded(values.size());
  std::transform(values.begin(), values.end(), rounded.begin(), round_to_bf16);
  return rounded;
}

/// A bf16 matrix on the device that remembers its host values, or is poisoned.
class DeviceMatrix {
 public:
  DeviceMatrix(std::int64_t rows, std::int64_t cols)
      : rows_(rows), cols_(cols), buffer_(rows * cols) {}
  DeviceMatrix(std::int64_t rows, std::int64_t cols, std::span<const float> values)
      : DeviceMatrix(rows, cols) {
    buffer_.upload(to_bf16(values));
  }
  TensorView view() const { return {buffer_.data(), DType::bf16, rows_, cols_}; }
  std::vector<float> values() const { return from_bf16(buffer_.download()); }
  void expect_guards_intact() const { buffer_.expect_guards_intact(); }

 private:
  std::int64_t rows_;
  std::int64_t cols_;
  DeviceBuffer<Bf16Bits> buffer_;
};

/// Bounds of a comparison. frobenius: of |a - e| over |e| as vectors; worst: of one element's
/// |a - e| over max(|e|, root mean square of all expected); frobenius_of_few, if larger: in place
/// of frobenius for fewer than kMany values, whose roundings need not average out.
struct Bounds {
  double frobenius;
  double worst;
  double frobenius_of_few = 0;
};
constexpr std::size_t kMany = 1000;
namespace tolerance {
constexpr Bounds kOneRounding{2.5e-3, 8e-3, 0x1p-8};  // one rounding to bf16
constexpr Bounds kAttentionOutput{4e-3, 3e-2};        // bf16 attention outputs
constexpr Bounds kFloatOutput{1e-5, 1e-4};            // fp32 outputs
}  // namespace tolerance

/// Infinities and NaN must stand at the same places.
template <typename Expected>
void expect_within(std::span<const float> actual, std::span<const Expected> expected,
                   Bounds bounds) {
  ASSERT_EQ(actual.size(), expected.size());
  double squares = 0;
  std::int64_t n_finite = 0;
  for (const Expected e : expected) {
    if (!std::isfinite(static_cast<double>(e))) continue;
    squares += static_cast<double>(e) * static_cast<double>(e);
    ++n_finite;
  }
  const double typical =
      std::sqrt(squares / static_cast<double>(std::max<std::int64_t>(n_finite, 1)));
  double error_squares = 0;
  double worst = 0;
  std::size_t where = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const auto a = static_cast<double>(actual[i]);
    const auto e = static_cast<double>(expected[i]);
    ASSERT_EQ(std::isnan(a), std::isnan(e)) << "at " << i << ": " << a << " against " << e;
    if (std::isnan(e)) continue;
    if (std::isinf(e) || std::isinf(a)) {
      ASSERT_EQ(a, e) << "at " << i;
      continue;
    }
    error_squares += (a - e) * (a - e);
    const double error = std::abs(a - e) / std::max({std::abs(e), typical, 1e-30});
    if (error > worst) {
      worst = error;
      where = i;
    }
  }
  const double frobenius = actual.size() < kMany
                               ? std::max(bounds.frobenius, bounds.frobenius_of_few)
                               : bounds.frobenius;
  EXPECT_LE(std::sqrt(error_squares), frobenius * std::sqrt(squares) + 1e-30)
      << "relative Frobenius error " << std::sqrt(error_squares / std::max(squares, 1e-300));
  EXPECT_LE(worst, bounds.worst) << "at " << where << ": " << actual[where] << " against "
                                 << static_cast<double>(expected[where]);
}
template <typename Expected>
void expect_within(const std::vector<float>& actual, const std::vector<Expected>& expected,
                   Bounds bounds) {
  expect_within(std::span<const float>(actual), std::span<const Expected>(expected), bounds);
}

/// Runs `run`, which returns a vector, twice and expects the same bits.
template <typename Run>
auto run_twice(const Run& run) {
  auto first = run();
  const auto second = run();
  EXPECT_EQ(first.size(), second.size());
  if (first.size() == second.size()) {
    EXPECT_EQ(std::memcmp(first.data(), second.data(), first.size() * sizeof(first[0])), 0)
        << "two runs differ";
  }
  return first;
}

}  // namespace sala::testing
