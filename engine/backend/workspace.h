// Scratch memory of one sequence: taken once, handed out and given back like a stack.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/backend/backend.h"
#include "engine/base/error.h"

namespace sala {

/// A bump allocator over one Buffer. forward() takes from it and allocates nothing else.
class Workspace {
 public:
  Workspace(Backend& backend, std::int64_t bytes)
      : buffer_(backend.allocate(bytes, "workspace")), dtype_(backend.compute_dtype()) {}

  /// Room for a matrix in the compute dtype until the enclosing Mark ends.
  TensorView take(std::int64_t rows, std::int64_t cols) {
    const TensorView view{take_bytes(rows * cols * dtype_bytes(dtype_)), dtype_, rows, cols};
    return view;
  }
  void* take_bytes(std::int64_t bytes) {
    const std::int64_t rounded = (bytes + 63) / 64 * 64;
    SALA_CHECK(used_ + rounded <= buffer_.bytes(), "scratch_bytes() promised enough scratch");
    void* data = static_cast<std::byte*>(buffer_.data()) + used_;
    used_ += rounded;
    return data;
  }

  /// Gives back everything taken since it was made.
  class Mark {
   public:
    explicit Mark(Workspace& workspace) : workspace_(workspace), used_(workspace.used_) {}
    ~Mark() { workspace_.used_ = used_; }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;

   private:
    Workspace& workspace_;
    std::int64_t used_;
  };

 private:
  Buffer buffer_;
  DType dtype_;
  std::int64_t used_ = 0;
};

}  // namespace sala
