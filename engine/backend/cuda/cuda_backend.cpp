// Memory and dense operations of one GPU.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/cuda_backend.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/backend/cuda/cuda_error.h"
#include "engine/backend/cuda/elementwise.h"
#include "engine/backend/cuda/gemm_lt.h"
#include "engine/backend/cuda/gemv.h"
#include "engine/backend/cuda/hopper.h"
#include "engine/backend/cuda/norm.h"
#include "engine/backend/cuda/recording.h"
#include "engine/backend/cuda/rotary.h"
#include "engine/backend/cuda/sample.h"
#include "engine/backend/cuda/stage_clock.h"
#include "engine/backend/cuda/swiglu_product.h"
#include "engine/backend/cuda/upload.h"
#include "engine/base/bf16.h"
#include "engine/base/error.h"

namespace sala {
namespace {

using cuda::GemvEnd;
using cuda::GemvParams;

constexpr std::int64_t kAlignment = 256;
/// Left for what the driver takes without asking: code of kernels, graphs, stacks.
constexpr std::int64_t kLeftToDriver = std::int64_t{256} << 20;
/// Token ids that are embedded at a time.
constexpr std::int64_t kIdsAtOnce = 16384;

/// The single values that kernels read and write, and the scratch of sampling.
struct Control {
  std::int32_t position;
  cuda::Sampled sampled;
  cuda::SampleScratch sample_scratch;
};

__nv_bfloat16* bf16(TensorView x) {
  SALA_CHECK(x.dtype == DType::bf16, "the GPU computes in bf16");
  return static_cast<__nv_bfloat16*>(x.data);
}

bool is_aligned(TensorView x) {
  return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
}

/// "GPU-" and the digits in groups of 8, 4, 4, 4 and 12, as the driver's tools write it.
std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU";
  for (std::size_t i = 0; i < sizeof(uuid.bytes); ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
}

void check_same(TensorView a, TensorView b) {
  SALA_CHECK(a.rows == b.rows && a.cols == b.cols, "elementwise operands have one shape");
}

class Gpu final : public CudaBackend {
 public:
  Gpu(int index, const cudaDeviceProp& properties)
      : properties_(properties),
        info_{properties.name, 1, static_cast<std::int64_t>(properties.totalGlobalMem),
              fmt::format("cuda:{}", index), uuid_text(properties.uuid)},
        stream_(),
        control_buffer_(allocate(sizeof(Control), "workspace")),
        ids_(allocate(kIdsAtOnce * static_cast<std::int64_t>(sizeof(TokenId)), "workspace")),
        gemm_workspace_(allocate(GemmLt::kWorkspaceBytes, "workspace")),
        gemm_(gemm_workspace_.data(), stream()),
        clock_(stream()) {
    SALA_CUDA(cudaMemsetAsync(control(), 0, sizeof(Control), stream()));
    SALA_CUDA(cudaMallocHost(reinterpret_cast<void**>(&host_sampled_), sizeof(*host_sampled_)));
  }
  ~Gpu() override { cudaFreeHost(host_sampled_); }

  Device device() const override { return Device::cuda; }
  const DeviceInfo& info() const override { return info_; }
  DType compute_dtype() const override { return DType::bf16; }
  cudaStream_t stream() const override { return stream_.stream; }
  const std::int32_t* position() const override { return &control()->position; }
  const cudaDeviceProp& properties() const override { return properties_; }
  StageClock* stage_clock() override { return &clock_; }

  std::int64_t available_bytes() const override {
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    SALA_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
    return std::max<std::int64_t>(static_cast<std::int64_t>(free_bytes) - kLeftToDriver, 0);
  }

  Buffer allocate(std::int64_t bytes, const char* category) override {
    SALA_CHECK(bytes >= 0, "sizes are not negative");
    const std::int64_t rounded =
        std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    void* data = nullptr;
    const cudaError_t error = cudaMalloc(&data, static_cast<std::size_t>(rounded));
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw OutOfMemory(info_.id, category, bytes, available_bytes(), false);
    }
    SALA_CUDA(error);
    ledger().add(category, rounded);
    return {this, data, rounded, category,
            [](void* owner, void* memory, std::int64_t size, const char* held_as) {
              cudaFree(memory);
              static_cast<Gpu*>(owner)->ledger().remove(held_as, size);
            }};
  }

  void upload_each(std::span<const Transfer> transfers) override { cuda::upload(transfers); }

  void download(TensorView device, std::span<float> host) override {
    SALA_CHECK(static_cast<std::int64_t>(host.size()) == device.size(), "host has room for all");
    if (device.dtype == DType::f32) {
      copy_out(device, host.data());
      return;
    }
    std::vector<std::uint16_t> narrow(host.size());
    copy_out(device, narrow.data());
    std::transform(narrow.begin(), narrow.end(), host.begin(), bf16_to_f32);
  }

  void fill_zero(TensorView x) override {
    SALA_CUDA(cudaMemsetAsync(x.data, 0, static_cast<std::size_t>(x.bytes()), stream()));
  }

  void fill_uniform(TensorView x, std::uint64_t first_index, float half_width) override {
    SALA_CUDA(cuda::launch_fill_uniform(bf16(x), first_index, half_width, x.size(), stream()));
  }

  void copy(TensorView from, TensorView to) override {
    check_same(from, to);
    SALA_CHECK(from.dtype == to.dtype, "a copy changes no dtype");
    SALA_CUDA(cudaMemcpyAsync(to.data, from.data, static_cast<std::size_t>(from.bytes()),
                              cudaMemcpyDeviceToDevice, stream()));
  }

  void wait() override { SALA_CUDA(cudaStreamSynchronize(stream())); }

  void embed(TensorView table, std::span<const TokenId> ids, float scale, TensorView out) override {
    SALA_CHECK(out.cols == table.cols && out.rows == static_cast<std::int64_t>(ids.size()),
               "one row of the table a token");
    auto* device_ids = static_cast<TokenId*>(ids_.data());
    for (std::int64_t first = 0; first < out.rows; first += kIdsAtOnce) {
      const std::int64_t n = std::min(kIdsAtOnce, out.rows - first);
      SALA_CUDA(cudaMemcpyAsync(device_ids, ids.data() + first,
                                static_cast<std::size_t>(n) * sizeof(TokenId),
                                cudaMemcpyHostToDevice, stream()));
      embed_ids(table, device_ids, scale, out.row_range(first, n));
    }
  }

  void rms_norm(TensorView x, TensorView weight, float eps, TensorView out) override {
    check_same(x, out);
    SALA_CHECK(weight.size() == x.cols, "one weight a column");
    SALA_CUDA(
        cuda::launch_rms_norm({bf16(x), bf16(weight), bf16(out), x.rows, x.cols, eps}, stream()));
  }

  void matmul(TensorView x, TensorView weight, TensorView out) override {
    const Product product{weight, out};
    matmul_each(x, {&product, 1});
  }

  void matmul_each(TensorView x, std::span<const Product> products) override {
    SALA_CHECK(products.size() <= cuda::kMaxGemvParts, "as many products as a row's kernel takes");
    if (!is_gemv(x)) {
      for (const Product& product : products) gemm_.run(x, product.weight, 1, 0, product.out);
      return;
    }
    GemvParams params = row_product(x, GemvEnd::store);
    for (const Product& product : products) add_part(params, product);
    SALA_CUDA(cuda::launch_gemv(params, stream()));
  }

  void matmul_add(TensorView x, TensorView weight, float scale, TensorView out) override {
    if (!is_gemv(x)) {
      gemm_.run(x, weight, scale, 1, out);
      return;
    }
    SALA_CHECK(out.dtype == DType::bf16, "sums are kept in bf16");
    GemvParams params = row_product(x, GemvEnd::add);
    params.scale = scale;
    add_part(params, {weight, out});
    SALA_CUDA(cuda::launch_gemv(params, stream()));
  }

  void gated_matmul(TensorView x, TensorView gate, TensorView up, TensorView spare,
                    TensorView out) override {
    if (!is_gemv(x)) {
      if (fuses_gate(x, gate, up, out)) {
        SALA_CUDA(cuda::launch_swiglu_product(
            {bf16(x), bf16(gate), bf16(up), bf16(out), x.rows, x.cols, out.cols}, stream()));
      } else {
        Backend::gated_matmul(x, gate, up, spare, out);
      }
      return;
    }
    GemvParams params = row_product(x, GemvEnd::gate);
    add_part(params, {gate, out});
    add_part(params, {up, out});
    SALA_CUDA(cuda::launch_gemv(params, stream()));
  }

  void silu_mul(TensorView gate, TensorView up, TensorView out) override {
    check_same(gate, up);
    check_same(gate, out);
    SALA_CUDA(cuda::launch_silu_mul(bf16(gate), bf16(up), bf16(out), out.size(), stream()));
  }

  void sigmoid_mul(TensorView gate, TensorView out) override {
    check_same(gate, out);
    SALA_CUDA(cuda::launch_sigmoid_mul(bf16(gate), bf16(out), out.size(), stream()));
  }

  void scale(TensorView x, float scale) override {
    SALA_CUDA(cuda::launch_scale(bf16(x), scale, x.size(), stream()));
  }

  void rotary(TensorView x, const Rotary& rotary, std::int64_t first_position) override {
    rotate(x, nullptr, 0, rotary, first_position);
  }

  void norm_rotary(TensorView x, TensorView weight, float eps, const Rotary& rotary,
                   std::int64_t first_position) override {
    SALA_CHECK(weight.size() == rotary.head_dim, "one weight an element of a head");
    rotate(x, bf16(weight), eps, rotary, first_position);
  }

  void sample_greedy(TensorView logits, bool round_to_bf16) override {
    SALA_CHECK(logits.rows == 1 && logits.dtype == DType::f32, "one fp32 row is sampled");
    SALA_CUDA(cuda::launch_greedy(
        {logits.f32(), logits.cols, round_to_bf16, &control()->sample_scratch, &control()->sampled},
        stream()));
    SALA_CUDA(cudaMemcpyAsync(host_sampled_, &control()->sampled, sizeof(*host_sampled_),
                              cudaMemcpyDeviceToHost, stream()));
  }

  std::optional<TokenId> sampled() override {
    wait();
    if (host_sampled_->is_finite == 0) return std::nullopt;
    return host_sampled_->id;
  }

  void set_sampled(TokenId id) override {
    SALA_CUDA(cuda::launch_set(&control()->sampled.id, id, false, stream()));
  }

  void embed_sampled(TensorView table, float scale, TensorView out) override {
    SALA_CHECK(out.cols == table.cols && out.rows == 1, "the row of one token");
    embed_ids(table, &control()->sampled.id, scale, out);
  }

  void set_position(std::int64_t position) override {
    SALA_CUDA(cuda::launch_set(&control()->position, static_cast<std::int32_t>(position), false,
                               stream()));
  }

  void advance_position() override {
    SALA_CUDA(cuda::launch_set(&control()->position, 1, true, stream()));
  }

  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    return record_graph(stream(), work);
  }

  void set_tuning(bool on) override { gemm_.set_tuning(on); }

 private:
  struct Stream {
    Stream() { SALA_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
    ~Stream() { cudaStreamDestroy(stream); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    cudaStream_t stream = nullptr;
  };

  Control* control() const { return static_cast<Control*>(control_buffer_.data()); }

  void copy_out(TensorView device, void* host) {
    SALA_CUDA(cudaMemcpyAsync(host, device.data, static_cast<std::size_t>(device.bytes()),
                              cudaMemcpyDeviceToHost, stream()));
    wait();
  }

  void embed_ids(TensorView table, const TokenId* ids, float scale, TensorView out) {
    SALA_CUDA(
        cuda::launch_embed({bf16(table), ids, bf16(out), out.rows, out.cols, scale}, stream()));
  }

  static bool is_gemv(TensorView x) {
    return x.rows == 1 && cuda::gemv_takes(x.cols) && is_aligned(x);
  }

  /// Fewer rows leave most of a tile of the fused product empty.
  bool fuses_gate(TensorView x, TensorView gate, TensorView up, TensorView out) const {
    check_same(gate, up);
    SALA_CHECK(gate.cols == x.cols && out.rows == x.rows && out.cols == gate.rows,
               "shapes of a gated product agree");
    constexpr std::int64_t kLeastRows = 256;
    return x.rows >= kLeastRows && cuda::is_hopper(properties_) &&
           cuda::swiglu_product_takes(x.cols, out.cols) && is_aligned(x) && is_aligned(gate) &&
           is_aligned(up) && is_aligned(out);
  }

  static GemvParams row_product(TensorView x, GemvEnd end) {
    GemvParams params;
    params.x = bf16(x);
    params.in = x.cols;
    params.end = end;
    return params;
  }

  static void add_part(GemvParams& params, const Product& product) {
    SALA_CHECK(product.weight.cols == params.in && product.out.size() == product.weight.rows,
               "shapes of a product agree");
    params.parts[params.n_parts++] = {bf16(product.weight), product.out.data, product.weight.rows,
                                      product.out.dtype == DType::f32};
  }

  void rotate(TensorView x, const __nv_bfloat16* weight, float eps, const Rotary& rotary,
              std::int64_t first_position) {
    SALA_CHECK(x.cols % rotary.head_dim == 0, "whole heads");
    if (rotary.head_dim % 4 != 0 || rotary.head_dim > 2 * cuda::kMaxRotaryPairs) {
      throw Error(info_.id,
                  "rotary embedding needs a head_dim that is a multiple of 4 and at most "
                  "{}, got {}; try --device cpu",
                  2 * cuda::kMaxRotaryPairs, rotary.head_dim);
    }
    cuda::RotaryParams params{.x = bf16(x),
                              .weight = weight,
                              .position = x.rows == 1 ? position() : nullptr,
                              .first_position = first_position,
                              .n_tokens = x.rows,
                              .n_heads = static_cast<int>(x.cols / rotary.head_dim),
                              .head_dim = static_cast<int>(rotary.head_dim),
                              .eps = eps,
                              .exact_angle = rotary.exact_angle,
                              .magnitude = rotary.magnitude};
    for (std::int64_t i = 0; i < rotary.head_dim / 2; ++i) {
      params.slowdown[i] =
          rotary.slowdown.empty() ? 1.0 : rotary.slowdown[static_cast<std::size_t>(i)];
      params.inv_freq[i] = rotary.frequency(i);
    }
    SALA_CUDA(cuda::launch_rotary(params, stream()));
  }

  cudaDeviceProp properties_;
  DeviceInfo info_;
  Stream stream_;
  Buffer control_buffer_;
  Buffer ids_;
  Buffer gemm_workspace_;
  GemmLt gemm_;
  CudaStageClock clock_;
  cuda::Sampled* host_sampled_ = nullptr;  // pinned
};

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace

bool has_cuda_device() {
  int n_devices = 0;
  const bool found = cudaGetDeviceCount(&n_devices) == cudaSuccess && n_devices > 0;
  cudaGetLastError();
  return found;
}

std::unique_ptr<CudaBackend> make_cuda_backend(int index) {
  const auto where = fmt::format("--device cuda:{}", index);
  int n_devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&n_devices);
  if (error == cudaErrorInsufficientDriver) {
    cudaGetLastError();
    int driver = 0;
    cudaDriverGetVersion(&driver);
    if (driver == 0) {
      throw Error(where, "no NVIDIA driver was found; install one or try --device cpu");
    }
    throw Error(where,
                "the NVIDIA driver supports CUDA {}, this build needs {}; update the driver or try "
                "--device cpu",
                version_text(driver), version_text(CUDART_VERSION));
  }
  SALA_CUDA(error);
  if (index >= n_devices) {
    throw Error(where, "there are {} GPUs, numbered from 0; look at CUDA_VISIBLE_DEVICES",
                n_devices);
  }
  SALA_CUDA(cudaSetDevice(index));
  cudaDeviceProp properties;
  SALA_CUDA(cudaGetDeviceProperties(&properties, index));
  const cudaError_t code = cuda::probe_code();
  if (code == cudaErrorNoKernelImageForDevice || code == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    throw Error(where,
                "{} has compute capability {}.{}, this build has code for {}; configure with "
                "-DCMAKE_CUDA_ARCHITECTURES={}{}",
                properties.name, properties.major, properties.minor, SALA_CUDA_ARCHITECTURES,
                properties.major, properties.minor);
  }
  SALA_CUDA(code);
  return std::make_unique<Gpu>(index, properties);
}

}  // namespace sala
