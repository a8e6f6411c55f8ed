// Adds up calls of one routine in one layer and phase.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/attention.h"
#include "engine/base/error.h"

namespace sala {

void AttentionLayer::replayed(LayerState&, ExecutionContext&) const {
  SALA_CHECK(false, "only layers of a device that records are replayed");
}

void RouteLog::add(int layer, const char* phase, const char* path, const char* kernel,
                   std::int64_t blocks_read, std::int64_t blocks_visible) {
  for (RouteEntry& entry : entries_) {
    if (entry.layer == layer && entry.phase == phase && entry.path == path &&
        entry.kernel == kernel) {
      entry.n_calls += 1;
      entry.blocks_read += blocks_read;
      entry.blocks_visible += blocks_visible;
      return;
    }
  }
  entries_.push_back({layer, phase, path, kernel, 1, blocks_read, blocks_visible});
}

}  // namespace sala
