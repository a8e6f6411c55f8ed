// Writes an HTML report on made-up results, for the browser test: page FILE.html.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>

#include "harness/store/reader.h"
#include "reports/registry.h"
#include "tests/report_fixture.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: browser_page FILE.html\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path page = argv[1];
    const std::filesystem::path database = page.string() + ".db";
    std::filesystem::remove(database);
    sala::write_report_fixture(database);
    const sala::Results results = sala::ResultReader(database).results();
    for (const sala::Report& report : sala::reports()) {
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
