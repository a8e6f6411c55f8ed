// Ten thousand samples: every report is written in seconds, and the page stays small.
// SPDX-License-Identifier: Apache-2.0
#include "tests/large_results.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "harness/store/reader.h"
#include "reports/registry.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

TEST(large_report, a_page_of_ten_thousand_samples_stays_under_five_megabytes) {
  const fs::path folder = fs::temp_directory_path() / ("sala-large-" + std::to_string(::getpid()));
  fs::remove_all(folder);
  fs::create_directories(folder);
  write_large_results(folder / "results.db");
  const Results results = ResultReader(folder / "results.db").results();
  fs::remove_all(folder);
  for (const Report& report : reports()) {
    std::ostringstream out;
    report.write(results, out);
    const std::string text = out.str();
    if (report.name == "html") {
      EXPECT_LT(text.size(), 5'000'000U);
    } else if (report.name == "md") {
      EXPECT_LT(text.size(), 65'536U);
    } else if (report.name == "jsonl") {
      EXPECT_EQ(std::ranges::count(text, '\n'), kLargeSamples);
    }
  }
}

}  // namespace
}  // namespace sala
