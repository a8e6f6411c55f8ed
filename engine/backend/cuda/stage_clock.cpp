// One event at each end of a stage. Stages end in destructors, so a failure shows in take().
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/stage_clock.h"

#include <nvtx3/nvToolsExt.h>

#include <utility>

#include "engine/backend/cuda/cuda_error.h"

namespace sala {

CudaStageClock::~CudaStageClock() {
  for (cudaEvent_t event : events_) cudaEventDestroy(event);
}

void CudaStageClock::begin(const char* stage) {
  nvtxRangePushA(stage);
  mark();
}

void CudaStageClock::end() {
  mark();
  nvtxRangePop();
}

void CudaStageClock::mark() {
  if (n_marks_ == events_.size()) {
    cudaEvent_t event = nullptr;
    cudaEventCreate(&event);
    events_.push_back(event);
  }
  cudaEventRecord(events_[n_marks_++], stream_);
}

std::vector<std::int64_t> CudaStageClock::take() {
  std::vector<std::int64_t> times;
  const std::size_t n_marks = std::exchange(n_marks_, 0);
  if (n_marks == 0) return times;
  SALA_CUDA(cudaEventSynchronize(events_[n_marks - 1]));
  for (std::size_t i = 0; i + 1 < n_marks; i += 2) {
    float ms = 0;
    SALA_CUDA(cudaEventElapsedTime(&ms, events_[i], events_[i + 1]));
    times.push_back(static_cast<std::int64_t>(static_cast<double>(ms) * 1e6));
  }
  return times;
}

}  // namespace sala
