// Reads a results database into plain records; one query a table, joined in memory by row id.
// SPDX-License-Identifier: Apache-2.0
#include "harness/store/reader.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "engine/base/error.h"
#include "harness/store/database.h"

namespace sala {
namespace {

using RowIndex = std::map<std::int64_t, std::size_t>;  // database id -> position in a vector

std::string text(const SQLite::Column& column) {
  // getString keeps embedded zero bytes, which a model may well produce.
  return column.isNull() ? std::string() : column.getString();
}

std::optional<std::int64_t> maybe_int(const SQLite::Column& column) {
  if (column.isNull()) return std::nullopt;
  return column.getInt64();
}

std::vector<std::string> string_list(const std::string& json) {
  std::vector<std::string> list;
  for (const auto& item : nlohmann::json::parse(json)) {
    list.push_back(item.is_string() ? item.get<std::string>() : item.dump());
  }
  return list;
}

RowIndex read_models(const SQLite::Database& db, Results& out) {
  RowIndex index;
  SQLite::Statement row(db,
                        "SELECT model_id, name, dtype, weights_sha256, tokenizer_sha256, n_layers, "
                        "layer_pattern FROM model ORDER BY model_id");
  while (row.executeStep()) {
    index[row.getColumn(0).getInt64()] = out.models.size();
    out.models.push_back({.name = text(row.getColumn(1)),
                          .dtype = text(row.getColumn(2)),
                          .weights_sha256 = text(row.getColumn(3)),
                          .tokenizer_sha256 = text(row.getColumn(4)),
                          .n_layers = row.getColumn(5).getInt64(),
                          .layer_pattern = string_list(text(row.getColumn(6)))});
  }
  return index;
}

RowIndex read_environments(const SQLite::Database& db, Results& out) {
  RowIndex index;
  SQLite::Statement row(
      db,
      "SELECT e.env_id, e.env_hash, m.hostname, m.cpu_model, m.n_cores, m.ram_bytes, m.os, "
      "m.kernel, b.version, b.git_commit, b.git_dirty, b.compiler, b.flags, e.info "
      "FROM environment e JOIN machine m USING(machine_id) JOIN build b USING(build_id) "
      "ORDER BY e.env_id");
  while (row.executeStep()) {
    index[row.getColumn(0).getInt64()] = out.environments.size();
    out.environments.push_back({.env_hash = text(row.getColumn(1)),
                                .hostname = text(row.getColumn(2)),
                                .cpu_model = text(row.getColumn(3)),
                                .n_cores = row.getColumn(4).getInt64(),
                                .ram_bytes = row.getColumn(5).getInt64(),
                                .os = text(row.getColumn(6)),
                                .kernel = text(row.getColumn(7)),
                                .version = text(row.getColumn(8)),
                                .git_commit = text(row.getColumn(9)),
                                .git_dirty = row.getColumn(10).getInt() != 0,
                                .compiler = text(row.getColumn(11)),
                                .flags = text(row.getColumn(12)),
                                .info = text(row.getColumn(13))});
  }
  return index;
}

RowIndex read_sweeps(const SQLite::Database& db, Results& out) {
  RowIndex index;
  SQLite::Statement row(
      db, "SELECT sweep_id, uid, name, created_us, spec FROM sweep ORDER BY sweep_id");
  while (row.executeStep()) {
    index[row.getColumn(0).getInt64()] = out.sweeps.size();
    out.sweeps.push_back({.uid = text(row.getColumn(1)),
                          .name = text(row.getColumn(2)),
                          .created_us = row.getColumn(3).getInt64(),
                          .spec = text(row.getColumn(4))});
  }
  return index;
}

/// Cells without their runs.
RowIndex read_cells(const SQLite::Database& db, const RowIndex& models, const RowIndex& sweeps,
                    Results& out) {
  RowIndex index;
  SQLite::Statement row(
      db,
      "SELECT c.cell_id, c.cell_key, c.compare_key, c.kind, c.mode, c.backend, c.params, "
      "c.model_id, c.sweep_id, t.family, t.scorer, c.context_len, t.params, t.version, "
      "t.scorer_version "
      "FROM cell c LEFT JOIN task t USING(task_id) ORDER BY c.cell_id");
  while (row.executeStep()) {
    index[row.getColumn(0).getInt64()] = out.cells.size();
    CellRecord& cell = out.cells.emplace_back();
    cell.cell_key = text(row.getColumn(1));
    cell.compare_key = text(row.getColumn(2));
    cell.kind = text(row.getColumn(3));
    cell.mode = text(row.getColumn(4));
    cell.backend = text(row.getColumn(5));
    cell.params = text(row.getColumn(6));
    cell.model = models.at(row.getColumn(7).getInt64());
    cell.sweep = sweeps.at(row.getColumn(8).getInt64());
    cell.task = text(row.getColumn(9));
    cell.scorer = text(row.getColumn(10));
    cell.context_len = row.getColumn(11).getInt64();
    if (!row.getColumn(12).isNull()) cell.task_params = text(row.getColumn(12));
    cell.task_version = maybe_int(row.getColumn(13)).value_or(0);
    cell.scorer_version = maybe_int(row.getColumn(14)).value_or(0);
    cell.status = "planned";
  }
  return index;
}

void read_answers(const SQLite::Database& db, std::int64_t run_id, CellRecord& cell) {
  SQLite::Statement row(
      db,
      "SELECT p.prompt_id, p.tokens_sha256, p.sample_index, p.n_tokens, p.depth_pct, p.cluster, "
      "p.seed, p.answer, a.repeat, a.output, a.n_out, a.finish, a.score, a.correct, "
      "a.error_class, a.ttft_ns, a.total_ns, a.scorer_detail "
      "FROM answer a JOIN prompt p USING(prompt_id) WHERE a.run_id = ? "
      "ORDER BY p.sample_index, a.prompt_id, a.repeat");
  row.bind(1, run_id);
  std::map<std::pair<std::int64_t, std::int64_t>, std::size_t> earlier;  // prompt and repeat
  for (std::size_t i = 0; i < cell.answers.size(); ++i) {
    earlier[{cell.answers[i].prompt, cell.answers[i].repeat}] = i;
  }
  while (row.executeStep()) {
    AnswerRecord answer;
    answer.run = cell.runs.size() - 1;
    answer.prompt = row.getColumn(0).getInt64();
    answer.prompt_sha256 = text(row.getColumn(1));
    answer.sample_index = row.getColumn(2).getInt64();
    answer.prompt_tokens = row.getColumn(3).getInt64();
    if (!row.getColumn(4).isNull()) answer.depth_pct = row.getColumn(4).getDouble();
    answer.cluster = text(row.getColumn(5));
    answer.seed = row.getColumn(6).getInt64();
    answer.references = text(row.getColumn(7));
    answer.repeat = row.getColumn(8).getInt64();
    answer.output = text(row.getColumn(9));
    answer.n_out = row.getColumn(10).getInt64();
    answer.finish = text(row.getColumn(11));
    answer.score = row.getColumn(12).getDouble();
    answer.correct = row.getColumn(13).getInt() != 0;
    answer.error_class = text(row.getColumn(14));
    answer.ttft_ns = maybe_int(row.getColumn(15));
    answer.total_ns = maybe_int(row.getColumn(16));
    answer.detail = text(row.getColumn(17));
    if (cell.kind == "fidelity") answer.fidelity = read_fidelity(db, run_id, answer.prompt);
    // A prompt answered again by a later attempt counts once.
    const auto known = earlier.find({answer.prompt, answer.repeat});
    if (known == earlier.end()) {
      cell.answers.push_back(std::move(answer));
    } else {
      cell.answers[known->second] = std::move(answer);
    }
  }
}

void read_values(const SQLite::Database& db, std::int64_t run_id, CellRecord& cell) {
  // rep < 0 are warm-ups; flagged values are kept in the database and left out here.
  SQLite::Statement row(db,
                        "SELECT k.name, g.name, s.rep, s.pos, s.value FROM sample s "
                        "JOIN metric k USING(metric_id) JOIN stage g USING(stage_id) "
                        "WHERE s.run_id = ? AND s.rep >= 0 AND s.flags = 0 "
                        "ORDER BY k.name, g.name, s.rep, s.pos");
  row.bind(1, run_id);
  while (row.executeStep()) {
    cell.values.push_back({.metric = text(row.getColumn(0)),
                           .stage = text(row.getColumn(1)),
                           .rep = row.getColumn(2).getInt64(),
                           .pos = row.getColumn(3).getInt64(),
                           .value = row.getColumn(4).getDouble()});
  }
}

/// Samples whose times say nothing, which read_values() leaves out.
void read_flagged(const SQLite::Database& db, std::int64_t run_id, CellRecord& cell) {
  SQLite::Statement row(db, "SELECT DISTINCT rep FROM sample WHERE run_id = ? AND flags <> 0");
  row.bind(1, run_id);
  while (row.executeStep()) cell.flagged.push_back(row.getColumn(0).getInt64());
}

void read_telemetry(const SQLite::Database& db, std::int64_t run_id, RunRecord& run) {
  SQLite::Statement row(db,
                        "SELECT sm_mhz, power_w, temp_c, COALESCE(event_reasons, 0) FROM telemetry "
                        "WHERE run_id = ?");
  row.bind(1, run_id);
  const auto number = [&](int column) -> std::optional<double> {
    if (row.getColumn(column).isNull()) return std::nullopt;
    return row.getColumn(column).getDouble();
  };
  while (row.executeStep()) {
    if (!run.telemetry) run.telemetry.emplace();
    TelemetryRecord& seen = *run.telemetry;
    ++seen.n;
    const std::optional<double> mhz = number(0);
    if (mhz) seen.min_sm_mhz = std::min(seen.min_sm_mhz.value_or(*mhz), *mhz);
    seen.max_sm_mhz = std::max(seen.max_sm_mhz, mhz);
    seen.max_power_w = std::max(seen.max_power_w, number(1));
    seen.max_temp_c = std::max(seen.max_temp_c, number(2));
    seen.event_reasons |= row.getColumn(3).getInt64();
  }
}

void read_ceilings(const SQLite::Database& db, std::int64_t run_id, CellRecord& cell) {
  SQLite::Statement row(db, "SELECT kind, value FROM ceiling WHERE run_id = ?");
  row.bind(1, run_id);
  std::map<std::string, double> values;
  while (row.executeStep()) values[text(row.getColumn(0))] = row.getColumn(1).getDouble();
  if (values.empty()) return;
  cell.ceilings = Ceilings{.gemm_flops_per_s = values["gemm_square"],
                           .narrow_gemm_flops_per_s = values["gemm_narrow"],
                           .row_gemm_flops_per_s = values["gemm_row"],
                           .copy_bytes_per_s = values["mem_copy"],
                           .exp_per_s = values["exp"],
                           .launch_s = values["launch"]};
}

void read_ledger(const SQLite::Database& db, std::int64_t run_id, CellRecord& cell) {
  SQLite::Statement row(db,
                        "SELECT phase, category, planned_bytes, peak_bytes, at_device_peak_bytes "
                        "FROM memory_ledger WHERE run_id = ? ORDER BY phase, category");
  row.bind(1, run_id);
  std::vector<LedgerRecord> rows;
  std::optional<DriverMemoryRecord> driver;
  while (row.executeStep()) {
    const std::string category = text(row.getColumn(1));
    if (category == "context" || category == "unaccounted") {
      if (!driver) driver.emplace();
      (category == "context" ? driver->context_bytes : driver->unaccounted_bytes) =
          row.getColumn(4).getInt64();
      continue;
    }
    rows.push_back({.phase = text(row.getColumn(0)),
                    .category = category,
                    .planned_bytes = maybe_int(row.getColumn(2)),
                    .peak_bytes = row.getColumn(3).getInt64(),
                    .at_peak_bytes = row.getColumn(4).getInt64()});
  }
  // Rows of one run belong together: their sum is a peak that really happened.
  if (ledger_peak_bytes(rows) <= ledger_peak_bytes(cell.ledger)) return;
  cell.ledger = std::move(rows);
  cell.driver_memory = driver;
}

void read_routes(const SQLite::Database& db, std::int64_t run_id, CellRecord& cell) {
  SQLite::Statement row(db,
                        "SELECT phase, path, kernel, COUNT(DISTINCT layer), SUM(n_calls), "
                        "COALESCE(SUM(blocks_read), 0), COALESCE(SUM(blocks_visible), 0) "
                        "FROM route WHERE run_id = ? GROUP BY phase, path, kernel "
                        "ORDER BY phase DESC, path, kernel");
  row.bind(1, run_id);
  while (row.executeStep()) {
    const RouteRecord read{.phase = text(row.getColumn(0)),
                           .path = text(row.getColumn(1)),
                           .kernel = text(row.getColumn(2)),
                           .n_layers = row.getColumn(3).getInt64(),
                           .n_calls = row.getColumn(4).getInt64(),
                           .blocks_read = row.getColumn(5).getInt64(),
                           .blocks_visible = row.getColumn(6).getInt64()};
    const auto same = [&](const RouteRecord& other) {
      return other.phase == read.phase && other.path == read.path && other.kernel == read.kernel;
    };
    const auto known = std::find_if(cell.routes.begin(), cell.routes.end(), same);
    if (known == cell.routes.end()) {
      cell.routes.push_back(read);
    } else {
      known->n_layers = std::max(known->n_layers, read.n_layers);
      known->n_calls += read.n_calls;
      known->blocks_read += read.blocks_read;
      known->blocks_visible += read.blocks_visible;
    }
  }
}

void read_oom(const SQLite::Database& db, std::int64_t run_id, RunRecord& run) {
  SQLite::Statement row(db,
                        "SELECT category, requested_bytes, free_bytes, predicted FROM oom_event "
                        "WHERE run_id = ?");
  row.bind(1, run_id);
  if (!row.executeStep()) return;
  run.oom = OomRecord{.category = text(row.getColumn(0)),
                      .requested_bytes = row.getColumn(1).getInt64(),
                      .free_bytes = maybe_int(row.getColumn(2)),
                      .predicted = row.getColumn(3).getInt() != 0};
}

/// Runs that `ids` name, by run id; nothing when ids is empty, which stands for all of them.
std::optional<std::set<std::int64_t>> chosen_runs(const SQLite::Database& db,
                                                  const std::string& path,
                                                  const std::vector<std::string>& ids) {
  if (ids.empty()) return std::nullopt;
  struct Row {
    std::int64_t run_id;
    std::string run_uid, sweep_uid, sweep_name, commit;
  };
  std::vector<Row> rows;
  SQLite::Statement row(db,
                        "SELECT r.run_id, r.uid, s.uid, s.name, b.git_commit FROM run r "
                        "JOIN cell USING(cell_id) JOIN sweep s USING(sweep_id) "
                        "JOIN environment USING(env_id) JOIN build b USING(build_id) "
                        "ORDER BY r.run_id");
  while (row.executeStep()) {
    rows.push_back({row.getColumn(0).getInt64(), text(row.getColumn(1)), text(row.getColumn(2)),
                    text(row.getColumn(3)), text(row.getColumn(4))});
  }
  std::set<std::int64_t> chosen;
  for (const std::string& id : ids) {
    std::set<std::string> matches;  // full names that this id may stand for
    bool exact = false;
    for (const Row& candidate : rows) {
      for (const std::string* name :
           {&candidate.sweep_uid, &candidate.sweep_name, &candidate.run_uid, &candidate.commit}) {
        if (*name == id) exact = true;
        if (!id.empty() && name->starts_with(id)) matches.insert(*name);
      }
    }
    if (exact) matches = {id};
    if (matches.size() > 1) {
      throw Error(path, "run '{}' is ambiguous: {} uids start like that; give more of it", id,
                  matches.size());
    }
    if (matches.empty()) {
      std::set<std::string> known;
      for (const Row& candidate : rows) {
        known.insert(fmt::format("{} ({})", candidate.sweep_uid, candidate.sweep_name));
      }
      throw Error(path, "has no run '{}'; it holds: {}", id, fmt::join(known, ", "));
    }
    for (const Row& candidate : rows) {
      if (matches.contains(candidate.sweep_uid) || matches.contains(candidate.sweep_name) ||
          matches.contains(candidate.run_uid) || matches.contains(candidate.commit)) {
        chosen.insert(candidate.run_id);
      }
    }
  }
  return chosen;
}

Results read_all(const SQLite::Database& db, const std::string& path,
                 const std::vector<std::string>& ids) {
  Results out;
  const RowIndex models = read_models(db, out);
  const RowIndex environments = read_environments(db, out);
  const RowIndex sweeps = read_sweeps(db, out);
  const RowIndex cells = read_cells(db, models, sweeps, out);
  const auto chosen = chosen_runs(db, path, ids);
  const bool has_sensors = db.tableExists("telemetry");  // not in a file of an older schema

  SQLite::Statement row(db,
                        "SELECT run_id, uid, cell_id, attempt, status, status_reason, started_us, "
                        "env_id, argv, grade, "
                        "flags FROM run ORDER BY cell_id, attempt, run_id");
  while (row.executeStep()) {
    const std::int64_t run_id = row.getColumn(0).getInt64();
    if (chosen && !chosen->contains(run_id)) continue;
    CellRecord& cell = out.cells[cells.at(row.getColumn(2).getInt64())];
    RunRecord& run = cell.runs.emplace_back();
    run.uid = text(row.getColumn(1));
    run.attempt = row.getColumn(3).getInt64();
    run.status = text(row.getColumn(4));
    run.reason = text(row.getColumn(5));
    run.started_us = row.getColumn(6).getInt64();
    run.environment = environments.at(row.getColumn(7).getInt64());
    run.argv = string_list(text(row.getColumn(8)));
    run.grade = text(row.getColumn(9));
    run.flags = row.getColumn(10).getInt64();
    if (cell.status != "ok") cell.status = run.status;
    run.kernels = read_kernels(db, run_id);
    read_oom(db, run_id, run);
    if (has_sensors) {
      read_telemetry(db, run_id, run);
      read_ceilings(db, run_id, cell);
    }
    if (run.status == "invalid") continue;  // its numbers are kept, and used nowhere
    read_ledger(db, run_id, cell);
    read_answers(db, run_id, cell);
    read_values(db, run_id, cell);
    read_flagged(db, run_id, cell);
    read_routes(db, run_id, cell);
  }
  if (chosen) {
    std::erase_if(out.cells, [](const CellRecord& cell) { return cell.runs.empty(); });
  }
  return out;
}

}  // namespace

std::int64_t ledger_peak_bytes(const std::vector<LedgerRecord>& ledger) {
  std::map<std::string_view, std::int64_t> sums;
  std::int64_t peak = 0;
  for (const LedgerRecord& row : ledger) {
    if (row.category.starts_with("host_")) continue;
    peak = std::max(peak, sums[row.phase] += row.at_peak_bytes);
  }
  return peak;
}

ResultReader::ResultReader(const std::filesystem::path& path)
    : path_(path), database_(open_for_reading(path)) {}

ResultReader::~ResultReader() = default;

Results ResultReader::results(const std::vector<std::string>& ids) const {
  try {
    return with_store_errors(path_, [&] {
      // One transaction: a sweep that writes meanwhile does not show half of a cell.
      SQLite::Transaction snapshot(*database_);
      Results out = read_all(*database_, path_.string(), ids);
      if (out.cells.empty()) {
        throw Error(path_.string(), "holds no results yet; make some with: sala run --db {}",
                    path_.string());
      }
      return out;
    });
  } catch (const nlohmann::json::exception& error) {
    throw Error(path_.string(), "holds broken JSON: {}", error.what());
  }
}

}  // namespace sala
