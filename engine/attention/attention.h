// The token mixers of a model: what a kind of attention must offer, and the table of kinds.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/workspace.h"
#include "engine/base/memory_ledger.h"
#include "engine/base/trace.h"
#include "engine/tensor/weight_source.h"

namespace sala {

struct SelectionProbe;

/// What a layer really ran, counted where the work is launched.
struct RouteEntry {
  int layer = 0;
  std::string phase;   // prefill, decode
  std::string path;    // dense, sparse, linear
  std::string kernel;  // name of the routine
  std::int64_t n_calls = 0;
  std::int64_t blocks_read = 0;     // key blocks read, over all rows and KV heads; 0 for linear
  std::int64_t blocks_visible = 0;  // key blocks that a dense layer would have read
};

/// Adds up the routes of one request.
class RouteLog {
 public:
  void add(int layer, const char* phase, const char* path, const char* kernel,
           std::int64_t blocks_read, std::int64_t blocks_visible);
  void clear() { entries_.clear(); }
  const std::vector<RouteEntry>& entries() const { return entries_; }

 private:
  std::vector<RouteEntry> entries_;
};

/// What a layer needs to run; one per running sequence.
struct ExecutionContext {
  Backend& backend;
  Workspace& scratch;
  Trace& trace;
  RouteLog& route;
  int layer = 0;
  /// Tokens in context when this request's prefill ends (P of the dense rule). Known before its
  /// first chunk, so that no result depends on how the prompt is cut.
  std::int64_t prefill_end = 0;
  SelectionProbe* selection = nullptr;  // takes samples of how blocks were chosen; null: none
};

/// What a layer remembers of one sequence.
class LayerState {
 public:
  virtual ~LayerState() = default;
  virtual std::int64_t length() const = 0;  // tokens seen
  virtual void clear() = 0;
  virtual std::unique_ptr<LayerState> clone() const = 0;
};

/// One token mixer with its projections; constant after load. It names and checks its own weights.
class AttentionLayer {
 public:
  virtual ~AttentionLayer() = default;
  /// Memory for one sequence of up to max_tokens, by ledger category.
  virtual std::vector<CategoryBytes> state_bytes(std::int64_t max_tokens) const = 0;
  virtual std::unique_ptr<LayerState> new_state(std::int64_t max_tokens) const = 0;
  /// Scratch that forward() takes at most, in bytes.
  virtual std::int64_t scratch_bytes(std::int64_t max_chunk, std::int64_t max_tokens) const = 0;
  /// Mixes the next x.rows tokens with the past held in `state`, then extends it: adds scale times
  /// the mixed rows to `out`, the residual stream. x, out: (n_tokens, hidden), never the same
  /// memory. On a device that records (see Backend::record) a call of one row behind the prompt may
  /// depend on neither its position, which it reads from the device, nor prefill_end: the recorded
  /// work serves every later position of every request.
  virtual void forward(TensorView x, LayerState& state, float scale, TensorView out,
                       ExecutionContext& context) const = 0;
  /// Accounts for one token whose work ran without forward(), by replaying a recorded call: extends
  /// `state` and logs the route as forward() does. Only for devices that record.
  virtual void replayed(LayerState& state, ExecutionContext& context) const;
};

/// One layer of a model's pattern: the kind's name, its own options, and where its weights are.
struct LayerSpec {
  std::string kind;        // row of the table below
  nlohmann::json options;  // read and range-checked by the kind's *_config.h
  std::string prefix;      // of weight names, e.g. "model.layers.3.self_attn."
  std::int64_t hidden = 0;
};

/// Makes a layer of spec.kind for the backend's device. Throws Error when the kind is unknown or
/// has no implementation for the device.
std::unique_ptr<AttentionLayer> make_attention(const LayerSpec& spec, WeightSource& weights,
                                               Backend& backend);
std::vector<std::string_view> attention_kinds();

}  // namespace sala
