// Reads back what Nsight Systems and Nsight Compute recorded.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/nsight_report.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <system_error>

#include "engine/base/error.h"
#include "harness/profile/ncu_reader.h"
#include "harness/profile/nsys_reader.h"
#include "harness/profile/run_tool.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

/// Output of a command that is to succeed.
std::string output_of(const std::vector<std::string>& command, const fs::path& file) {
  std::string text;
  const int code = run_tool(command, false, [&](std::string_view line) {
    text += line;
    text += '\n';
  });
  if (code != 0) {
    throw Error(file.string(), "{} cannot read it (exit code {}): {}", command[0], code,
                text.substr(0, text.find('\n')));
  }
  return text;
}

/// An interrupted export leaves a broken file, so it gets its name when it is whole.
fs::path export_nsys(const fs::path& report) {
  fs::path part = report;
  part.replace_extension(".part.sqlite");
  fs::path whole = report;
  whole.replace_extension(".sqlite");
  output_of({require_nsight("nsys"), "export", "--type=sqlite", "--force-overwrite=true",
             "--output=" + part.string(), report},
            report);
  std::error_code error;
  fs::rename(part, whole, error);
  if (error) {
    throw Error(report.string(), "nsys made no export of it at {}: {}", part.string(),
                error.message());
  }
  return whole;
}

std::string whole_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

NsightReport read_nsight_report(const fs::path& file) {
  const std::string extension = file.extension();
  if (!fs::is_regular_file(file)) throw Error(file.string(), "is no file");
  if (extension == ".nsys-rep") return {"nsys", read_nsys_export(export_nsys(file))};
  if (extension == ".sqlite") return {"nsys", read_nsys_export(file)};
  if (extension == ".ncu-rep") {
    const std::string text = output_of({require_nsight("ncu"), "--import", file, "--page", "raw",
                                        "--csv", "--print-units", "base"},
                                       file);
    return {"ncu", read_ncu_csv(text, file)};
  }
  if (extension == ".csv") return {"ncu", read_ncu_csv(whole_text(file), file)};
  throw Error(file.string(),
              "is none of .nsys-rep, .sqlite (of nsys export), .ncu-rep, .csv (of ncu --page raw)");
}

}  // namespace sala
