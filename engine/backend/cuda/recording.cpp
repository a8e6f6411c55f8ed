// Capture, instantiation and replay of a CUDA graph.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/recording.h"

#include "engine/backend/cuda/cuda_error.h"

namespace sala {
namespace {

class GraphRecording final : public Recording {
 public:
  GraphRecording(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
    SALA_CUDA(cudaGraphInstantiate(&executable_, graph, 0));
  }
  ~GraphRecording() override { cudaGraphExecDestroy(executable_); }
  GraphRecording(const GraphRecording&) = delete;
  GraphRecording& operator=(const GraphRecording&) = delete;

  void run() override { SALA_CUDA(cudaGraphLaunch(executable_, stream_)); }

 private:
  cudaGraphExec_t executable_ = nullptr;
  cudaStream_t stream_;
};

/// Ends the capture it began, also when the work throws.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    // Calls that cannot be captured, such as cudaMalloc, fail while it lasts.
    SALA_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  ~Capture() {
    if (!has_ended_) cudaStreamEndCapture(stream_, &graph_);
    if (graph_ != nullptr) cudaGraphDestroy(graph_);
    if (!has_ended_) cudaGetLastError();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  cudaGraph_t end() {
    has_ended_ = true;
    SALA_CUDA(cudaStreamEndCapture(stream_, &graph_));
    return graph_;
  }

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_ = nullptr;
  bool has_ended_ = false;
};

}  // namespace

std::unique_ptr<Recording> record_graph(cudaStream_t stream, const std::function<void()>& work) {
  Capture capture(stream);
  work();
  return std::make_unique<GraphRecording>(capture.end(), stream);
}

}  // namespace sala
