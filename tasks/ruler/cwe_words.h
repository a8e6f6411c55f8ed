// Where the words of the common words task come from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "harness/task.h"
#include "tasks/load_once.h"
#include "tasks/prose.h"
#include "tasks/python_random.h"

namespace sala {

/// The words of one sample. No word but the common ones themselves has one of them inside it.
struct CweWords {
  std::vector<std::string> example;
  std::vector<std::string> list;  // the common words first
};

/// The user's lists or the built-in words, read once. May be shared between threads.
class CweSupply {
 public:
  /// Upstream's lists. Throw Error when the files are missing.
  const std::vector<std::string>& words(const std::vector<std::string>& data) const;
  const std::vector<std::string>& more_words(const std::vector<std::string>& data) const;

  /// Different words for a strict prompt, somewhat more than fit into it.
  CweWords draw(const TaskOptions& options, const Tokenizer& tokenizer, const Prose& prose,
                PythonRandom& random) const;
  std::vector<TaskSource> sources(const TaskOptions& options) const;

 private:
  const std::vector<std::string>& built_in(const Prose& prose) const;
  const std::vector<std::string>& pairs(const Prose& prose) const;

  LoadOnce<std::vector<std::string>> words_;
  LoadOnce<std::vector<std::string>> more_words_;
  LoadOnce<std::vector<std::string>> built_in_;
  LoadOnce<std::vector<std::string>> pairs_;
};

}  // namespace sala
