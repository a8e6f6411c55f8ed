// Where the filler text of a prompt comes from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/prose.h"

namespace sala {

/// The line that RULER and the passkey task repeat.
inline constexpr std::string_view kNoiseLine =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

/// An endless list of units for one sample, joined by the separator.
struct Haystack {
  std::string separator;
  std::function<std::string()> next;
};

Haystack noise_haystack();
Haystack prose_haystack(const Prose& prose, std::uint64_t seed);
/// Sentences in order, from one that the seed picks, over and over; they must outlive the haystack.
Haystack text_haystack(const std::vector<std::string>& sentences, std::uint64_t seed);

/// Breaks after . ? ! and what closes behind them, where white space and then a capital, a digit or
/// an opening quote follow; all white space becomes single spaces. Text must be valid UTF-8.
std::vector<std::string> split_sentences(std::string_view text);

/// Sentences of a text file, of a JSON file {"text": ...}, or of a folder: its essay.json, else its
/// .txt files by name. Throws Error naming the file, and the byte offset where it is not UTF-8.
std::vector<std::string> read_sentences(const std::string& path);

/// Texts that a task reads once and keeps; may be shared between threads.
class Texts {
 public:
  /// The built-in prose, data/text/prose.json.
  const Prose& prose() const;
  /// The haystack of a sample: prose when `data` is empty, else the user's text.
  Haystack haystack(const std::string& data, std::uint64_t seed) const;

 private:
  mutable std::mutex mutex_;
  mutable std::unique_ptr<const Prose> prose_;
  mutable std::vector<std::pair<std::string, std::unique_ptr<const std::vector<std::string>>>>
      sentences_;
};

}  // namespace sala
