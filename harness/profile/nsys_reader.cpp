// Reads the SQLite export of Nsight Systems.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/nsys_reader.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "engine/base/error.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

// Ids of event types where the file has no table of their names.
constexpr std::int64_t kPushPopRange = 59;
constexpr std::int64_t kDomainCreate = 75;

struct Range {
  std::int64_t thread, start, end;
  std::string name;
};

void check_header(const fs::path& path) {
  constexpr std::string_view kMagic = "SQLite format 3";
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path.string(), "cannot be opened");
  std::string start(kMagic.size(), '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  if (start != kMagic) {
    throw Error(path.string(),
                "is no SQLite file; make one with: nsys export --type=sqlite FILE.nsys-rep");
  }
}

/// Tables are there only when they hold something.
void check_table(const SQLite::Database& db, const std::string& path, const std::string& table,
                 const std::vector<std::string>& columns, const char* missing) {
  if (!db.tableExists(table)) throw Error(path, "has no table {}: {}", table, missing);
  std::set<std::string> known;
  SQLite::Statement row(db, "SELECT name FROM pragma_table_info(?)");
  row.bind(1, table);
  while (row.executeStep()) known.insert(row.getColumn(0).getString());
  for (const std::string& column : columns) {
    if (!known.contains(column)) {
      throw Error(path, "its table {} has no column {}; export the report with a newer nsys", table,
                  column);
    }
  }
}

void check_tables(const SQLite::Database& db, const std::string& path) {
  check_table(db, path, "CUPTI_ACTIVITY_KIND_KERNEL",
              {"start", "end", "correlationId", "globalPid", "demangledName"},
              "no kernel ran while nsys captured");
  check_table(db, path, "CUPTI_ACTIVITY_KIND_RUNTIME", {"start", "globalTid", "correlationId"},
              "nsys did not trace CUDA; give it --trace=cuda,nvtx");
  check_table(db, path, "NVTX_EVENTS",
              {"start", "end", "eventType", "text", "textId", "globalTid", "domainId"},
              "it holds no ranges; give nsys --trace=cuda,nvtx and a build with CUDA");
  check_table(db, path, "StringIds", {"id", "value"}, "it is no export of nsys");
}

std::int64_t event_type(const SQLite::Database& db, const char* name, std::int64_t otherwise) {
  if (!db.tableExists("ENUM_NSYS_EVENT_TYPE")) return otherwise;
  SQLite::Statement row(db, "SELECT id FROM ENUM_NSYS_EVENT_TYPE WHERE name = ?");
  row.bind(1, name);
  return row.executeStep() ? row.getColumn(0).getInt64() : otherwise;
}

/// By thread and begin, outer ones first.
std::vector<Range> read_ranges(const SQLite::Database& db) {
  SQLite::Statement row(
      db,
      "SELECT n.globalTid, n.start, n.end, COALESCE(n.text, s.value, '') "
      "FROM NVTX_EVENTS n LEFT JOIN StringIds s ON s.id = n.textId "
      "WHERE n.eventType = ?1 AND n.end IS NOT NULL AND n.domainId IN ("
      "SELECT d.domainId FROM NVTX_EVENTS d LEFT JOIN StringIds x ON x.id = d.textId "
      "WHERE d.eventType = ?2 AND COALESCE(d.text, x.value) = 'sala') "
      "ORDER BY n.globalTid, n.start, n.end DESC");
  row.bind(1, event_type(db, "NvtxPushPopRange", kPushPopRange));
  row.bind(2, event_type(db, "NvtxDomainCreate", kDomainCreate));
  std::vector<Range> ranges;
  while (row.executeStep()) {
    ranges.push_back({row.getColumn(0).getInt64(), row.getColumn(1).getInt64(),
                      row.getColumn(2).getInt64(), row.getColumn(3).getString()});
  }
  return ranges;
}

/// Follows launches and ranges, both by thread and time, with the ranges that are open.
class OpenRanges {
 public:
  explicit OpenRanges(const std::vector<Range>& ranges) : ranges_(ranges) {}

  /// Innermost range at that moment; launches must come in order.
  std::string at(std::int64_t thread, std::int64_t time) {
    for (; next_ < ranges_.size(); ++next_) {
      const Range& range = ranges_[next_];
      if (std::tie(range.thread, range.start) > std::tie(thread, time)) break;
      close(range.thread, range.start);
      open_.push_back(&range);
    }
    close(thread, time);
    return open_.empty() ? kOutsideStages : open_.back()->name;
  }

 private:
  void close(std::int64_t thread, std::int64_t time) {
    while (!open_.empty() && (open_.back()->thread != thread || open_.back()->end < time)) {
      open_.pop_back();
    }
  }

  const std::vector<Range>& ranges_;
  std::size_t next_ = 0;
  std::vector<const Range*> open_;
};

KernelSpan span_of(std::vector<std::pair<std::int64_t, std::int64_t>> kernels) {
  std::ranges::sort(kernels);
  KernelSpan span;
  std::int64_t end = kernels.front().first;
  for (const auto& [start_ns, end_ns] : kernels) {
    span.busy_ns += std::max<std::int64_t>(end_ns - std::max(start_ns, end), 0);
    end = std::max(end, end_ns);
  }
  span.ns = end - kernels.front().first;
  return span;
}

KernelTable read(const SQLite::Database& db, const std::string& path) {
  SQLite::Statement check(db, "PRAGMA quick_check(1)");
  if (!check.executeStep() || check.getColumn(0).getString() != "ok") {
    throw Error(path, "is damaged; export the report again");
  }
  check_tables(db, path);
  const std::vector<Range> ranges = read_ranges(db);
  if (ranges.empty()) {
    throw Error(path,
                "has no ranges of domain sala; it is of another program or of a build without "
                "CUDA");
  }
  OpenRanges open(ranges);
  KernelTally tally;
  std::vector<std::pair<std::int64_t, std::int64_t>> kernels;
  // A call of the runtime and the driver's inside it share an id: the outer one comes first. All
  // kernels of a replayed graph have the id of one launch. Bits 24 to 47 of an id are the process.
  SQLite::Statement row(
      db,
      "SELECT r.globalTid, r.start, k.start, k.end, COALESCE(d.value, 'unknown') "
      "FROM CUPTI_ACTIVITY_KIND_KERNEL k LEFT JOIN StringIds d ON d.id = k.demangledName "
      "LEFT JOIN (SELECT globalTid, MIN(start) AS start, correlationId, "
      "(globalTid >> 24) & 0xFFFFFF AS pid FROM CUPTI_ACTIVITY_KIND_RUNTIME "
      "GROUP BY correlationId, pid) r "
      "ON r.correlationId = k.correlationId AND r.pid = ((k.globalPid >> 24) & 0xFFFFFF) "
      "ORDER BY r.globalTid, r.start");
  while (row.executeStep()) {
    const bool has_launch = !row.getColumn(0).isNull();
    const std::int64_t start_ns = row.getColumn(2).getInt64();
    const std::int64_t end_ns = row.getColumn(3).getInt64();
    if (end_ns < start_ns) throw Error(path, "a kernel ends before it begins; it is damaged");
    kernels.emplace_back(start_ns, end_ns);
    tally.add(has_launch ? open.at(row.getColumn(0).getInt64(), row.getColumn(1).getInt64())
                         : kOutsideStages,
              short_kernel_name(row.getColumn(4).getString()), end_ns - start_ns);
  }
  if (kernels.empty()) throw Error(path, "holds no kernels");
  KernelTable table = tally.table();
  table.span = span_of(std::move(kernels));
  return table;
}

}  // namespace

KernelTable read_nsys_export(const fs::path& path) {
  check_header(path);
  try {
    const SQLite::Database db(path.string(), SQLite::OPEN_READONLY);
    return read(db, path.string());
  } catch (const SQLite::Exception& error) {
    throw Error(path.string(), "cannot be read as an export of nsys: {}", error.what());
  }
}

}  // namespace sala
