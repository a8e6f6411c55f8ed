// sala report: writes a report from a results database.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/cli/output_file.h"
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

int write_report(const ReportOptions& options) {
  const Report& report = choose_report(options);
  const Results results = ResultReader(options.database).results(options.runs);
  std::ostringstream text;
  report.write(results, text);
  if (options.output != "-") {
    if (fs::is_directory(options.output)) {
      throw Error(options.output, "is a folder; name a file with -o");
    }
    write_whole(options.output, {text.view()});
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
