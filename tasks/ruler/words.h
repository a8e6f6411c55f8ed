// RULER's word lists: the user's wonderwords or the built-in ones.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "harness/task.h"

namespace sala {

/// Sorts by code point and drops repetitions.
void sort_unique(std::vector<std::string>& words);

/// The lines of a word list, trailing white space dropped. Throws Error when the file is missing,
/// empty or not UTF-8.
std::vector<std::string> read_words(const std::vector<std::string>& data, std::string_view name);

/// What keys are made of.
struct KeyLists {
  std::vector<std::string> adjectives;
  std::vector<std::string> nouns;
};

/// Nouns and adjectives of the data folders' wonderwords, sorted and without repetition.
KeyLists wonder_key_lists(const std::vector<std::string>& data);

/// Every "adjective-noun", sorted by code point, without holding them all.
class KeyWords {
 public:
  /// Sorted lists without repetition.
  explicit KeyWords(KeyLists lists);

  std::size_t size() const { return lists_.adjectives.size() * lists_.nouns.size(); }
  std::string operator[](std::size_t i) const;

 private:
  /// Consecutive keys: of one adjective, or of those whose keys fall among each other's.
  struct Block {
    std::size_t begin;                // number of keys before
    std::string adjective;            // of all keys, unless they are listed
    std::vector<std::string> listed;  // keys
  };

  KeyLists lists_;
  std::vector<Block> blocks_;
};

/// Nouns, adjectives and verbs of the data folders' wonderwords as one sorted set.
std::vector<std::string> wonder_words(const std::vector<std::string>& data);

/// The values of english_words.json in the file's order.
std::vector<std::string> english_words(const std::vector<std::string>& data);

bool has_wonder_words(const std::vector<std::string>& data);

/// The three word lists as sources, or in strict mode the built-in words where they are missing.
std::vector<TaskSource> word_sources(const TaskOptions& options);

}  // namespace sala
