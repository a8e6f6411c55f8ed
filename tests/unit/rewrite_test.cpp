// Rewriting against plain oracles, and where each byte came from.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/rewrite.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <random>

namespace sala {
namespace {

std::string utf8(char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n)};
}

/// The whole text in one call.
std::string nfc(const std::string& text) {
  utf8proc_uint8_t* out = utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t*>(text.c_str()));
  std::string composed = reinterpret_cast<const char*>(out);
  std::free(out);
  return composed;
}

TEST(Rewrite, nfc_by_stretches_equals_nfc_of_the_whole) {
  // Every character beside a letter, marks on both sides and the jamo of Hangul.
  const std::string around[] = {"a", "e\u0323", "\u0301", "\u1100", "\u1161", "\uac00", "\u09c7"};
  for (char32_t c = 1; c < 0x30000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string& before = around[c % std::size(around)];
    const std::string& after = around[c / std::size(around) % std::size(around)];
    std::string text = before;
    text += utf8(c);
    text += after;
    ASSERT_EQ(rewrite({Nfc{}}, {text}).text, nfc(text)) << std::hex << static_cast<unsigned>(c);
  }
  std::mt19937_64 random(5);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (std::size_t n = 1 + random() % 8; n > 0; --n) {
      const char32_t starts[] = {0x41, 0xC0, 0x300, 0x900, 0x1100, 0x1160, 0xAC00, 0x1E00, 0xF900};
      text += utf8(starts[random() % std::size(starts)] + static_cast<char32_t>(random() % 0x60));
    }
    ASSERT_EQ(rewrite({Nfc{}}, {text}).text, nfc(text)) << text;
  }
}

TEST(Rewrite, what_nfc_leaves_keeps_its_place_byte_for_byte) {
  const std::string text = "caf\u00e9 e\u0301 \ud55c\uae00";
  const AlignedText composed = rewrite({Nfc{}}, {text, 100});
  EXPECT_EQ(composed.text, "caf\u00e9 \u00e9 \ud55c\uae00");
  const std::vector<std::uint32_t> expected{100, 101, 102, 103, 104, 105, 106, 106,
                                            109, 110, 111, 112, 113, 114, 115};
  EXPECT_EQ(composed.source, expected);
}

TEST(Rewrite, what_is_put_in_comes_from_where_it_is_put) {
  const AlignedText out = rewrite({Prepend{"__"}, Replace{" ", "\u2581"}}, {"a  b", 7});
  EXPECT_EQ(out.text, "__a\u2581\u2581b");
  EXPECT_EQ(out.source, (std::vector<std::uint32_t>{7, 7, 7, 8, 8, 8, 9, 9, 9, 10}));
}

TEST(Rewrite, prepending_may_depend_on_what_is_there) {
  const Prepend once{.content = " ", .unless_there = true};
  EXPECT_EQ(rewrite({once}, {"a"}).text, " a");
  EXPECT_EQ(rewrite({once}, {" a"}).text, " a");
  const Prepend first{.content = "_", .at_start_only = true};
  EXPECT_EQ(rewrite({first}, {"a", 0}).text, "_a");
  EXPECT_EQ(rewrite({first}, {"a", 3}).text, "a");
  EXPECT_EQ(rewrite({Prepend{"_"}}, {""}).text, "");
}

}  // namespace
}  // namespace sala
