// One request to an engine and everything that comes back: plain data.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/attention/attention.h"
#include "engine/attention/selection.h"

namespace sala {

struct Request {
  std::vector<TokenId> prompt;
  std::int64_t max_new_tokens = 0;
  bool prompt_logprobs = false;  // also return ln p(prompt[t] | prompt[0..t))
  /// Fed as the continuation whatever the model would choose, so that speed does not depend on what
  /// it says: exactly max_new_tokens ids, or empty for greedy decoding. EOS does not end it.
  std::vector<TokenId> forced;
  /// Tokens that memory is laid out for, when more than the request needs: what a short request
  /// prepares, such as a recorded step, then serves a longer one.
  std::int64_t room = 0;
  /// Measures the choices of block-sparse layers; slow, and its times are not to be kept.
  SelectionRequest selection{};
};

enum class Finish : std::uint8_t { eos, length };

/// Host clock, steady. ttft = submission to the first output id readable by the host.
struct Timing {
  std::int64_t ttft_ns = 0;
  std::int64_t prefill_ns = 0;
  std::int64_t total_ns = 0;         // submission to the last real token
  std::vector<std::int64_t> itl_ns;  // between outputs i and i + 1, up to the first EOS
  std::chrono::steady_clock::time_point start{};  // the submission
  /// Of every chunk of the prompt, from its first work given to its last done, where stages are
  /// timed; the tokens of a chunk are those of EngineInfo::chunk.
  std::vector<std::int64_t> chunk_ns{};
  double stage_overhead_ns = 0;  // what timing the stages took at most
};

struct Output {
  std::vector<TokenId> tokens;  // generated ids, without the EOS that ended them
  Finish finish = Finish::length;
  std::vector<float> prompt_logprobs;  // n_prompt - 1 values when asked for
  Timing timing;
  std::vector<StageTime> stages;
  Timeline timeline;  // where the engine keeps it
  std::vector<MemoryUse> memory;
  std::int64_t peak_bytes = 0;
  std::vector<RouteEntry> route;
  std::vector<SelectionSample> selection;  // by layer, position and KV head
};

}  // namespace sala
