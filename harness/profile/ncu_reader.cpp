// Reads what Nsight Compute prints of a report.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/ncu_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "engine/base/error.h"

namespace sala {
namespace {

using Record = std::vector<std::string>;

/// Fields between commas, quoted or not; lines of the tool itself, which begin with ==, are none.
class CsvReader {
 public:
  CsvReader(std::string_view text, std::string source) : text_(text), source_(std::move(source)) {}

  /// The first line that is one; before it the tool may have said anything.
  bool next_header(Record& record) {
    while (at_ < text_.size() && !begins("\"ID\",") && !begins("ID,")) skip_line();
    return next(record);
  }
  bool next(Record& record) {
    while (begins("==") || begins("\n") || begins("\r\n")) skip_line();
    record_line_ = line_;
    if (at_ >= text_.size()) return false;
    record.clear();
    while (field(record.emplace_back())) {
    }
    return true;
  }
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw Error(source_, "line {}: {}", record_line_,
                fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  bool begins(std::string_view start) const { return text_.substr(at_).starts_with(start); }
  void skip_line() {
    const std::size_t end = text_.find('\n', at_);
    at_ = end == std::string_view::npos ? text_.size() : end + 1;
    ++line_;
  }
  /// Whether another field of the same record follows.
  bool field(std::string& value) {
    bool quoted = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') ++line_;
      if (c == '"') {
        if (quoted && text_.substr(at_ + 1).starts_with('"')) {
          value += text_[++at_];
        } else {
          quoted = !quoted;
        }
      } else if (!quoted && (c == ',' || c == '\n')) {
        ++at_;
        return c == ',';
      } else if (quoted || c != '\r') {
        value += c;
      }
    }
    if (quoted) fail("a quote is never closed; the file is cut off");
    return false;
  }

  std::string_view text_;
  std::string source_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
  std::int64_t record_line_ = 1;
};

/// What one of that unit is, in ns, bytes or percent; nothing for a unit of something else.
std::optional<double> unit_scale(const std::string& unit) {
  static const std::map<std::string, double> kScales{
      {"ns", 1},        {"nsecond", 1}, {"us", 1e3},     {"usecond", 1e3}, {"ms", 1e6},
      {"msecond", 1e6}, {"s", 1e9},     {"second", 1e9}, {"byte", 1},      {"Kbyte", 1e3},
      {"Mbyte", 1e6},   {"Gbyte", 1e9}, {"Tbyte", 1e12}, {"%", 1}};
  const auto known = kScales.find(unit);
  if (known == kScales.end()) return std::nullopt;
  return known->second;
}

/// With commas between thousands; nothing for a counter that was not collected.
std::optional<double> parse_number(std::string text) {
  std::erase(text, ',');
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

/// From: thread "domain:name:..." "domain:name:...", the outermost range first.
std::string innermost_range(std::string_view ranges) {
  constexpr std::string_view kDomain = "\"sala:";
  const std::size_t last = ranges.rfind(kDomain);
  if (last == std::string_view::npos) return kOutsideStages;
  const std::string_view name = ranges.substr(last + kDomain.size());
  return std::string(name.substr(0, name.find_first_of(":\"")));
}

struct Columns {
  std::size_t kernel = 0;
  std::size_t ranges = 0;
  std::size_t duration = 0;
  std::vector<std::size_t> counters;
};

std::optional<std::size_t> find_column(const Record& header, std::string_view part) {
  const auto found = std::ranges::find_if(
      header, [&](const std::string& name) { return name.find(part) != std::string::npos; });
  if (found == header.end()) return std::nullopt;
  return static_cast<std::size_t>(found - header.begin());
}

Columns find_columns(const Record& header, const CsvReader& csv) {
  const auto required = [&](const char* part, const char* advice) {
    const auto column = find_column(header, part);
    if (!column) csv.fail("no column '{}'; {}", part, advice);
    return *column;
  };
  constexpr const char* kRaw = "make it with: ncu --import FILE.ncu-rep --page raw --csv";
  Columns columns{.kernel = required("Kernel Name", kRaw),
                  .ranges = required("Push/Pop_Range", "collect the report with: ncu --nvtx"),
                  .duration = required(kNcuDuration, kRaw),
                  .counters = {}};
  for (const char* name : kNcuCounters) {
    if (const auto column = find_column(header, name)) columns.counters.push_back(*column);
  }
  return columns;
}

}  // namespace

KernelTable read_ncu_csv(std::string_view text, const std::string& source) {
  CsvReader csv(text, source);
  Record header;
  Record units;
  if (!csv.next_header(header)) {
    throw Error(source,
                "has no header that begins with ID; make it with: ncu --import FILE.ncu-rep --page "
                "raw --csv");
  }
  const Columns columns = find_columns(header, csv);
  if (!csv.next(units) || units.size() != header.size()) {
    csv.fail("expected the units of {} columns", header.size());
  }
  const auto number = [&](const Record& record, std::size_t column) -> std::optional<double> {
    const auto scale = unit_scale(units[column]);
    if (!scale) csv.fail("{} is in '{}', which is no known unit", header[column], units[column]);
    const auto value = parse_number(record[column]);
    if (!value) return std::nullopt;
    return *value * *scale;
  };
  KernelTally tally;
  Record record;
  bool is_empty = true;
  while (csv.next(record)) {
    if (record.size() != header.size()) {
      csv.fail("has {} fields, expected {}; the file is cut off or was edited", record.size(),
               header.size());
    }
    const auto duration = number(record, columns.duration);
    if (!duration || *duration < 0 || *duration > 1e15) {
      csv.fail("'{}' is no duration of a kernel", record[columns.duration]);
    }
    std::vector<KernelCounter> counters;
    for (const std::size_t column : columns.counters) {
      const auto value = number(record, column);
      const std::string unit = units[column] == "%" ? "%" : "byte";
      if (value) counters.push_back({.name = header[column], .unit = unit, .value = *value});
    }
    tally.add(innermost_range(record[columns.ranges]), short_kernel_name(record[columns.kernel]),
              std::llround(*duration), counters);
    is_empty = false;
  }
  if (is_empty) throw Error(source, "holds no kernels");
  return tally.table();
}

}  // namespace sala
