// What RULER's tasks share: strict samples, and official ones from a stream.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "tasks/ruler/official.h"
#include "tasks/ruler/strings.h"
#include "tasks/sampled_task.h"

namespace sala {

/// Source line of RULER's tasks.
inline constexpr const char* kRulerSource = "NVIDIA/RULER, arXiv 2404.06654, commit c3f5e3b";

class RulerTask : public SampledTask {
 public:
  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override;

 protected:
  RulerTask(TaskInfo info, std::int64_t tokens_to_generate, const RulerStrings& strings)
      : SampledTask(std::move(info), tokens_to_generate), strings_(strings) {}

  /// The generator of a cell, whose frame may be rewritten before it is used.
  virtual std::unique_ptr<OfficialGenerator> official(OfficialCell cell,
                                                      const TaskOptions& options) const = 0;
  const RulerStrings& strings() const { return strings_; }

 private:
  OfficialStream& stream(const TaskOptions& options, const Tokenizer& tokenizer) const;

  RulerStrings strings_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::unique_ptr<OfficialStream>> streams_;
};

}  // namespace sala
