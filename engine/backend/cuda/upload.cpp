// Pieces of the matrices are handed out one by one to threads with two staging buffers each.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/upload.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/backend/cuda/cuda_error.h"
#include "engine/base/bf16.h"
#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/tensor/convert.h"

namespace sala::cuda {
namespace {

constexpr std::int64_t kPiece = 1 << 20;  // elements: 2 MiB in bf16
constexpr std::size_t kMostThreads = 16;
constexpr std::size_t kBuffers = 2;  // of a thread: one is filled while the other is sent
constexpr std::size_t kHugePage = 1 << 21;

/// Elements [first, first + count) of a transfer.
struct Piece {
  const Transfer* transfer;
  std::int64_t first;
  std::int64_t count;
};

std::vector<Piece> cut(std::span<const Transfer> transfers) {
  std::vector<Piece> pieces;
  for (const Transfer& transfer : transfers) {
    const std::int64_t size = transfer.host.size();
    SALA_CHECK(transfer.device.dtype == DType::bf16, "the GPU computes in bf16");
    SALA_CHECK(size == transfer.device.size(), "both sides of a transfer have one shape");
    for (std::int64_t first = 0; first < size; first += kPiece) {
      pieces.push_back({&transfer, first, std::min(kPiece, size - first)});
    }
  }
  return pieces;
}

/// Pinned memory for the buffers of all threads. Pinning goes page by page and threads wait for
/// each other in it: done by each, in small pages, it takes a third of an upload of 8 GB.
class PinnedPool {
 public:
  explicit PinnedPool(std::size_t n_elements) {
    const std::size_t bytes = n_elements * sizeof(std::uint16_t);
    const std::size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    data_.reset(static_cast<std::uint16_t*>(std::aligned_alloc(kHugePage, rounded)));
    ::madvise(data_.get(), rounded, MADV_HUGEPAGE);
    SALA_CUDA(cudaHostRegister(data_.get(), rounded, cudaHostRegisterDefault));
  }
  ~PinnedPool() { cudaHostUnregister(data_.get()); }
  PinnedPool(const PinnedPool&) = delete;
  PinnedPool& operator=(const PinnedPool&) = delete;
  std::uint16_t* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(void* data) const { std::free(data); }
  };
  std::unique_ptr<std::uint16_t, Free> data_;
};

/// A buffer of pinned memory and the event that says when its transfer is over.
class Staging {
 public:
  explicit Staging(std::uint16_t* data) : data_(data) {
    SALA_CUDA(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming));
  }
  ~Staging() { cudaEventDestroy(done_); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void send(const Piece& piece, std::vector<float>& wide, cudaStream_t stream) {
    SALA_CUDA(cudaEventSynchronize(done_));  // an event that was never recorded is over
    fill(piece, wide);
    auto* to = static_cast<std::uint16_t*>(piece.transfer->device.data) + piece.first;
    SALA_CUDA(cudaMemcpyAsync(to, data_,
                              static_cast<std::size_t>(piece.count) * sizeof(std::uint16_t),
                              cudaMemcpyHostToDevice, stream));
    SALA_CUDA(cudaEventRecord(done_, stream));
  }

 private:
  void fill(const Piece& piece, std::vector<float>& wide) {
    const TensorView& host = piece.transfer->host;
    const std::int64_t item = dtype_bytes(host.dtype);
    const std::byte* from = static_cast<const std::byte*>(host.data) + piece.first * item;
    const std::span bytes(from, static_cast<std::size_t>(piece.count * item));
    MappedFile::prefetch(bytes);
    if (host.dtype == DType::bf16) {
      std::memcpy(data_, bytes.data(), bytes.size());
      return;
    }
    wide.resize(static_cast<std::size_t>(piece.count));
    widen(host, piece.first, piece.count, wide.data());
    std::transform(wide.begin(), wide.end(), data_, f32_to_bf16);
  }

  std::uint16_t* data_;
  cudaEvent_t done_ = nullptr;
};

struct Stream {
  Stream() { SALA_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
  ~Stream() {
    cudaStreamSynchronize(stream);  // after an error it may still read the buffers
    cudaStreamDestroy(stream);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t stream = nullptr;
};

/// Sends pieces until there are none left. pinned: kBuffers buffers, each for the longest piece.
void send_pieces(int device, std::span<const Piece> pieces, std::atomic<std::size_t>& next,
                 std::uint16_t* pinned, std::size_t longest) {
  SALA_CUDA(cudaSetDevice(device));
  std::array<Staging, kBuffers> staging{Staging(pinned), Staging(pinned + longest)};
  const Stream stream;
  std::vector<float> wide;
  for (std::size_t turn = 0;; ++turn) {
    const std::size_t i = next++;
    if (i >= pieces.size()) break;
    staging[turn % staging.size()].send(pieces[i], wide, stream.stream);
  }
  SALA_CUDA(cudaStreamSynchronize(stream.stream));
}

}  // namespace

void upload(std::span<const Transfer> transfers) {
  const std::vector<Piece> pieces = cut(transfers);
  if (pieces.empty()) return;
  int device = 0;
  SALA_CUDA(cudaGetDevice(&device));

  const auto longest = static_cast<std::size_t>(
      std::max_element(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
        return a.count < b.count;
      })->count);
  const std::size_t cores = std::max(std::thread::hardware_concurrency(), 1U);
  const std::size_t n_threads = std::min({kMostThreads, cores, pieces.size()});
  const PinnedPool pool(n_threads * kBuffers * longest);
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failing;
  const auto work = [&](std::size_t thread) {
    try {
      send_pieces(device, pieces, next, pool.data() + thread * kBuffers * longest, longest);
    } catch (...) {
      next = pieces.size();  // the others need not go on
      const std::lock_guard lock(failing);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < n_threads; ++i) helpers.emplace_back(work, i);
    work(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace sala::cuda
