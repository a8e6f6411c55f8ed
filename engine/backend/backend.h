// What a device offers: memory with accounting, and the dense operations every layer shares.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "engine/base/memory_ledger.h"
#include "engine/base/token.h"
#include "engine/base/trace.h"
#include "engine/tensor/tensor.h"

namespace sala {

enum class Device : std::uint8_t { cpu, cuda };
const char* device_name(Device device);

/// Owner of a piece of device memory; gives it back to its backend and the ledger.
class Buffer {
 public:
  using Release = void (*)(void* owner, void* data, std::int64_t bytes, const char* category);

  Buffer() = default;
  /// category must outlive the buffer: a string literal.
  Buffer(void* owner, void* data, std::int64_t bytes, const char* category, Release release)
      : owner_(owner), data_(data), bytes_(bytes), category_(category), release_(release) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) release_(owner_, data_, bytes_, category_);
  }

  void* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(category_, other.category_);
    std::swap(release_, other.release_);
  }

  void* owner_ = nullptr;
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
  const char* category_ = "";
  Release release_ = nullptr;
};

/// A matrix with its memory.
struct Tensor {
  Buffer buffer;
  TensorView view;
};

/// Values of the host, of any dtype, for a device matrix of the same shape.
struct Transfer {
  TensorView host;
  TensorView device;
};

struct DeviceInfo {
  std::string name;               // CPU or GPU model
  int threads = 1;                // worker threads; 1 on a GPU
  std::int64_t memory_bytes = 0;  // installed
  std::string id = "cpu";         // or cuda:0
  std::string uuid = {};          // of a GPU, as its driver writes it
};

/// Rotary embedding of pairs (i, i + head_dim / 2). Source: model reference §2.4.
struct Rotary {
  std::int64_t head_dim = 0;
  double theta = 10000.0;
  bool exact_angle = false;  // angles in fp64; otherwise the reference's fp32 product
  /// Longrope: pair i turns slower by slowdown[i] (head_dim / 2 of them); empty: as fast as ever.
  std::span<const double> slowdown = {};
  float magnitude = 1.0F;  // factor of every cosine and sine

  /// How far pair i turns with a token when nothing slows it, in radians. Published code computes
  /// 1 / theta^(2i/d) in fp32 step by step, which far into a context is not the same as rounding
  /// once: 0.03 to 0.06 rad at a million tokens.
  double frequency(std::int64_t i) const {
    const double exponent = 2 * static_cast<double>(i) / static_cast<double>(head_dim);
    if (exact_angle) return std::pow(theta, -exponent);
    const double rounded = static_cast<float>(exponent);
    return 1.0F / static_cast<float>(std::pow(theta, rounded));
  }
};

/// One product of several that share their left side: out = x · weightᵀ.
struct Product {
  TensorView weight;  // (out, in)
  TensorView out;     // (n, out)
};

/// Work that was recorded instead of run, and can be run any number of times.
class Recording {
 public:
  virtual ~Recording() = default;
  /// Starts the work; it runs in order with everything else on the device.
  virtual void run() = 0;
};

/// A device. Runs its operations in order; owned by the Engine and outlives everything on it.
/// All matrices are row-major and on this device; outputs may alias inputs only where said.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual Device device() const = 0;
  virtual const DeviceInfo& info() const = 0;
  MemoryLedger& ledger() { return ledger_; }

  /// Uninitialised memory, 64-byte aligned. Throws OutOfMemory. category: a string literal.
  virtual Buffer allocate(std::int64_t bytes, const char* category) = 0;
  /// Bytes that could still be allocated now.
  virtual std::int64_t available_bytes() const = 0;
  /// Copies a host matrix of any dtype to the device, in the dtype the device computes in.
  Tensor upload(TensorView host, const char* category);
  /// Copies many matrices, converted to the device's dtype, as fast as the device takes them;
  /// waits. Host memory may be a mapped file: no second copy of it is made.
  virtual void upload_each(std::span<const Transfer> transfers) = 0;
  /// Copies a device matrix to `host` as fp32; waits.
  virtual void download(TensorView device, std::span<float> host) = 0;
  virtual void fill_zero(TensorView x) = 0;
  /// x[i] = uniform_value(stream + i, half_width), rounded to bf16: the same on every device.
  virtual void fill_uniform(TensorView x, std::uint64_t stream, float half_width) = 0;
  virtual void copy(TensorView from, TensorView to) = 0;
  /// Dtype of activations and caches.
  virtual DType compute_dtype() const = 0;
  /// Returns when all work given to the device is done. Throws Error when some of it failed.
  virtual void wait() {}

  /// out[i] = table[ids[i]] * scale.
  virtual void embed(TensorView table, std::span<const TokenId> ids, float scale,
                     TensorView out) = 0;
  /// Each row times weight / sqrt(mean(row^2) + eps); out may alias x.
  virtual void rms_norm(TensorView x, TensorView weight, float eps, TensorView out) = 0;
  /// out = x · weightᵀ; x (n, in), weight (out, in), out (n, out) in the compute dtype or fp32.
  virtual void matmul(TensorView x, TensorView weight, TensorView out) = 0;
  /// out = out + scale * x · weightᵀ.
  virtual void matmul_add(TensorView x, TensorView weight, float scale, TensorView out) = 0;
  /// matmul() of x with every weight; at most four.
  virtual void matmul_each(TensorView x, std::span<const Product> products);
  /// out = silu(x · gateᵀ) * (x · upᵀ); spare has the shape of out and is overwritten.
  virtual void gated_matmul(TensorView x, TensorView gate, TensorView up, TensorView spare,
                            TensorView out);
  /// out = silu(gate) * up; out may alias either.
  virtual void silu_mul(TensorView gate, TensorView up, TensorView out) = 0;
  /// out = out * sigmoid(gate).
  virtual void sigmoid_mul(TensorView gate, TensorView out) = 0;
  /// x *= scale.
  virtual void scale(TensorView x, float scale) = 0;
  /// Rotates x (n_tokens, n_heads * head_dim) in place; row i is at first_position + i. A device
  /// that records takes the position of a single row from its own memory instead.
  virtual void rotary(TensorView x, const Rotary& rotary, std::int64_t first_position) = 0;
  /// rms_norm() of every head of x with a weight (1, head_dim), then rotary(), both in place.
  virtual void norm_rotary(TensorView x, TensorView weight, float eps, const Rotary& rotary,
                           std::int64_t first_position);

  /// Picks the id of the largest of logits (1, vocab), the lowest on ties; rounds them to bf16
  /// first when asked to. The id stays on the device for embed_sampled().
  virtual void sample_greedy(TensorView logits, bool round_to_bf16) = 0;
  /// Waits for sample_greedy(); nothing when a logit was NaN or infinite.
  virtual std::optional<TokenId> sampled() = 0;
  /// Replaces the sampled id.
  virtual void set_sampled(TokenId id) = 0;
  /// out (1, hidden) = the table's row of the sampled id, times scale.
  virtual void embed_sampled(TensorView table, float scale, TensorView out) = 0;

  /// Sets the position that single rows are at, for devices that keep it in their memory.
  virtual void set_position(std::int64_t /*position*/) {}
  /// Moves that position on by one.
  virtual void advance_position() {}
  /// Records what `work` gives to the device instead of running it; null when the device cannot.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& /*work*/) { return {}; }
  /// While on, products of new shapes are timed with several routines to choose from; what such a
  /// product adds to means nothing afterwards. For a pass over made-up data after loading.
  virtual void set_tuning(bool /*on*/) {}
  /// Measures stages on the device; null when the host's clock does.
  virtual StageClock* stage_clock() { return nullptr; }

 private:
  MemoryLedger ledger_;
};

/// A (rows, cols) matrix in the backend's compute dtype.
Tensor make_tensor(Backend& backend, std::int64_t rows, std::int64_t cols, const char* category);

/// Makes the backend for "cpu", "cuda", "cuda:1" or "auto". threads: 0 = all cores.
/// Throws Error naming what this build or machine lacks.
std::unique_ptr<Backend> make_backend(const std::string& device, int threads);

}  // namespace sala
