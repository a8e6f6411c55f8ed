// sala report: writes a report from a results database.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/store/reader.h"
#include "reports/registry.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

struct ReportOptions {
  std::string database = "sala.db";
  std::vector<std::string> runs;
  std::string format;
  std::string output;
};

std::string format_names() {
  std::string names;
  for (const Report& report : reports()) {
    names += names.empty() ? "" : ", ";
    names += report.name;
  }
  return names;
}

/// The report asked for by name, or else by the output file's extension.
const Report& choose_report(const ReportOptions& options) {
  const std::string extension = fs::path(options.output).extension().string();
  for (const Report& report : reports()) {
    if (options.format.empty() ? report.extension == extension : report.name == options.format) {
      return report;
    }
  }
  if (!options.format.empty()) {
    throw Error("--format", "unknown format '{}'; expected one of: {}", options.format,
                format_names());
  }
  throw Error("-o", "the name '{}' does not tell the format; add --format with one of: {}",
              options.output, format_names());
}

/// Writes beside the file and renames, so that it is there whole or not at all.
void write_file(const fs::path& path, const std::string& text) {
  if (fs::is_directory(path)) throw Error(path.string(), "is a folder; name a file with -o");
  const fs::path beside = path.string() + "." + std::to_string(getpid()) + ".tmp";
  std::ofstream file(beside, std::ios::binary);
  file << text;
  file.close();
  std::error_code error;
  if (file) fs::rename(beside, path, error);
  if (!file || error) {
    std::error_code ignored;
    fs::remove(beside, ignored);
    throw Error(path.string(),
                "the report cannot be written; check that the folder exists, may be written to and "
                "has {} bytes left",
                text.size());
  }
}

int write_report(const ReportOptions& options) {
  const Report& report = choose_report(options);
  const Results results = ResultReader(options.database).results(options.runs);
  std::ostringstream text;
  report.write(results, text);
  if (options.output != "-") {
    write_file(options.output, text.str());
    return 0;
  }
  std::cout << text.str() << std::flush;
  if (!std::cout) throw Error("stdout", "the report cannot be written; is the pipe closed?");
  return 0;
}

}  // namespace

Action setup_report(CLI::App& app) {
  const auto options = std::make_shared<ReportOptions>();
  app.add_option("--db", options->database, "Results database")->capture_default_str();
  app.add_option("--run", options->runs, "Only these runs: uid, start of a uid, or name of a sweep")
      ->delimiter(',');
  std::string formats = "Format, by default from the name of the file:";
  for (const Report& report : reports()) {
    formats += "\n" + std::string(report.name) + ": " + std::string(report.summary);
  }
  app.add_option("--format", options->format, formats);
  app.add_option("-o,--output", options->output, "File to write, - for standard output")
      ->required();
  return [options] { return write_report(*options); };
}

}  // namespace sala
