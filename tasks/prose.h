// The built-in haystack: made-up sentences from word lists.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tasks/python_random.h"

namespace sala {

/// Sentence templates with slots, and the word lists that fill them. Constant after load.
class Prose {
 public:
  /// Reads {"lists": {name: [words]}, "sentences": ["the {noun} ..."]}. Throws Error naming the
  /// file and the list or sentence that is wrong.
  explicit Prose(const std::filesystem::path& path);

  /// A template chosen uniformly, each slot a uniform choice, the first letter in upper case.
  std::string sentence(PythonRandom& random) const;

  /// The words of a list. Throws Error when the file has no such list.
  const std::vector<std::string>& words(std::string_view list) const;

 private:
  using Part = std::variant<std::string, std::size_t>;  // text, or the list that fills the slot
  std::vector<Part> parse(const std::string& sentence) const;

  std::string where_;
  std::vector<std::string> names_;
  std::vector<std::vector<std::string>> lists_;
  std::vector<std::vector<Part>> sentences_;
};

}  // namespace sala
