// The table of tasks.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include <fmt/ranges.h>

#include "engine/base/error.h"
#include "harness/task.h"
#include "tasks/association.h"
#include "tasks/niah.h"
#include "tasks/passkey.h"
#include "tasks/perplexity.h"
#include "tasks/ruler/tasks.h"
#include "tasks/suites/suites.h"
#include "tasks/turns.h"

namespace sala {
namespace {

constexpr auto kNoise = NiahFiller::noise;
constexpr auto kProse = NiahFiller::prose;
constexpr auto kNeedles = NiahFiller::needles;
constexpr auto kWords = NiahWord::words;
constexpr auto kNumbers = NiahWord::numbers;
constexpr auto kUuids = NiahWord::uuids;

using Made = std::unique_ptr<Task>;

/// A member of the needle family: filler, keys, values, then how many keys, values and questions.
template <NiahFiller kFiller, NiahWord kKey, NiahWord kValue, int kK, int kV, int kQ,
          NiahDepth kDepth = NiahDepth::random>
Made niah(const char* name, const char* summary) {
  return make_niah({name, summary, kFiller, kKey, kValue, kK, kV, kQ, kDepth});
}

struct Entry {
  const char* name;
  const char* summary;
  Made (*make)(const char* name, const char* summary);
};

// Sorted by name.
constexpr Entry kTasks[] = {
    {"association", "a person by a fact that shares no word with the question", make_association},
    {"association_direct", "the same, asked in the fact's own words", make_association_direct},
    {"cwe", "the ten most common words of a list", make_cwe},
    {"fwe", "the three most frequent coded words", make_fwe},
    {"needle_grid", "one number in prose at depth 0, 10, ... 100 %",
     niah<kProse, kWords, kNumbers, 1, 1, 1, NiahDepth::grid>},
    {"niah_multikey_1", "one of four numbers in prose", niah<kProse, kWords, kNumbers, 4, 1, 1>},
    {"niah_multikey_2", "one number among needles", niah<kNeedles, kWords, kNumbers, 1, 1, 1>},
    {"niah_multikey_3", "one UUID among UUIDs", niah<kNeedles, kUuids, kUuids, 1, 1, 1>},
    {"niah_multiquery", "four numbers of four keys", niah<kProse, kWords, kNumbers, 4, 1, 4>},
    {"niah_multivalue", "four numbers of one key", niah<kProse, kWords, kNumbers, 1, 4, 1>},
    {"niah_single_1", "one number in noise", niah<kNoise, kWords, kNumbers, 1, 1, 1>},
    {"niah_single_2", "one number in prose", niah<kProse, kWords, kNumbers, 1, 1, 1>},
    {"niah_single_3", "one UUID in prose", niah<kProse, kWords, kUuids, 1, 1, 1>},
    {"passkey", "a short number in noise, at any depth", make_passkey},
    {"perplexity", "likelihood of plain text by position", make_perplexity},
    {"qa_1", "a question about one of many paragraphs", make_qa_squad},
    {"qa_2", "a question about two of many paragraphs", make_qa_hotpotqa},
    {"turns_2", "one of two equal requests of a conversation, word for word", make_turns_2},
    {"turns_4", "one of four equal requests", make_turns_4},
    {"turns_8", "one of eight equal requests", make_turns_8},
    {"vt", "five variables that share a value, in noise", make_vt},
};

// Suites over official files; their members are in tables of their own.
constexpr TaskFamily (*kFamilies[])() = {babilong_family, infinitebench_family, longbench_family,
                                         mrcr_family,     niah_grid_family,     nolima_family,
                                         passkey_family};

}  // namespace

std::unique_ptr<Task> make_task(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTasks), std::end(kTasks),
                                   [&](const Entry& entry) { return entry.name == name; });
  if (found != std::end(kTasks)) return found->make(found->name, found->summary);
  for (const auto family : kFamilies) {
    if (auto task = family().make(name)) return task;
  }
  throw Error("tasks", "unknown task '{}'; the tasks are {}", name, fmt::join(task_names(), ", "));
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kTasks) names.emplace_back(entry.name);
  for (const auto family : kFamilies) {
    for (std::string& name : family().names()) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sala
