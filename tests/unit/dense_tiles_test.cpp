// How dense attention on the GPU cuts queries, keys and caches.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/dense/cuda/tiles.h"

#include <gtest/gtest.h>

namespace sala::cuda::dense {
namespace {

TEST(DenseTiles, query_tiles_cover_a_call_once) {
  for (const std::int64_t start : {0, 1, 127, 128, 1000}) {
    for (const std::int64_t n : {1, 127, 128, 129, 1000}) {
      const Call call{start, start + n};
      std::int64_t next = start;
      for (std::int64_t i = 0; i < n_query_tiles(call); ++i) {
        const std::int64_t base = (start / kQueryTile + i) * kQueryTile;
        const ValidRows rows = rows_within<kQueryTile>(base, call.start, call.end);
        ASSERT_EQ(base + rows.first, next);
        ASSERT_LT(rows.first, rows.end);
        next = base + rows.end;
      }
      ASSERT_EQ(next, call.end);
    }
  }
}

TEST(DenseTiles, key_tiles_reach_to_the_last_row) {
  EXPECT_EQ(n_key_tiles({0, 1}, 0), 1);
  EXPECT_EQ(n_key_tiles({0, 1000}, 0), 2);
  EXPECT_EQ(n_key_tiles({0, 1000}, 896), 16);
  EXPECT_EQ(n_key_tiles({300, 1000}, 256), 6);
  EXPECT_EQ(n_key_tiles({64, 65}, 0), 2);
}

TEST(DenseTiles, slices_cover_a_row_and_fit_the_grid) {
  for (const int n_kv_heads : {1, 2, 3, 8, 32, 511, 512, 1000}) {
    for (const std::int64_t length : {1, 255, 256, 257, 8191, 65536, 131072, 1048576, 3000000}) {
      const Slices cut = slices(length, n_kv_heads);
      EXPECT_EQ(cut.size % kKeyTile, 0);
      EXPECT_GE(cut.size * cut.count, length);
      EXPECT_LT(cut.size * (cut.count - 1), length) << "no slice is empty";
      EXPECT_LE(cut.count, kMostSlices);
      EXPECT_LE(cut.count, most_slices(n_kv_heads, length));
      EXPECT_LE(cut.count, most_slices(n_kv_heads, length + 5000)) << "in a larger cache";
    }
  }
  EXPECT_EQ(slices(1048576, 8).count, 64);
}

TEST(DenseTiles, capacities_are_few_and_little_more_than_asked) {
  std::int64_t previous = 0;
  std::int64_t changes = 0;
  for (std::int64_t n = 65536; n < 131072; n += 64) {
    const std::int64_t capacity = cache_capacity(n);
    EXPECT_GE(capacity, n);
    EXPECT_LE(capacity, n + n / 32);
    EXPECT_EQ(capacity % kKeyTile, 0);
    changes += capacity != previous ? 1 : 0;
    previous = capacity;
  }
  EXPECT_LE(changes, 33);
  for (const std::int64_t n : {1, 64, 65, 4095}) EXPECT_LE(cache_capacity(n), n + kKeyTile);
  for (const std::int64_t n : {8192, 131072, 1048576}) EXPECT_EQ(cache_capacity(n), n);
}

}  // namespace
}  // namespace sala::cuda::dense
