// `sala report` as typed: formats by name and extension, whole files, clear errors.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>

#include "tests/report_fixture.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

class ReportCommandTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder() = fs::temp_directory_path() / ("sala-report-command-" + std::to_string(::getpid()));
    fs::remove_all(folder());
    fs::create_directories(folder());
    write_report_fixture(folder() / "results.db",
                         {.tasks = {"niah_single_1"}, .lengths = {1024}, .samples = 4});
  }
  static void TearDownTestSuite() { fs::remove_all(folder()); }
  static fs::path& folder() {
    static fs::path path;
    return path;
  }

  /// Runs `sala report ARGUMENTS` in the folder; standard output and error end up in `text_`.
  int report(const std::string& arguments) {
    const std::string command =
        "cd " + folder().string() + " && " + SALA_BINARY + " report " + arguments + " 2>&1";
    FILE* pipe = popen(command.c_str(), "r");
    text_.clear();
    char buffer[4096];
    while (const std::size_t n = fread(buffer, 1, sizeof buffer, pipe)) text_.append(buffer, n);
    const int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(folder() / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string text_;
};

TEST_F(ReportCommandTest, the_extension_tells_the_format_unless_a_name_does) {
  EXPECT_EQ(report("--db results.db -o a.html"), 0) << text_;
  EXPECT_TRUE(read("a.html").starts_with("<!doctype html>"));
  EXPECT_EQ(report("--db results.db -o a.csv"), 0) << text_;
  EXPECT_TRUE(read("a.csv").starts_with("sweep,"));
  EXPECT_EQ(report("--db results.db --format md -o a.txt"), 0) << text_;
  EXPECT_TRUE(read("a.txt").starts_with("# toy-hybrid"));
}

TEST_F(ReportCommandTest, a_dash_writes_to_standard_output) {
  EXPECT_EQ(report("--db results.db --format jsonl -o -"), 0);
  EXPECT_TRUE(text_.starts_with("{\"schema_version\":1,"));
}

TEST_F(ReportCommandTest, errors_say_what_was_wrong_and_exit_with_2) {
  struct Case {
    const char* arguments;
    const char* says;
  };
  std::ofstream(folder() / "junk.db") << "no database, but of some length, so that it has a header";
  for (const Case& bad : {Case{"--db results.db -o a.pdf", "html, md, csv, jsonl"},
                          {"--db results.db --format pdf -o a.html", "unknown format 'pdf'"},
                          {"--db results.db -o -", "--format"},
                          {"--db results.db -o nowhere/a.html", "nowhere/a.html"},
                          {"--db results.db --format md -o .", "is a folder"},
                          {"--db results.db --run nonsense -o a.html", "nonsense"},
                          {"--db missing.db -o b.html", "missing.db"},
                          {"--db junk.db -o b.html", "junk.db"},
                          {"--db results.db", "-o"}}) {
    EXPECT_EQ(report(bad.arguments), 2) << bad.arguments << "\n" << text_;
    EXPECT_NE(text_.find(bad.says), std::string::npos) << bad.arguments << "\n" << text_;
  }
  EXPECT_FALSE(fs::exists(folder() / "b.html"));
  EXPECT_FALSE(fs::exists(folder() / "missing.db"));
}

TEST_F(ReportCommandTest, a_failed_write_keeps_the_old_report_and_leaves_no_rest) {
  std::ofstream(folder() / "old.md") << "old";
  // A file size limit of 1 KiB stands for a full disk.
  const std::string command = "cd " + folder().string() + " && trap '' XFSZ; ulimit -f 1; " +
                              SALA_BINARY + " report --db results.db -o old.md 2>/dev/null";
  const int status = std::system(("bash -c \"" + command + "\"").c_str());
  EXPECT_EQ(WEXITSTATUS(status), 2);
  EXPECT_EQ(read("old.md"), "old");
  for (const auto& entry : fs::directory_iterator(folder())) {
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  }
}

}  // namespace
}  // namespace sala
