// What is recorded of the machine, and what is not.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/manifest.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

namespace sala {
namespace {

TEST(Manifest, only_variables_that_matter_are_recorded) {
  setenv("OMP_NUM_THREADS", "2", 1);
  setenv("OPENBLAS_CORETYPE", "Haswell", 1);
  setenv("MY_PASSWORD", "secret", 1);
  setenv("SALA_EMPTY", "", 1);
  const auto variables = nlohmann::json::parse(relevant_variables());
  EXPECT_EQ(variables["OMP_NUM_THREADS"], "2");
  EXPECT_EQ(variables["OPENBLAS_CORETYPE"], "Haswell");
  EXPECT_EQ(variables["SALA_EMPTY"], "");
  EXPECT_FALSE(variables.contains("MY_PASSWORD"));
}

TEST(Manifest, the_machine_is_described_and_the_description_is_stable) {
  const EnvironmentRow first = capture_environment();
  const EnvironmentRow second = capture_environment();
  EXPECT_EQ(first.info, second.info);
  EXPECT_EQ(first.machine_uid, second.machine_uid);
  EXPECT_EQ(first.machine_uid.size(), 32U);
  EXPECT_EQ(first.git_commit.size(), 40U);
  EXPECT_GT(first.n_cores, 0);
  EXPECT_GT(first.ram_bytes, std::int64_t{1} << 28);
  EXPECT_FALSE(first.kernel.empty());
  EXPECT_TRUE(nlohmann::json::parse(first.info).contains("variables"));
}

TEST(Manifest, the_peak_is_that_since_the_last_reset) {
  reset_host_peak();
  const std::int64_t before = host_peak_bytes();
  ASSERT_GT(before, 0);
  {
    std::vector<char> block(std::size_t{64} << 20, 1);
    EXPECT_EQ(block.back(), 1);
    EXPECT_GT(host_peak_bytes(), before + (32 << 20));
  }
}

}  // namespace
}  // namespace sala
