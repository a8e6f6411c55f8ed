// The needle grid that everybody knows: a sandwich in Dolores Park, by length and depth.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <set>
#include <span>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "tasks/chat_template.h"
#include "tasks/data_files.h"
#include "tasks/suites/depths.h"
#include "tasks/suites/suite_task.h"
#include "tasks/suites/suites.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kTokensToGenerate = 300;
constexpr std::int64_t kBuffer = 200;  // tokens of the length kept free for question and answer
constexpr std::size_t kDepths = 35;

constexpr std::string_view kNeedle =
    "\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny "
    "day.\n";
constexpr std::string_view kTemplate =
    "You are a helpful AI bot that answers questions for a user. Keep your response short and "
    "direct\n\nHuman: <context>\n{context}\n</context>\n\nWhat is the best thing to do in San "
    "Francisco? Don't give information outside the document or repeat your findings\n\nAssistant: "
    "Here is the most relevant sentence in the context:";

class NiahGrid final : public SuiteTask {
 public:
  NiahGrid(const char* name, const char* summary, std::vector<double> depths)
      : SuiteTask({.name = name,
                   .summary = summary,
                   .source = "gkamradt/LLMTest_NeedleInAHaystack, commit 7b90d28",
                   .scorer = "niah_keyword",
                   .nominal_length = true,
                   .needs_data = "gkamradt/LLMTest_NeedleInAHaystack, or any essays (niah/*.txt)"}),
        depths_(std::move(depths)) {}

  std::int64_t count(const TaskOptions& /*options*/,
                     const Tokenizer& /*tokenizer*/) const override {
    return static_cast<std::int64_t>(depths_.size());
  }

  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override {
    check_index(i, static_cast<std::int64_t>(depths_.size()));
    const double depth = depths_[static_cast<std::size_t>(i)];
    const std::string context = place_needle(options, depth, tokenizer);
    const std::string text = fill(kTemplate, {{"context", context}});
    Sample sample;
    sample.index = i;
    sample.max_new_tokens = kTokensToGenerate;
    sample.references = {"eat a sandwich", "dolores park"};
    sample.answer_prefix = answer_prefix_of(kTemplate);
    sample.cluster = row_cluster(info().name, options.length, i);
    const std::size_t at = text.find(strip(kNeedle));
    return complete(options, tokenizer, {text, {{at, at + strip(kNeedle).size()}}},
                    std::move(sample), TooLong::allow);
  }

 protected:
  std::vector<std::string> files(const TaskOptions& options) const override {
    const fs::path folder = path(options, "niah");
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".txt") continue;
      names.push_back(fmt::format("niah/{}", entry.path().filename().string()));
    }
    std::sort(names.begin(), names.end());
    if (names.empty()) throw Error(folder.string(), "holds no .txt file");
    return names;
  }

 private:
  /// Tokens of all essays, repeated until there are enough.
  std::vector<TokenId> haystack(const TaskOptions& options, const Tokenizer& tokenizer) const {
    const std::vector<std::string> names = files(options);
    const std::string& essays = essays_.get({path(options, names[0]).string()}, [&] {
      std::string text;
      for (const std::string& name : names) text += read_utf8(path(options, name));
      return text;
    });
    const auto wanted = static_cast<std::size_t>(options.length);
    const std::int64_t n_once = tokenizer.count(essays);
    if (n_once == 0) throw Error(info().name, "the essays are empty");
    std::string text;
    for (std::int64_t n = n_once; n < options.length; n += n_once) text += essays;
    std::vector<TokenId> ids;
    while (ids.size() < wanted) {
      text += essays;
      ids = tokenizer.encode(text).ids;
    }
    ids.resize(wanted);
    return tokenizer.encode(repaired_utf8(tokenizer.decode(ids))).ids;
  }

  std::string place_needle(const TaskOptions& options, double depth,
                           const Tokenizer& tokenizer) const {
    const std::vector<TokenId> needle = tokenizer.encode(kNeedle).ids;
    const std::vector<TokenId> stop = tokenizer.encode(".").ids;
    const std::set<TokenId> stops(stop.begin(), stop.end());
    std::vector<TokenId> ids = haystack(options, tokenizer);
    const std::int64_t limit = options.length - kBuffer;
    const auto room = limit - static_cast<std::int64_t>(needle.size());
    if (room < 1) {
      throw Error(info().name, "length {} is too short; the smallest length that works is {}",
                  options.length, kBuffer + static_cast<std::int64_t>(needle.size()) + 1);
    }
    if (static_cast<std::int64_t>(ids.size() + needle.size()) > limit) {
      ids.resize(static_cast<std::size_t>(room));
    }
    auto at = ids.size();
    if (depth != 100) {
      at = static_cast<std::size_t>(static_cast<double>(ids.size()) * (depth / 100));
      while (at > 0 && !stops.contains(ids[at - 1])) --at;
    }
    ids.insert(ids.begin() + static_cast<std::ptrdiff_t>(at), needle.begin(), needle.end());
    return repaired_utf8(tokenizer.decode(ids));
  }

  std::vector<double> depths_;
  LoadOnce<std::string> essays_;
};

std::vector<std::string> names() {
  return {"niah_grid", "niah_grid_sigmoid"};
}

std::unique_ptr<Task> make(std::string_view name) {
  if (name == "niah_grid") {
    return std::make_unique<NiahGrid>("niah_grid", "the sandwich in user's essays, 35 depths",
                                      linear_steps(0, 100, kDepths));
  }
  if (name == "niah_grid_sigmoid") {
    return std::make_unique<NiahGrid>("niah_grid_sigmoid", "the same, depths denser near both ends",
                                      sigmoid_depths(kDepths));
  }
  return nullptr;
}

}  // namespace

TaskFamily niah_grid_family() {
  return {names, make};
}

}  // namespace sala
