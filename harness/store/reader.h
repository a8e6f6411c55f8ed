// The reading side of the results database: everything that reports and comparisons see.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/ceilings.h"
#include "harness/store/fidelity_rows.h"
#include "harness/store/profile_rows.h"

namespace SQLite {
class Database;
}

namespace sala {

struct ModelRecord {
  std::string name;
  std::string dtype;
  std::string weights_sha256;
  std::string tokenizer_sha256;
  std::int64_t n_layers = 0;
  std::vector<std::string> layer_pattern;  // kind per layer
};

/// A machine, the binary that ran on it, and what else can move a number.
struct EnvironmentRecord {
  std::string env_hash;
  std::string hostname;
  std::string cpu_model;
  std::int64_t n_cores = 0;
  std::int64_t ram_bytes = 0;
  std::string os;
  std::string kernel;
  std::string version;
  std::string git_commit;
  bool git_dirty = false;
  std::string compiler;
  std::string flags;
  std::string info;  // JSON object
};

struct SweepRecord {
  std::string uid;
  std::string name;
  std::int64_t created_us = 0;
  std::string spec;  // JSON object: the merged configuration
};

/// What was asked for when memory ran out, or was predicted to.
struct OomRecord {
  std::string category;
  std::int64_t requested_bytes = 0;
  std::optional<std::int64_t> free_bytes;
  bool predicted = false;
};

/// What a GPU's sensors said in a run; nothing where the driver does not say.
struct TelemetryRecord {
  std::int64_t n = 0;
  std::optional<double> min_sm_mhz, max_sm_mhz, max_power_w, max_temp_c;
  std::int64_t event_reasons = 0;  // every bit that was set once
};

/// One attempt of a cell in one process.
struct RunRecord {
  std::string uid;
  std::int64_t attempt = 0;
  std::string status;
  std::string reason;
  std::string grade;  // smoke, probe, measured, reference
  std::int64_t started_us = 0;
  std::int64_t flags = 0;       // bits of rows.h
  std::size_t environment = 0;  // index into Results::environments
  std::vector<std::string> argv;
  std::optional<OomRecord> oom;
  std::optional<TelemetryRecord> telemetry;
  std::vector<KernelProfileRow> kernels;  // by tool
};

struct AnswerRecord {
  std::size_t run = 0;      // index into CellRecord::runs
  std::int64_t prompt = 0;  // equal for two answers exactly when the token ids sent were equal
  std::string prompt_sha256;
  std::int64_t sample_index = 0;
  std::int64_t prompt_tokens = 0;
  std::optional<double> depth_pct;
  std::string cluster;
  std::int64_t seed = 0;
  std::string references;  // JSON
  std::int64_t repeat = 0;
  std::string output;
  std::int64_t n_out = 0;
  std::string finish;
  double score = 0;
  bool correct = false;
  std::string error_class;  // empty when correct
  std::string detail;       // JSON object of the scorer, or empty
  std::optional<std::int64_t> ttft_ns;
  std::optional<std::int64_t> total_ns;
  PromptFidelity fidelity;  // of cells of that kind
};

/// One raw number of a cell: rep counts repetitions, pos is a token position or -1.
struct ValueRecord {
  std::string metric;
  std::string stage;
  std::int64_t rep = 0;
  std::int64_t pos = -1;
  double value = 0;
};

/// Bytes of one category in one phase, of the run of the cell that peaked highest.
struct LedgerRecord {
  std::string phase;
  std::string category;
  std::optional<std::int64_t> planned_bytes;
  std::int64_t peak_bytes = 0;
  std::int64_t at_peak_bytes = 0;  // the only figure that may be added over categories
};

/// Bytes held at the peak: the largest sum of a phase, host memory of a device run left out.
std::int64_t ledger_peak_bytes(const std::vector<LedgerRecord>& ledger);

/// What the driver counts beyond the ledger's peak, in the run whose ledger is kept.
struct DriverMemoryRecord {
  std::int64_t context_bytes = 0;
  std::int64_t unaccounted_bytes = 0;  // may be negative
};

/// What the layers of one path really ran, added over the runs of the cell.
struct RouteRecord {
  std::string phase;
  std::string path;
  std::string kernel;
  std::int64_t n_layers = 0;
  std::int64_t n_calls = 0;
  std::int64_t blocks_read = 0;
  std::int64_t blocks_visible = 0;
};

/// One planned point with everything measured for it, over all of its runs: a cell that was
/// interrupted and resumed reads like one that ran through.
struct CellRecord {
  std::string cell_key;
  std::string compare_key;
  std::string kind;
  std::string mode;
  std::string backend;
  std::string params;  // JSON object
  std::size_t model = 0;
  std::size_t sweep = 0;
  std::string task;                // family; empty for speed cells
  std::string task_params = "{}";  // JSON object: mode, data, sources, label
  std::int64_t task_version = 0;
  std::string scorer;
  std::int64_t scorer_version = 0;
  std::int64_t context_len = 0;
  std::string status;  // ok, or that of the last attempt
  std::vector<RunRecord> runs;
  std::vector<AnswerRecord> answers;
  std::vector<ValueRecord> values;
  std::vector<LedgerRecord> ledger;
  std::optional<DriverMemoryRecord> driver_memory;
  std::optional<Ceilings> ceilings;   // those of the last run that measured them
  std::vector<std::int64_t> flagged;  // samples whose times do not count
  std::vector<RouteRecord> routes;
};

/// A copy of the chosen part of a database, in the order it was planned.
struct Results {
  std::vector<ModelRecord> models;
  std::vector<EnvironmentRecord> environments;
  std::vector<SweepRecord> sweeps;
  std::vector<CellRecord> cells;
};

/// Opens a results database without ever writing to it.
class ResultReader {
 public:
  /// Throws Error when the file is missing, is no results database, is damaged, or is newer.
  explicit ResultReader(const std::filesystem::path& path);
  ~ResultReader();
  ResultReader(const ResultReader&) = delete;
  ResultReader& operator=(const ResultReader&) = delete;

  /// Everything, or only the sweeps and runs named by `ids` (uid, unique start of a uid, name of a
  /// sweep, or commit of the build). Throws Error for an unknown or ambiguous id, or when there is
  /// nothing to read.
  Results results(const std::vector<std::string>& ids = {}) const;

 private:
  std::filesystem::path path_;
  std::unique_ptr<SQLite::Database> database_;
};

}  // namespace sala
