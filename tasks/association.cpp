// Spreads the facts over the filler and asks for the name of one.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/association.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "tasks/chat_template.h"
#include "tasks/load_once.h"
#include "tasks/sampled_task.h"

namespace sala {
namespace {

constexpr std::int64_t kTokensToGenerate = 32;
constexpr std::size_t kPeople = 4;
constexpr std::string_view kAnswerPrefix = "\nAnswer:";

struct Fact {
  std::string needle;
  std::string question;
  std::string direct;
};

struct Associations {
  std::vector<std::string> names;
  std::vector<Fact> facts;
};

Associations read_associations(const std::filesystem::path& path) {
  try {
    const auto root = nlohmann::json::parse(read_text_file(path));
    Associations read{root.at("names").get<std::vector<std::string>>(), {}};
    for (const auto& fact : root.at("facts")) {
      read.facts.push_back({fact.at("needle"), fact.at("question"), fact.at("direct")});
    }
    if (read.names.size() >= kPeople && read.facts.size() >= kPeople) return read;
  } catch (const nlohmann::json::exception& error) {
    throw Error(path.string(), "is damaged: {}", error.what());
  }
  throw Error(path.string(), "has fewer than {} names or facts", kPeople);
}

class Association final : public SampledTask {
 public:
  Association(const char* name, const char* summary, bool direct)
      : SampledTask({.name = name,
                     .summary = summary,
                     .source = "after NoLiMa, arXiv 2502.05167, with facts of its own",
                     .scorer = "nolima"},
                    kTokensToGenerate),
        direct_(direct) {}

 protected:
  Attempt try_make(const TaskOptions& options, std::int64_t i,
                   const Tokenizer& tokenizer) const override {
    const Associations& all = associations_.get(
        {}, [] { return read_associations(data_dir() / "text" / "associations.json"); });
    // Both questions get the same prompts up to the question.
    PythonRandom random = strict_random("association", options.length, options.seed, i);
    const std::vector<std::size_t> facts = random.sample(all.facts.size(), kPeople);
    const std::vector<std::size_t> names = random.sample(all.names.size(), kPeople);
    std::vector<std::pair<double, std::size_t>> places;  // depth and person
    places.reserve(kPeople);
    for (std::size_t person = 0; person < kPeople; ++person) {
      places.emplace_back(random.random(), person);
    }
    std::sort(places.begin(), places.end());
    const std::uint64_t haystack_seed = random.getrandbits(64);

    const std::string& name = all.names[names[0]];
    const Fact& asked = all.facts[facts[0]];
    Units units(texts().haystack(options.data, haystack_seed), tokenizer);
    const auto build = [&](std::int64_t n) {
      units.tokens_of(n);  // draws the units
      Draft draft{"Read the text. One sentence in it answers the question that follows.\n\n", {}};
      std::int64_t next = 0;
      std::string separator;
      const auto add = [&](std::string_view sentence) {
        draft.text += separator;
        draft.text += sentence;
        separator = units.separator();
      };
      for (const auto& [depth, person] : places) {
        const auto before = static_cast<std::int64_t>(depth * static_cast<double>(n + 1));
        for (; next < before; ++next) add(units[next]);
        const std::string sentence =
            fill(all.facts[facts[person]].needle, {{"name", all.names[names[person]]}});
        add(sentence);
        if (person == 0) {
          draft.needles = {{draft.text.size() - sentence.size(), draft.text.size()}};
        }
      }
      for (; next < n; ++next) add(units[next]);
      draft.text += fmt::format("\n\nQuestion: {} Give the name alone.{}",
                                direct_ ? asked.direct : asked.question, kAnswerPrefix);
      return draft;
    };
    Sample sample;
    sample.references = {name};
    sample.answer_prefix = kAnswerPrefix;
    sample.cluster = cluster_name(haystack_seed);
    Fit fitted = fit_text(options, tokenizer, kAnswerPrefix, 1, units, build);
    return finish(options, tokenizer, std::move(fitted), std::move(sample));
  }

 private:
  bool direct_;
  LoadOnce<Associations> associations_;
};

}  // namespace

std::unique_ptr<Task> make_association(const char* name, const char* summary) {
  return std::make_unique<Association>(name, summary, false);
}

std::unique_ptr<Task> make_association_direct(const char* name, const char* summary) {
  return std::make_unique<Association>(name, summary, true);
}

}  // namespace sala
