// Where the filler text of a prompt comes from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/task.h"
#include "tasks/load_once.h"
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

/// Sentences of the first of `data` that is a text file, a JSON file {"text": ...} or a folder with
/// essay.json; else of the .txt files, by name, of the first folder that has some. Throws Error
/// naming the file, and the byte offset where it is not UTF-8.
std::vector<std::string> read_sentences(const std::vector<std::string>& data);

/// What a haystack of prose is made of; a stand-in unless it is RULER's essay.json. Throws Error
/// when `data` has neither a text nor any file of RULER's.
TaskSource text_source(const std::vector<std::string>& data);

/// Texts that a task reads once and keeps; may be shared between threads.
class Texts {
 public:
  /// The built-in prose, data/text/prose.json.
  const Prose& prose() const;
  /// The haystack of a sample: the user's text, or built-in prose where text_source() says so.
  Haystack haystack(const std::vector<std::string>& data, std::uint64_t seed) const;

 private:
  LoadOnce<Prose> prose_;
  LoadOnce<std::vector<std::string>> sentences_;
};

}  // namespace sala
