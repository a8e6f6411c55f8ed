// The table of tasks.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include <fmt/ranges.h>

#include "engine/base/error.h"
#include "harness/task.h"
#include "tasks/niah.h"
#include "tasks/passkey.h"
#include "tasks/perplexity.h"

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
};

}  // namespace

std::unique_ptr<Task> make_task(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTasks), std::end(kTasks),
                                   [&](const Entry& entry) { return entry.name == name; });
  if (found == std::end(kTasks)) {
    throw Error("tasks", "unknown task '{}'; the tasks are {}", name,
                fmt::join(task_names(), ", "));
  }
  return found->make(found->name, found->summary);
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kTasks) names.emplace_back(entry.name);
  return names;
}

}  // namespace sala
