// One event at each end of a stage. Stages end in destructors, so a failure shows in take().
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/stage_clock.h"

#include <utility>

#include "engine/backend/cuda/cuda_error.h"

namespace sala {

CudaStageClock::~CudaStageClock() {
  for (cudaEvent_t event : events_) cudaEventDestroy(event);
}

void CudaStageClock::begin(std::size_t label, int layer) {
  ranges_.push(label, layer);
  if (n_marks_ == 0) mark();
  mark();
}

void CudaStageClock::end() {
  mark();
  ranges_.pop();
}

void CudaStageClock::mark() {
  if (n_marks_ == events_.size()) {
    cudaEvent_t event = nullptr;
    cudaEventCreate(&event);
    events_.push_back(event);
  }
  cudaEventRecord(events_[n_marks_++], stream_);
}

std::vector<StageInterval> CudaStageClock::take() {
  std::vector<StageInterval> times;
  if (n_marks_ < 3) return times;
  const std::size_t n_marks = std::exchange(n_marks_, 1);
  SALA_CUDA(cudaEventSynchronize(events_[n_marks - 1]));
  const auto ns_to = [&](std::size_t i) {  // from the mark before
    float ms = 0;
    SALA_CUDA(cudaEventElapsedTime(&ms, events_[i - 1], events_[i]));
    return static_cast<std::int64_t>(static_cast<double>(ms) * 1e6);
  };
  for (std::size_t i = 1; i + 1 < n_marks; i += 2) {
    known_ns_ += ns_to(i);
    times.push_back({known_ns_, ns_to(i + 1)});
    known_ns_ += times.back().ns;
  }
  std::swap(events_[0], events_[n_marks - 1]);
  return times;
}

}  // namespace sala
