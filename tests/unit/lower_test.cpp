// Lower case equals Python's where ASCII rules or single code points would not.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/lower.h"

#include <gtest/gtest.h>

namespace sala {
namespace {

TEST(Lower, equals_pythons_on_known_texts) {
  EXPECT_EQ(lower("The QUICK brown fox 42!"), "the quick brown fox 42!");
  EXPECT_EQ(lower("\u00C9COLE JALAPE\u00D1O"), "\u00E9cole jalape\u00F1o");
  EXPECT_EQ(lower("\u0130stanbul"), "i\u0307stanbul");           // dotted I is two code points
  EXPECT_EQ(lower("\u212A"), "k");                               // the kelvin sign
  EXPECT_EQ(lower("\U00010400"), "\U00010428");                  // beyond 16 bits
  EXPECT_EQ(lower("\u01C5\u01C4\u01C6"), "\u01C6\u01C6\u01C6");  // title case
  EXPECT_EQ(lower("\u8BF7"), "\u8BF7");
}

TEST(Lower, sigma_is_final_at_the_end_of_a_word_alone) {
  EXPECT_EQ(lower("\u039F\u0394\u039F\u03A3"), "\u03BF\u03B4\u03BF\u03C2");
  EXPECT_EQ(lower("\u03A3"), "\u03C3");  // no letter before it
  EXPECT_EQ(lower("a\u03A3b"), "a\u03C3b");
  EXPECT_EQ(lower("a\u03A3."), "a\u03C2.");
  EXPECT_EQ(lower("a\u03A3.b"), "a\u03C3.b");          // a full stop is skipped over
  EXPECT_EQ(lower("a\u00AD\u03A3"), "a\u00AD\u03C2");  // and so is a soft hyphen
}

TEST(Lower, bytes_that_are_no_text_stay) {
  EXPECT_EQ(lower("A\xFF\xC3Z"), "a\xFF\xC3z");
  EXPECT_EQ(lower(""), "");
}

}  // namespace
}  // namespace sala
