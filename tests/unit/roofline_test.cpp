// Stages against ceilings: the bound is the slowest of copy, products and launches.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/roofline.h"

#include <gtest/gtest.h>

namespace sala::testing {
namespace {

/// Two requests with equal stages.
CellRecord cell() {
  CellRecord cell;
  cell.kind = "perf";
  cell.ceilings = Ceilings{.gemm_flops_per_s = 1e12,
                           .narrow_gemm_flops_per_s = 5e11,
                           .row_gemm_flops_per_s = 1e10,
                           .copy_bytes_per_s = 1e11,
                           .exp_per_s = 1e10,
                           .launch_s = 1e-6};
  const auto add = [&](const char* stage, double ns, double calls, double flops, double bytes) {
    for (const std::int64_t rep : {0, 1}) {
      cell.values.push_back({"stage_ns", stage, rep, -1, rep == 0 ? 0.5 * ns : 1.5 * ns});
      cell.values.push_back({"stage_calls", stage, rep, -1, calls});
      cell.values.push_back({"stage_flops", stage, rep, -1, flops});
      cell.values.push_back({"stage_bytes", stage, rep, -1, bytes});
    }
  };
  add("prefill.norm", 2e6, 10, 0, 1e8);            // 1 ms of copy in 2 ms
  add("prefill.dense.attend", 8e6, 10, 2e9, 1e8);  // 2 ms of products in 8 ms
  add("prefill.dense.append", 1e6, 500, 0, 1e6);   // 0.5 ms of launches in 1 ms
  add("decode.replay", 4e6, 4, 1e6, 2e8);          // 2 ms of copy in 4 ms
  for (const std::int64_t rep : {0, 1}) {
    cell.values.push_back({"gap_ns", "prefill", rep, -1, 1e6});
    cell.values.push_back({"prefill_chunk_ns", "total", rep, 512, 1e9});
    cell.values.push_back({"prefill_chunk_ns", "total", rep, 1000, rep == 0 ? 1e9 : 3e9});
  }
  return cell;
}

TEST(Roofline, a_stage_is_bound_by_the_slowest_of_copy_products_and_launches) {
  const auto uses = stage_uses(cell(), "prefill");
  ASSERT_EQ(uses.size(), 3U);
  EXPECT_EQ(uses[0].name, "prefill.dense.attend");
  EXPECT_EQ(uses[0].bound, "compute");
  EXPECT_DOUBLE_EQ(*uses[0].fraction, 0.25);
  EXPECT_EQ(uses[1].bound, "memory");
  EXPECT_DOUBLE_EQ(*uses[1].fraction, 0.5);
  EXPECT_EQ(uses[2].bound, "launch");
  EXPECT_DOUBLE_EQ(*uses[2].fraction, 0.5);
}

TEST(Roofline, figures_are_means_a_request) {
  const auto uses = stage_uses(cell(), "decode");
  ASSERT_EQ(uses.size(), 1U);
  EXPECT_DOUBLE_EQ(uses[0].ns, 4e6);
  EXPECT_DOUBLE_EQ(uses[0].calls, 4);
  EXPECT_DOUBLE_EQ(uses[0].bytes, 2e8);
  EXPECT_EQ(stage_gap_ns(cell(), "prefill"), 1e6);
  EXPECT_FALSE(stage_gap_ns(cell(), "decode"));
}

TEST(Roofline, without_ceilings_there_are_times_and_no_bounds) {
  CellRecord unmeasured = cell();
  unmeasured.ceilings.reset();
  for (const StageUse& use : stage_uses(unmeasured, "prefill")) {
    EXPECT_GT(use.ns, 0);
    EXPECT_EQ(use.bound, "");
    EXPECT_FALSE(use.fraction);
  }
  EXPECT_EQ(stage_table(unmeasured), "");
  EXPECT_NE(stage_table(cell()).find("prefill, between stages"), std::string::npos);
}

TEST(Roofline, chunk_rates_follow_the_position_and_the_last_chunk_may_be_short) {
  const auto rates = chunk_rates(cell());
  ASSERT_EQ(rates.size(), 2U);
  EXPECT_EQ(rates[0].position, 512);
  EXPECT_DOUBLE_EQ(rates[0].tokens_per_s, 512);
  EXPECT_EQ(rates[1].position, 1000);
  EXPECT_DOUBLE_EQ(rates[1].tokens_per_s, 244);  // 488 tokens in 2 s
}

}  // namespace
}  // namespace sala::testing
