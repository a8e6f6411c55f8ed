// Times stages by events on a stream, and names them for the profiler.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "engine/backend/cuda/nvtx_ranges.h"
#include "engine/base/trace.h"

namespace sala {

class CudaStageClock final : public StageClock {
 public:
  explicit CudaStageClock(cudaStream_t stream) : stream_(stream) {}
  ~CudaStageClock() override;

  std::size_t label(const std::string& name, RangeKind kind) override {
    return ranges_.label(name, kind);
  }
  void begin(std::size_t label, int layer) override;
  void end() override;
  void open(std::size_t label, std::int64_t payload) override { ranges_.push(label, payload); }
  void close() override { ranges_.pop(); }
  /// The axis of the intervals begins with the first stage.
  std::vector<StageInterval> take() override;

 private:
  void mark();

  cudaStream_t stream_;
  NvtxRanges ranges_;
  std::vector<cudaEvent_t> events_;  // kept for the next stages: making them is slow
  // The last one known, then begin, end, begin, end, ...
  std::size_t n_marks_ = 0;
  std::int64_t known_ns_ = 0;  // time of the last one known
};

}  // namespace sala
