// Rows of the tables kernel_profile and kernel_counter.
// SPDX-License-Identifier: Apache-2.0
#include "harness/store/profile_rows.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <map>
#include <utility>

#include "engine/base/error.h"
#include "harness/store/database.h"

namespace sala {
namespace {

std::int64_t find_run(SQLite::Database& db, const std::filesystem::path& path,
                      const std::string& id) {
  SQLite::Statement row(db,
                        "SELECT run_id FROM run JOIN cell USING(cell_id) "
                        "JOIN sweep s USING(sweep_id) WHERE run.uid = ?1 OR s.uid = ?1");
  row.bind(1, id);
  if (!row.executeStep()) {
    throw Error(path.string(), "has no run '{}'; give its whole uid", id);
  }
  const std::int64_t run_id = row.getColumn(0).getInt64();
  if (row.executeStep()) {
    throw Error(path.string(), "'{}' has several runs; give the uid of one of them", id);
  }
  return run_id;
}

std::int64_t stage_id(SQLite::Database& db, const std::string& name) {
  SQLite::Statement add(db, "INSERT INTO stage(name) VALUES(?) ON CONFLICT(name) DO NOTHING");
  add.bind(1, name);
  add.exec();
  SQLite::Statement row(db, "SELECT stage_id FROM stage WHERE name = ?");
  row.bind(1, name);
  row.executeStep();
  return row.getColumn(0).getInt64();
}

template <typename... Values>
void execute(SQLite::Statement& statement, const Values&... values) {
  int index = 0;
  (statement.bind(++index, values), ...);
  statement.exec();
  statement.reset();
}

}  // namespace

void store_kernels(const std::filesystem::path& path, const std::string& id,
                   const KernelProfileRow& profile) {
  const auto database = open_for_writing(path);
  with_store_errors(path, [&] {
    SQLite::Database& db = *database;
    SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
    const std::int64_t run_id = find_run(db, path, id);
    for (const char* sql : {"DELETE FROM kernel_profile WHERE run_id = ? AND tool = ?",
                            "DELETE FROM kernel_counter WHERE run_id = ? AND tool = ?"}) {
      SQLite::Statement remove(db, sql);
      execute(remove, run_id, profile.tool);
    }
    SQLite::Statement add(db, "INSERT INTO kernel_profile VALUES(?,?,?,?,?,?,?,?,?,?)");
    SQLite::Statement add_counter(db, "INSERT INTO kernel_counter VALUES(?,?,?,?,?,?,?,?)");
    for (const KernelRow& row : profile.kernels) {
      const std::int64_t stage = stage_id(db, row.stage);
      execute(add, run_id, stage, row.kernel, profile.tool, row.n, row.total_ns, row.min_ns,
              row.p50_ns, row.p99_ns, row.max_ns);
      for (const CounterRow& counter : row.counters) {
        execute(add_counter, run_id, stage, row.kernel, profile.tool, counter.name, counter.n,
                counter.value, counter.unit);
      }
    }
    transaction.commit();
  });
}

std::vector<KernelProfileRow> read_kernels(const SQLite::Database& database, std::int64_t run_id) {
  std::vector<KernelProfileRow> profiles;
  if (!database.tableExists("kernel_profile")) return profiles;
  SQLite::Statement kernel(
      database,
      "SELECT p.tool, s.name, p.kernel, p.n, p.total_ns, p.min_ns, p.p50_ns, p.p99_ns, p.max_ns, "
      "p.stage_id FROM kernel_profile p JOIN stage s USING(stage_id) WHERE p.run_id = ? "
      "ORDER BY p.tool, p.total_ns DESC, s.name, p.kernel");
  kernel.bind(1, run_id);
  SQLite::Statement counter(
      database,
      "SELECT counter, unit, n, value FROM kernel_counter "
      "WHERE run_id = ? AND stage_id = ? AND kernel = ? AND tool = ? ORDER BY counter");
  while (kernel.executeStep()) {
    const std::string tool = kernel.getColumn(0).getString();
    if (profiles.empty() || profiles.back().tool != tool) profiles.push_back({tool, {}});
    KernelRow& row =
        profiles.back().kernels.emplace_back(KernelRow{.stage = kernel.getColumn(1).getString(),
                                                       .kernel = kernel.getColumn(2).getString(),
                                                       .n = kernel.getColumn(3).getInt64(),
                                                       .total_ns = kernel.getColumn(4).getInt64(),
                                                       .min_ns = kernel.getColumn(5).getInt64(),
                                                       .p50_ns = kernel.getColumn(6).getInt64(),
                                                       .p99_ns = kernel.getColumn(7).getInt64(),
                                                       .max_ns = kernel.getColumn(8).getInt64()});
    counter.bind(1, run_id);
    counter.bind(2, kernel.getColumn(9).getInt64());
    counter.bind(3, row.kernel);
    counter.bind(4, tool);
    while (counter.executeStep()) {
      row.counters.push_back({.name = counter.getColumn(0).getString(),
                              .unit = counter.getColumn(1).getString(),
                              .n = counter.getColumn(2).getInt64(),
                              .value = counter.getColumn(3).getDouble()});
    }
    counter.reset();
  }
  return profiles;
}

}  // namespace sala
