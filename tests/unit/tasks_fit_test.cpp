// Sizing: never over, and no longer text would have fitted.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>

#include "tasks/fit.h"

namespace sala {
namespace {

/// Runs of equal letters are one token, so that counts do not add up over pieces.
class RunTokenizer : public Tokenizer {
 public:
  Encoding encode(std::string_view text) const override {
    Encoding out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (i > 0 && text[i] == text[i - 1]) continue;
      out.ids.push_back(text[i]);
      out.begin.push_back(static_cast<std::int64_t>(i));
    }
    ++calls;
    return out;
  }
  std::string decode(std::span<const TokenId>) const override { return ""; }
  std::int64_t vocab_size() const override { return 256; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  const std::string& sha256() const override { return name_; }

  mutable int calls = 0;

 private:
  std::string name_;
};

std::string random_unit(std::mt19937_64& random) {
  std::string unit;
  const std::size_t size = 1 + random() % 12;
  for (std::size_t i = 0; i < size; ++i) unit += static_cast<char>('a' + random() % 3);
  return unit;
}

struct Case {
  std::unique_ptr<Units> units;
  std::function<Draft(std::int64_t)> build;
};

Case make_case(const Tokenizer& tokenizer, std::uint64_t seed) {
  Case made;
  made.units = std::make_unique<Units>(
      Haystack{"", [random = std::mt19937_64(seed)]() mutable { return random_unit(random); }},
      tokenizer);
  made.build = [&units = *made.units](std::int64_t n) {
    units.tokens_of(n);
    Draft draft{"head:", {}};
    for (std::int64_t i = 0; i < n; ++i) draft.text += units[i];
    draft.text += ":tail";
    return draft;
  };
  return made;
}

TEST(Fit, finds_what_a_search_of_every_size_finds) {
  const RunTokenizer tokenizer;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    for (const std::int64_t limit : {20, 37, 64, 100, 333, 1000}) {
      Case one = make_case(tokenizer, seed);
      const Fit found = fit(tokenizer, limit, 1, *one.units, one.build);
      ASSERT_LE(found.needed, limit);
      ASSERT_EQ(found.needed, tokenizer.count(found.draft.text));
      const std::int64_t next = tokenizer.count(one.build(found.n_units + 1).text);
      EXPECT_TRUE(found.needed == limit || next > limit) << "seed " << seed << " limit " << limit;
    }
  }
}

TEST(Fit, takes_few_counts_of_the_whole_text) {
  const RunTokenizer tokenizer;
  Case one = make_case(tokenizer, 5);
  one.units->units_within(30000);  // the pieces are counted here
  tokenizer.calls = 0;
  fit(tokenizer, 20000, 1, *one.units, one.build);
  EXPECT_LE(tokenizer.calls, 12);
}

TEST(Fit, says_what_the_smallest_text_needs_when_nothing_fits) {
  const RunTokenizer tokenizer;
  Case one = make_case(tokenizer, 1);
  const std::int64_t smallest = tokenizer.count(one.build(1).text);
  const Fit none = fit(tokenizer, smallest - 1, 1, *one.units, one.build);
  EXPECT_EQ(none.needed, smallest);
  EXPECT_EQ(fit(tokenizer, smallest, 1, *one.units, one.build).n_units, 1);
  EXPECT_GT(fit(tokenizer, -5, 1, *one.units, one.build).needed, -5);
}

}  // namespace
}  // namespace sala
