// Memory and dense operations of the CPU backend.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/cpu_backend.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/backend/cpu/machine.h"
#include "engine/backend/cpu/parallel.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/backend/cpu/weight_product.h"
#include "engine/base/bf16.h"
#include "engine/base/error.h"
#include "engine/base/splitmix.h"
#include "engine/tensor/convert.h"

namespace sala {

namespace {

void check_same(TensorView a, TensorView b) {
  SALA_CHECK(a.dtype == DType::f32 && b.dtype == DType::f32, "the CPU computes in fp32");
  SALA_CHECK(a.rows == b.rows && a.cols == b.cols, "elementwise operands have one shape");
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads)
      : info_{cpu_model_name(), threads > 0 ? threads : usable_cores(), installed_memory_bytes()} {}

  Device device() const override { return Device::cpu; }
  const DeviceInfo& info() const override { return info_; }
  DType compute_dtype() const override { return DType::f32; }
  std::int64_t available_bytes() const override { return available_memory_bytes(); }

  Buffer allocate(std::int64_t bytes, const char* category) override {
    constexpr std::int64_t kAlignment = 64;
    constexpr std::int64_t kWorthChecking = 1 << 20;
    SALA_CHECK(bytes >= 0, "sizes are not negative");
    const std::int64_t rounded =
        std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    // Linux hands out more than it has and kills the process later, so ask first.
    if (rounded >= kWorthChecking && rounded > available_bytes()) {
      throw OutOfMemory("cpu", category, bytes, available_bytes(), false);
    }
    void* data = std::aligned_alloc(kAlignment, static_cast<std::size_t>(rounded));
    if (data == nullptr) throw OutOfMemory("cpu", category, bytes, available_bytes(), false);
    ledger().add(category, rounded);
    return {this, data, rounded, category,
            [](void* owner, void* memory, std::int64_t size, const char* held_as) {
              std::free(memory);
              static_cast<CpuBackend*>(owner)->ledger().remove(held_as, size);
            }};
  }

  void upload_each(std::span<const Transfer> transfers) override {
    for (const auto& [host, device] : transfers) {
      SALA_CHECK(host.size() == device.size(), "both sides of a transfer have one shape");
      parallel_ranges(info_.threads, host.size(), 1, [&](std::int64_t first, std::int64_t count) {
        widen(host, first, count, device.f32() + first);
      });
    }
  }

  void download(TensorView device, std::span<float> host) override {
    SALA_CHECK(static_cast<std::int64_t>(host.size()) == device.size(), "host has room for all");
    std::memcpy(host.data(), device.data, host.size_bytes());
  }

  void fill_zero(TensorView x) override {
    std::memset(x.data, 0, static_cast<std::size_t>(x.bytes()));
  }

  void fill_uniform(TensorView x, std::uint64_t stream, float half_width) override {
    parallel_ranges(info_.threads, x.size(), 1, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = first; i < first + count; ++i) {
        x.f32()[i] =
            round_to_bf16(uniform_value(stream + static_cast<std::uint64_t>(i), half_width));
      }
    });
  }

  void copy(TensorView from, TensorView to) override {
    check_same(from, to);
    std::memcpy(to.data, from.data, static_cast<std::size_t>(from.bytes()));
  }

  void embed(TensorView table, std::span<const TokenId> ids, float scale, TensorView out) override {
    SALA_CHECK(out.cols == table.cols && out.rows == static_cast<std::int64_t>(ids.size()),
               "one row of the table a token");
    parallel_ranges(info_.threads, out.rows, out.cols, [&](std::int64_t first, std::int64_t n) {
      for (std::int64_t i = first; i < first + n; ++i) {
        const std::int64_t id = ids[static_cast<std::size_t>(i)];
        SALA_CHECK(id >= 0 && id < table.rows, "token ids are checked before they get here");
        scale_row(table.f32() + id * table.cols, scale, out.f32() + i * out.cols, out.cols);
      }
    });
  }

  void rms_norm(TensorView x, TensorView weight, float eps, TensorView out) override {
    check_same(x, out);
    SALA_CHECK(weight.size() == x.cols, "one weight a column");
    parallel_ranges(info_.threads, x.rows, x.cols, [&](std::int64_t first, std::int64_t n) {
      rms_norm_rows(x.f32() + first * x.cols, weight.f32(), eps, n, x.cols,
                    out.f32() + first * x.cols);
    });
  }

  void matmul(TensorView x, TensorView weight, TensorView out) override {
    const FlushToZero flush;
    const LibraryThreads library(product_threads(x, weight, out));
    product_.run(x.rows, x.cols, weight.rows, x.f32(), weight.f32(), out.f32());
  }

  void matmul_add(TensorView x, TensorView weight, float scale, TensorView out) override {
    const FlushToZero flush;
    const LibraryThreads library(product_threads(x, weight, out));
    product_.run_add(x.rows, x.cols, weight.rows, x.f32(), weight.f32(), scale, out.f32());
  }

  void silu_mul(TensorView gate, TensorView up, TensorView out) override {
    check_same(gate, up);
    check_same(gate, out);
    elementwise(out.size(), [&](std::int64_t i, std::int64_t n) {
      silu_mul_row(gate.f32() + i, up.f32() + i, out.f32() + i, n);
    });
  }

  void sigmoid_mul(TensorView gate, TensorView out) override {
    check_same(gate, out);
    elementwise(out.size(), [&](std::int64_t i, std::int64_t n) {
      sigmoid_mul_row(gate.f32() + i, out.f32() + i, n);
    });
  }

  void scale(TensorView x, float scale) override {
    elementwise(x.size(), [&](std::int64_t i, std::int64_t n) {
      scale_row(x.f32() + i, scale, x.f32() + i, n);
    });
  }

  void rotary(TensorView x, const Rotary& rotary, std::int64_t first_position) override {
    SALA_CHECK(rotary.head_dim % 2 == 0 && x.cols % rotary.head_dim == 0, "whole, even heads");
    const std::int64_t half = rotary.head_dim / 2;
    std::vector<double> inv_freq(static_cast<std::size_t>(half));
    for (std::int64_t i = 0; i < half; ++i) {
      inv_freq[static_cast<std::size_t>(i)] = rotary.frequency(i);
    }
    std::vector<double> slowdown(rotary.slowdown.begin(), rotary.slowdown.end());
    if (slowdown.empty()) slowdown.assign(inv_freq.size(), 1.0);
    SALA_CHECK(slowdown.size() == inv_freq.size(), "one slowdown a pair");
    const PairAngles angles{inv_freq.data(), slowdown.data(), rotary.magnitude, rotary.exact_angle};
    parallel_ranges(info_.threads, x.rows, x.cols, [&](std::int64_t first, std::int64_t n) {
      std::vector<float> table(static_cast<std::size_t>(2 * half));
      for (std::int64_t i = first; i < first + n; ++i) {
        rotate_row(x.f32() + i * x.cols, x.cols / rotary.head_dim, half, angles, first_position + i,
                   table.data());
      }
    });
  }

  void sample_greedy(TensorView logits, bool round) override {
    SALA_CHECK(logits.rows == 1, "one row is sampled");
    TokenId best = 0;
    float top = -std::numeric_limits<float>::infinity();
    bool is_finite = true;
    for (std::int64_t i = 0; i < logits.cols; ++i) {
      const float logit = round ? round_to_bf16(logits.f32()[i]) : logits.f32()[i];
      is_finite &= std::isfinite(logit);
      if (logit > top) {
        top = logit;
        best = static_cast<TokenId>(i);
      }
    }
    sampled_ = best;
    sampled_is_finite_ = is_finite;
  }

  std::optional<TokenId> sampled() override {
    if (!sampled_is_finite_) return std::nullopt;
    return sampled_;
  }

  void set_sampled(TokenId id) override { sampled_ = id; }

  void embed_sampled(TensorView table, float scale, TensorView out) override {
    embed(table, {&sampled_, 1}, scale, out);
  }

 private:
  /// Threads that a product deserves.
  int product_threads(TensorView x, TensorView weight, TensorView out) const {
    SALA_CHECK(x.cols == weight.cols && out.rows == x.rows && out.cols == weight.rows,
               "shapes of a product agree");
    const double elements = static_cast<double>(weight.size() + x.size() + out.size());
    const double flops = 2.0 * static_cast<double>(x.rows) * static_cast<double>(weight.size());
    return elements + flops / kFlopsPerElement < kLeastParallelWork ? 1 : info_.threads;
  }

  template <typename Body>
  void elementwise(std::int64_t size, const Body& body) {
    parallel_ranges(info_.threads, size, 1, body);
  }

  DeviceInfo info_;
  WeightProduct product_;
  TokenId sampled_ = 0;
  bool sampled_is_finite_ = true;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  return std::make_unique<CpuBackend>(threads);
}

}  // namespace sala
