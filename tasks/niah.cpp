// Draws needles, hides them in the filler and asks for them.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/niah.h"

#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "tasks/chat_template.h"
#include "tasks/data_files.h"
#include "tasks/load_once.h"
#include "tasks/ruler/generators.h"
#include "tasks/ruler/ruler_task.h"
#include "tasks/ruler/words.h"

namespace sala {
namespace {

constexpr std::int64_t kTokensToGenerate = 128;

struct Needle {
  int key;    // index of its key
  int value;  // index among the values of that key
  std::string text;
};

struct Draws {
  std::vector<std::string> keys;
  std::vector<std::vector<std::string>> values;  // (keys, v)
  std::vector<Needle> needles;                   // in the order they appear in the text
  std::vector<double> depths;                    // ascending, in [0, 1], one per needle
  std::vector<std::size_t> asked;                // indices of keys, in the order asked
  std::uint64_t haystack_seed = 0;
};

std::string needle_text(NiahWord kind, std::string_view key, std::string_view value) {
  return fmt::format("One of the special magic {} for {} is: {}.",
                     kind == NiahWord::uuids ? "uuids" : "numbers", key, value);
}

class Niah : public RulerTask {
 public:
  explicit Niah(const NiahSpec& spec)
      : RulerTask({spec.name, 1, spec.summary, kRulerSource, "ruler_all"}, kTokensToGenerate,
                  kNiahStrings),
        spec_(spec) {}

  std::vector<TaskSource> sources(const TaskOptions& options) const override;

 protected:
  Attempt try_make(const TaskOptions& options, std::int64_t i,
                   const Tokenizer& tokenizer) const override;
  std::unique_ptr<OfficialGenerator> official(OfficialCell cell,
                                              const TaskOptions& options) const override;

 private:
  const KeyLists& key_lists(const TaskOptions& options) const;
  std::string draw_word(NiahWord kind, const KeyLists& lists, PythonRandom& random) const;
  std::string draw_new(NiahWord kind, const KeyLists& lists, PythonRandom& random,
                       std::set<std::string>& taken) const;
  Draws draw(const KeyLists& lists, PythonRandom& random, std::int64_t i) const;
  Haystack haystack(const TaskOptions& options, const Draws& draws) const;
  std::vector<std::int64_t> cuts(const Draws& draws, std::int64_t n, std::int64_t max_tokens,
                                 std::int64_t head_tokens, Units& units) const;

  NiahSpec spec_;
  LoadOnce<KeyLists> key_lists_;
  LoadOnce<KeyWords> key_words_;
  LoadOnce<Essay> essays_;
};

std::vector<TaskSource> Niah::sources(const TaskOptions& options) const {
  std::vector<TaskSource> sources;
  if (spec_.key == NiahWord::words) sources = word_sources(options);
  if (spec_.filler != NiahFiller::prose) return sources;
  if (options.mode == "official") {
    sources.push_back(data_source(options.data, "essay.json"));
    sources.push_back(data_source(options.data, "essay.sents.json"));
  } else {
    sources.push_back(text_source(options.data));
  }
  return sources;
}

std::unique_ptr<OfficialGenerator> Niah::official(OfficialCell cell,
                                                  const TaskOptions& options) const {
  if (spec_.depth == NiahDepth::grid) {
    throw Error("--mode", "task {} has no mode 'official', only strict", info().name);
  }
  const KeyWords* words = nullptr;
  if (spec_.key == NiahWord::words) {
    words = &key_words_.get(options.data, [&] { return KeyWords(wonder_key_lists(options.data)); });
  }
  const Essay* essay = nullptr;
  if (spec_.filler == NiahFiller::prose) {
    essay = &essays_.get(options.data, [&] { return Essay(options.data); });
  }
  return make_official_niah(cell, spec_, words, essay);
}

const KeyLists& Niah::key_lists(const TaskOptions& options) const {
  return key_lists_.get(options.data, [&] {
    return has_wonder_words(options.data)
               ? wonder_key_lists(options.data)
               : KeyLists{texts().prose().words("adjective"), texts().prose().words("noun")};
  });
}

std::string Niah::draw_word(NiahWord kind, const KeyLists& lists, PythonRandom& random) const {
  switch (kind) {
    case NiahWord::numbers:
      return std::to_string(random.randint(1000000, 9999999));
    case NiahWord::uuids:
      return random.uuid();
    case NiahWord::words:
      break;
  }
  const auto& [adjectives, nouns] = lists;
  const auto pair = random.randbelow(adjectives.size() * nouns.size());
  return adjectives[pair / nouns.size()] + "-" + nouns[pair % nouns.size()];
}

/// A word that the sample does not have yet.
std::string Niah::draw_new(NiahWord kind, const KeyLists& lists, PythonRandom& random,
                           std::set<std::string>& taken) const {
  constexpr int kTries = 10000;
  for (int tries = 0; tries < kTries; ++tries) {
    std::string word = draw_word(kind, lists, random);
    if (taken.insert(word).second) return word;
  }
  throw Error(info().name,
              "the word lists have too few pairs for a prompt of this length: {} are in use",
              taken.size());
}

Draws Niah::draw(const KeyLists& lists, PythonRandom& random, std::int64_t i) const {
  Draws draws;
  std::set<std::string> taken;
  for (int key = 0; key < spec_.k; ++key) {
    draws.keys.push_back(draw_new(spec_.key, lists, random, taken));
    auto& values = draws.values.emplace_back();
    for (int value = 0; value < spec_.v; ++value) {
      values.push_back(draw_new(spec_.value, lists, random, taken));
      draws.needles.push_back(
          {key, value, needle_text(spec_.value, draws.keys.back(), values.back())});
    }
  }
  random.shuffle(draws.needles);
  if (spec_.depth == NiahDepth::grid) {
    draws.depths.push_back(static_cast<double>(i % 11) / 10);
  } else if (spec_.filler == NiahFiller::prose) {
    for (const std::size_t d : random.sample(kNiahDepths.size(), draws.needles.size())) {
      draws.depths.push_back(kNiahDepths[d] / 100.0);
    }
  } else {
    for (std::size_t n = 0; n < draws.needles.size(); ++n) draws.depths.push_back(random.random());
  }
  std::sort(draws.depths.begin(), draws.depths.end());
  draws.asked = random.sample(static_cast<std::size_t>(spec_.k), static_cast<std::size_t>(spec_.q));
  draws.haystack_seed = random.getrandbits(64);
  return draws;
}

Haystack Niah::haystack(const TaskOptions& options, const Draws& draws) const {
  if (spec_.filler == NiahFiller::noise) return noise_haystack();
  if (spec_.filler == NiahFiller::prose) {
    return texts().haystack(options.data, draws.haystack_seed);
  }
  std::set<std::string> taken(draws.keys.begin(), draws.keys.end());
  for (const auto& values : draws.values) taken.insert(values.begin(), values.end());
  return {"\n", [this, taken, &lists = key_lists(options),
                 random = PythonRandom(draws.haystack_seed)]() mutable {
            const std::string key = draw_new(spec_.key, lists, random, taken);
            return needle_text(spec_.value, key, draw_new(spec_.value, lists, random, taken));
          }};
}

/// For each needle, how many of the n units come before it.
std::vector<std::int64_t> Niah::cuts(const Draws& draws, std::int64_t n, std::int64_t max_tokens,
                                     std::int64_t head_tokens, Units& units) const {
  std::vector<std::int64_t> before;
  for (const double depth : draws.depths) {
    if (spec_.depth == NiahDepth::random) {
      before.push_back(static_cast<std::int64_t>(static_cast<double>(n) * depth));
      continue;
    }
    const double wanted =
        depth * static_cast<double>(max_tokens) - static_cast<double>(head_tokens);
    std::int64_t cut = std::min(units.units_within(std::max(wanted, 0.0)), n);
    if (cut < n && units.tokens_of(cut + 1) - wanted < wanted - units.tokens_of(cut)) ++cut;
    before.push_back(cut);
  }
  return before;
}

SampledTask::Attempt Niah::try_make(const TaskOptions& options, std::int64_t i,
                                    const Tokenizer& tokenizer) const {
  PythonRandom random = random_for(options, i);
  const Draws draws = draw(key_lists(options), random, i);

  Sample sample;
  std::string query;
  std::vector<std::pair<int, int>> asked;  // key and value of each reference
  for (std::size_t a = 0; a < draws.asked.size(); ++a) {
    const std::size_t key = draws.asked[a];
    if (a > 0) query += a + 1 == draws.asked.size() ? ", and " : ", ";
    query += draws.keys[key];
    for (std::size_t value = 0; value < draws.values[key].size(); ++value) {
      sample.references.push_back(draws.values[key][value]);
      asked.emplace_back(static_cast<int>(key), static_cast<int>(value));
    }
  }
  sample.cluster = cluster_name(draws.haystack_seed);

  const bool one = spec_.v * spec_.q == 1;
  const std::string kind =
      std::string(spec_.value == NiahWord::uuids ? "uuid" : "number") + (one ? "" : "s");
  const std::string head = fmt::format(
      "{} special magic {} {} hidden within the following text. Make sure to memorize it. I will "
      "quiz you about the {} afterwards.\n",
      one ? "A" : "Some", kind, one ? "is" : "are", kind);
  const std::string question =
      fmt::format("\nWhat {} special magic {} for {} mentioned in the provided text?",
                  one ? "is the" : "are all the", kind, query);
  sample.answer_prefix =
      fmt::format(" The special magic {} for {} mentioned in the provided text {}", kind, query,
                  one ? "is" : "are");

  Units units(haystack(options, draws), tokenizer);
  const std::int64_t max_tokens = text_tokens(options, tokenizer);
  const std::int64_t head_tokens =
      spec_.depth == NiahDepth::grid
          ? tokenizer.count(ChatTemplate(options.chat_template).before() + head)
          : 0;
  // RULER joins empty stretches of prose too, which leaves a space where a needle comes first, last
  // or right after another one.
  const bool joins_empty = spec_.filler == NiahFiller::prose && spec_.depth == NiahDepth::random;
  const auto build = [&](std::int64_t n) {
    Draft draft{head, std::vector<ByteSpan>(asked.size())};
    const std::vector<std::int64_t> before = cuts(draws, n, max_tokens, head_tokens, units);
    bool first = true;
    const auto separate = [&] {
      if (!first) draft.text += units.separator();
      first = false;
    };
    std::int64_t next = 0;
    const auto add_units = [&](std::int64_t end) {
      if (next == end && joins_empty) separate();
      for (; next < end; ++next) {
        separate();
        draft.text += units[next];
      }
    };
    units.tokens_of(n);  // draws the units
    for (std::size_t j = 0; j < draws.needles.size(); ++j) {
      const Needle& needle = draws.needles[j];
      add_units(before[j]);
      separate();
      const std::size_t begin = draft.text.size();
      draft.text += needle.text;
      const auto found = std::find(asked.begin(), asked.end(), std::pair{needle.key, needle.value});
      if (found != asked.end()) {
        draft.needles[static_cast<std::size_t>(found - asked.begin())] = {begin, draft.text.size()};
      }
    }
    add_units(n);
    draft.text += question + sample.answer_prefix;
    return draft;
  };
  Fit fitted = fit_text(options, tokenizer, sample.answer_prefix, 1, units, build);
  return finish(options, tokenizer, std::move(fitted), std::move(sample));
}

}  // namespace

std::unique_ptr<Task> make_niah(const NiahSpec& spec) {
  return std::make_unique<Niah>(spec);
}

}  // namespace sala
