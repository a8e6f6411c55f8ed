// Token counts and bytes as people write them.
// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/sizes.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace sala {
namespace {

using Sizes = std::vector<std::int64_t>;

TEST(Sizes, suffixes_are_powers_of_two) {
  EXPECT_EQ(parse_size("512"), 512);
  EXPECT_EQ(parse_size("4k"), 4096);
  EXPECT_EQ(parse_size("4K"), 4096);
  EXPECT_EQ(parse_size("1M"), 1048576);
  EXPECT_EQ(parse_size(" 2G "), 2147483648);
}

TEST(Sizes, everything_else_is_refused) {
  for (const char* text : {"", "k", "4x", "-1", "0", "0k", "1.5k", "4kk", "4 k", "0x10",
                           "9223372036854775808", "9007199254740993G"}) {
    EXPECT_THROW(parse_size(text), Error) << text;
  }
}

TEST(Sizes, lists_are_sorted_and_ranges_end_at_the_last_value_not_above_the_limit) {
  EXPECT_EQ(parse_sizes("4k,1k"), (Sizes{1024, 4096}));
  EXPECT_EQ(parse_sizes("1k,4k-1M*4"), (Sizes{1024, 4096, 16384, 65536, 262144, 1048576}));
  EXPECT_EQ(parse_sizes("1k-5k*2"), (Sizes{1024, 2048, 4096}));
  EXPECT_EQ(parse_sizes("8k-8k*2,8192"), (Sizes{8192}));
}

TEST(Sizes, bad_lists_are_refused) {
  for (const char* text :
       {"", ",", "1k,", "1k-4k", "4k-1k*2", "1k-4k*1", "1k-*2", "-4k*2", "1k 2k"}) {
    EXPECT_THROW(parse_sizes(text), Error) << text;
  }
}

TEST(Sizes, a_range_up_to_the_largest_number_ends) {
  EXPECT_EQ(parse_sizes("1-9223372036854775807*2").size(), 63U);
}

TEST(Sizes, format_size_is_exact_and_reads_back) {
  for (const std::int64_t value : {1, 1000, 1023, 1024, 1536, 4096, 1048576, 3145728}) {
    EXPECT_EQ(parse_size(format_size(value)), value);
  }
  EXPECT_EQ(format_size(4096), "4k");
  EXPECT_EQ(format_size(1048576), "1M");
  EXPECT_EQ(format_size(1000), "1000");
}

TEST(Sizes, bytes_have_three_digits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(1024 * 1024 * 10), "10.0 MiB");
  EXPECT_EQ(format_bytes(std::int64_t{123} << 30), "123 GiB");
  EXPECT_EQ(format_bytes((1 << 20) - 1), "1.00 MiB");
}

}  // namespace
}  // namespace sala
