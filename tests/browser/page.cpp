// Writes HTML reports on made-up results, for the browser test: page FILE.html [history|large].
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>

#include "harness/store/reader.h"
#include "reports/registry.h"
#include "tests/history_fixture.h"
#include "tests/large_results.h"
#include "tests/report_fixture.h"

namespace {

using namespace sala;

Results made_up(const std::string& what, const std::filesystem::path& database) {
  if (what == "history") return history_results();
  if (what == "large") {
    write_large_results(database);
  } else {
    write_report_fixture(database);
  }
  return ResultReader(database).results();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fputs("usage: browser_page FILE.html [history|large]\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path page = argv[1];
    const std::filesystem::path database = page.string() + ".db";
    std::filesystem::remove(database);
    const Results results = made_up(argc == 3 ? argv[2] : "", database);
    for (const Report& report : reports()) {
      std::ofstream file(std::filesystem::path(page).replace_extension(report.extension),
                         std::ios::binary);
      report.write(results, file);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
