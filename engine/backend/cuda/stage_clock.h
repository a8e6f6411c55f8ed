// Times stages by events on a stream, and names them for the profiler.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "engine/base/trace.h"

namespace sala {

class CudaStageClock final : public StageClock {
 public:
  explicit CudaStageClock(cudaStream_t stream) : stream_(stream) {}
  ~CudaStageClock() override;

  void begin(const char* stage) override;
  void end() override;
  std::vector<std::int64_t> take() override;

 private:
  void mark();

  cudaStream_t stream_;
  std::vector<cudaEvent_t> events_;  // kept for the next stages: making them is slow
  std::size_t n_marks_ = 0;          // begin, end, begin, end, ...
};

}  // namespace sala
