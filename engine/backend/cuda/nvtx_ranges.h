// Named ranges for a profiler that listens: NVTX domain "sala".
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nvtx3/nvToolsExt.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/base/trace.h"

namespace sala {

/// Nested ranges of the calling thread. Does nothing where no tool has been injected into the
/// process before its first use of NVTX.
class NvtxRanges {
 public:
  NvtxRanges();
  ~NvtxRanges();
  NvtxRanges(const NvtxRanges&) = delete;
  NvtxRanges& operator=(const NvtxRanges&) = delete;

  /// Registers a name when it comes first; the same number for equal names.
  std::size_t label(const std::string& name, RangeKind kind);
  /// payload: a layer or a number of tokens; negative for none.
  void push(std::size_t label, std::int64_t payload);
  void pop();

 private:
  struct Label {
    nvtxStringHandle_t name;
    RangeKind kind;
  };

  nvtxDomainHandle_t domain_;  // null: nobody listens
  std::map<std::string, std::size_t> numbers_;
  std::vector<Label> labels_;
};

}  // namespace sala
