// Draws needles and haystack in upstream's order.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "tasks/chat_template.h"
#include "tasks/haystack.h"
#include "tasks/ruler/generators.h"

namespace sala {
namespace {

constexpr std::string_view kContext = "{context}";

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t at = 0;
  for (std::size_t found = 0; (found = text.find(from, at)) != std::string_view::npos;) {
    out.append(text, at, found - at).append(to);
    at = found + from.size();
  }
  return out.append(text, at);
}

/// The frame for one needle; upstream rewrites the chat template with it.
std::string in_singular(std::string frame) {
  frame = replaced(frame, "Some", "A");
  frame = replaced(frame, "are all", "is");
  frame = replaced(frame, "are", "is");
  return replaced(frame, "answers", "answer");
}

/// Units of the haystack: words of the essay, lines of noise or needles.
std::int64_t step_of(const OfficialCell& cell, const NiahSpec& spec) {
  if (spec.filler == NiahFiller::prose) return 500;
  return cell.length < 4096 ? 5 : 25;
}

struct Needle {
  std::size_t key;
  std::size_t value;
  std::string text;
};

/// A context under construction, with where its needles are.
struct Context {
  std::string text;
  std::vector<std::pair<const Needle*, ByteSpan>> needles;

  void add(const Needle& needle) {
    needles.emplace_back(&needle, ByteSpan{text.size(), text.size() + needle.text.size()});
    text += needle.text;
  }
};

class NiahGenerator : public SteppedGenerator {
 public:
  NiahGenerator(const OfficialCell& cell, const NiahSpec& spec, const KeyWords* words,
                const Essay* essay)
      : SteppedGenerator(cell, step_of(cell, spec)),
        spec_(spec),
        words_(words),
        essay_(essay),
        plural_(spec.value == NiahWord::uuids ? "uuids" : "numbers") {
    const bool one = spec.v * spec.q == 1;
    const std::string frame = one ? in_singular(cell.frame) : cell.frame;
    type_ = one ? plural_.substr(0, plural_.size() - 1) : plural_;
    const std::size_t at = frame.find(kContext);
    head_ = frame.substr(0, at);
    tail_ = frame.substr(at + kContext.size());
  }

 protected:
  std::optional<OfficialDraft> attempt(std::int64_t i, std::int64_t n,
                                       OfficialRandom& random) const override;

 private:
  std::string draw(NiahWord kind, PythonRandom& random) const {
    if (kind == NiahWord::numbers) return std::to_string(random.randint(1000000, 9999999));
    if (kind == NiahWord::uuids) return random.uuid();
    return (*words_)[random.randbelow(words_->size())];
  }
  std::string needle_text(std::string_view key, std::string_view value) const {
    return fmt::format("One of the special magic {} for {} is: {}.", plural_, key, value);
  }
  void add_essay(Context& context, const std::vector<Needle>& needles, std::int64_t n,
                 PythonRandom& random) const;
  bool add_lines(Context& context, const std::vector<Needle>& needles, std::int64_t n,
                 PythonRandom& random) const;

  NiahSpec spec_;
  const KeyWords* words_;
  const Essay* essay_;
  std::string plural_;
  std::string type_;
  std::string head_;
  std::string tail_;
};

void NiahGenerator::add_essay(Context& context, const std::vector<Needle>& needles, std::int64_t n,
                              PythonRandom& random) const {
  const std::vector<std::string_view> sentences = essay_->sentences(n);
  std::vector<std::size_t> cuts;
  for (const std::size_t d : random.sample(kNiahDepths.size(), needles.size())) {
    const double share = kNiahDepths[d] / 100.0;
    cuts.push_back(static_cast<std::size_t>(static_cast<double>(sentences.size()) * share));
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.push_back(sentences.size());
  std::size_t begin = 0;
  for (std::size_t j = 0; j < cuts.size(); ++j) {
    if (j > 0) context.text += ' ';
    for (std::size_t s = begin; s < cuts[j]; ++s) {
      if (s > begin) context.text += ' ';
      context.text += sentences[s];
    }
    begin = cuts[j];
    if (j == needles.size()) break;
    context.text += ' ';
    context.add(needles[j]);
  }
}

/// Lines of noise or needles; false when there are fewer than places asked for.
bool NiahGenerator::add_lines(Context& context, const std::vector<Needle>& needles, std::int64_t n,
                              PythonRandom& random) const {
  std::vector<std::string> lines;
  if (spec_.filler == NiahFiller::needles) {
    for (std::int64_t line = 0; line < n; ++line) {
      const std::string key = draw(spec_.key, random);
      lines.push_back(needle_text(key, draw(spec_.value, random)));
    }
  }
  const auto n_lines = static_cast<std::size_t>(n);
  if (n_lines < needles.size()) return false;
  std::vector<std::size_t> places = random.sample(n_lines, needles.size());
  std::sort(places.begin(), places.end());
  auto place = places.begin();
  for (std::size_t line = 0; line < n_lines; ++line) {
    if (line > 0) context.text += '\n';
    if (place != places.end() && *place == line) {
      // The first needle of the list goes to the last place.
      context.add(needles[static_cast<std::size_t>(places.end() - place) - 1]);
      context.text += '\n';
      ++place;
    }
    context.text += lines.empty() ? kNoiseLine : std::string_view(lines[line]);
  }
  return true;
}

std::optional<OfficialDraft> NiahGenerator::attempt(std::int64_t /*i*/, std::int64_t n,
                                                    OfficialRandom& random) const {
  PythonRandom& python = random.python;
  std::vector<std::string> keys;
  std::vector<std::vector<std::string>> values;
  std::vector<Needle> needles;
  for (std::size_t key = 0; key < static_cast<std::size_t>(spec_.k); ++key) {
    keys.push_back(draw(spec_.key, python));
    auto& of_key = values.emplace_back();
    for (std::size_t value = 0; value < static_cast<std::size_t>(spec_.v); ++value) {
      of_key.push_back(draw(spec_.value, python));
      needles.push_back({key, value, needle_text(keys.back(), of_key.back())});
    }
  }
  PythonRandom(cell().seed).shuffle(needles);
  Context context;
  if (spec_.filler == NiahFiller::prose) {
    add_essay(context, needles, n, python);
  } else if (!add_lines(context, needles, n, python)) {
    return std::nullopt;
  }

  OfficialDraft made;
  std::string query;
  const auto asked = python.sample(keys.size(), static_cast<std::size_t>(spec_.q));
  std::vector<std::pair<std::size_t, std::size_t>> wanted;
  for (std::size_t a = 0; a < asked.size(); ++a) {
    if (a > 0) query += a + 1 == asked.size() ? ", and " : ", ";
    query += keys[asked[a]];
    for (std::size_t value = 0; value < values[asked[a]].size(); ++value) {
      made.references.push_back(values[asked[a]][value]);
      wanted.emplace_back(asked[a], value);
    }
  }
  made.draft.text = fill(head_, {{"type_needle_v", type_}, {"query", query}});
  for (const auto& [key, value] : wanted) {
    const auto found =
        std::find_if(context.needles.begin(), context.needles.end(), [&](const auto& placed) {
          return placed.first->key == key && placed.first->value == value;
        });
    const std::size_t base = made.draft.text.size();
    made.draft.needles.push_back({base + found->second.begin, base + found->second.end});
  }
  made.draft.text += context.text;
  made.draft.text += fill(tail_, {{"type_needle_v", type_}, {"query", query}});
  return made;
}

}  // namespace

std::unique_ptr<OfficialGenerator> make_official_niah(const OfficialCell& cell,
                                                      const NiahSpec& spec, const KeyWords* words,
                                                      const Essay* essay) {
  return std::make_unique<NiahGenerator>(cell, spec, words, essay);
}

}  // namespace sala
