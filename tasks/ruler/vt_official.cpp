// Variable tracking as upstream draws it: one chain of five names, after an example.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "tasks/chat_template.h"
#include "tasks/ruler/generators.h"
#include "tasks/ruler/vt.h"

namespace sala {
namespace {

constexpr std::size_t kNames = 5;
constexpr std::string_view kContext = "{context}";
constexpr const char* kExampleValue = "12345";

std::string draw_letters(std::size_t n, PythonRandom& random) {
  std::string letters(n, 'A');
  for (char& c : letters) c = static_cast<char>('A' + static_cast<int>(random.random() * 26));
  return letters;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

/// The last n words of a text, in order.
std::vector<std::string> last_words(std::string_view text, std::size_t n) {
  std::vector<std::string> words;
  std::string word;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (!is_white_space(next_code_point(text, at))) {
      word.append(text, begin, at - begin);
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  if (!word.empty()) words.push_back(word);
  words.erase(words.begin(), words.end() - static_cast<std::ptrdiff_t>(std::min(n, words.size())));
  return words;
}

/// The chain alone: what the example is, and what the search measures.
class ChainGenerator : public SteppedGenerator {
 public:
  ChainGenerator(OfficialCell cell, std::int64_t step, bool is_example)
      : SteppedGenerator(std::move(cell), step), is_example_(is_example) {
    const std::string& frame = this->cell().frame;
    const std::size_t at = frame.find(kContext);
    head_ = frame.substr(0, at);
    tail_ = frame.substr(at + kContext.size());
  }

 protected:
  std::optional<OfficialDraft> attempt(std::int64_t /*i*/, std::int64_t n,
                                       OfficialRandom& random) const override {
    std::vector<std::string> names;
    std::set<std::string> different;
    while (different.size() < kNames) {
      names.push_back(draw_letters(is_example_ ? 3 : 5, random.python));
      different.insert(names.back());
    }
    const auto draw_value = [&] {
      return is_example_ ? kExampleValue : std::to_string(random.numpy.randint(10000, 99999));
    };
    const std::string value = draw_value();
    if (names.size() > kNames) {
      draw_value();  // of a second chain, whose missing names make upstream fail
      return std::nullopt;
    }
    const auto n_lines = static_cast<std::size_t>(n);
    if (n_lines < kNames) return std::nullopt;
    std::vector<std::size_t> places = random.python.sample(n_lines, kNames);
    std::sort(places.begin(), places.end());

    OfficialDraft made;
    const std::string n_names = std::to_string(kNames);
    Draft context = chain_context(n_lines, chain_statements(names, value), places);
    made.draft.text = fill(head_, {{"query", value}, {"num_v", n_names}});
    for (const ByteSpan& span : context.needles) {
      made.draft.needles.push_back(
          {made.draft.text.size() + span.begin, made.draft.text.size() + span.end});
    }
    made.draft.text += context.text;
    made.draft.text += fill(tail_, {{"query", value}, {"num_v", n_names}});
    made.references = std::move(names);
    return made;
  }

 private:
  bool is_example_;
  std::string head_;
  std::string tail_;
};

class VtGenerator : public ChainGenerator {
 public:
  VtGenerator(const OfficialCell& cell, std::string bare_frame)
      : ChainGenerator(cell, cell.length < 4096 ? 5 : 10, false),
        example_cell_{.task = cell.task + ", worked example",
                      .length = 500,
                      .seed = cell.seed,
                      .tokens_to_generate = 0,
                      .frame = std::move(bare_frame)} {}

  std::int64_t find_size(const Tokenizer& tokenizer, OfficialRandom& random) override {
    ChainGenerator example(example_cell_, 5, true);
    const std::int64_t size = example.find_size(tokenizer, random);
    const OfficialDraft made = example.sample(0, size, tokenizer, random);
    example_ = made.draft.text + " " + joined(made.references) + "\n";
    example_tokens_ = tokenizer.count(example_);
    return ChainGenerator::find_size(tokenizer, random);
  }

 protected:
  std::int64_t search_length(std::int64_t n, const Tokenizer& tokenizer,
                             OfficialRandom& random) const override {
    return ChainGenerator::search_length(n, tokenizer, random) + example_tokens_;
  }
  std::int64_t probe_tokens(std::int64_t n, const Tokenizer& tokenizer,
                            OfficialRandom& random) const override {
    const auto made = ChainGenerator::attempt(0, n, random);
    if (!made) fail_search(n);
    return tokenizer.count(made->draft.text);
  }
  std::optional<OfficialDraft> attempt(std::int64_t i, std::int64_t n,
                                       OfficialRandom& random) const override {
    auto made = ChainGenerator::attempt(i, n, random);
    if (!made) return std::nullopt;
    std::string example = example_;
    for (const std::string& word : last_words(example_, kNames)) {
      replace_all(example, word, draw_letters(word.size(), random.python));
    }
    replace_all(example, kExampleValue, std::to_string(random.numpy.randint(10000, 99999)));
    example += '\n';
    const std::size_t at = made->draft.text.find("Memorize and track t");
    if (at == std::string::npos) {
      throw Error(cell().task, "the chat template hides where the example goes");
    }
    made->draft.text.insert(at, example);
    for (ByteSpan& span : made->draft.needles) {
      span.begin += example.size();
      span.end += example.size();
    }
    return made;
  }

 private:
  OfficialCell example_cell_;
  std::string example_;
  std::int64_t example_tokens_ = 0;
};

}  // namespace

std::unique_ptr<OfficialGenerator> make_official_vt(const OfficialCell& cell,
                                                    std::string bare_frame) {
  return std::make_unique<VtGenerator>(cell, std::move(bare_frame));
}

}  // namespace sala
