// What is written to a results database: plain data, named like the tables it fills.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/ceilings.h"
#include "engine/request.h"
#include "harness/store/fidelity_rows.h"

namespace sala {

// Bits of sample.flags and run.flags. The lower sixteen say that a time means nothing; a sample
// with one is kept and left out of every summary.
constexpr std::int64_t kThrottledFlag = 1 << 0;       // slowed down by heat or power supply
constexpr std::int64_t kClockChangedFlag = 1 << 1;    // another clock than the rest of the run
constexpr std::int64_t kForeignProcessFlag = 1 << 2;  // another process computed on the GPU
constexpr std::int64_t kRouteMismatchFlag = 1 << 7;   // the route is not the mode's
constexpr std::int64_t kGuardFailedFlag = 1 << 12;    // a prompt or answer is not what it has to be
constexpr std::int64_t kHardFlags = 0xffff;
constexpr std::int64_t kPowerCappedFlag = 1 << 16;      // at the power limit, as long products are
constexpr std::int64_t kEnergyDisagreesFlag = 1 << 17;  // counter and power differ by over 10 %
constexpr std::int64_t kOverheadFlag = 1 << 22;         // timing the stages took over 1 %
constexpr std::int64_t kLedgerGapFlag = 1 << 18;  // the driver counts more or less than the ledger

/// The binary, the machine, and everything around them that can move a number.
struct EnvironmentRow {
  std::string machine_uid;
  std::string hostname;
  std::string cpu_model;
  std::int64_t n_cores = 0;
  std::int64_t ram_bytes = 0;
  std::string os;
  std::string kernel;
  std::string git_commit;
  bool git_dirty = false;
  std::string diff_sha256;  // identifies a binary built from uncommitted changes
  std::string version;
  std::string compiler;
  std::string flags;
  std::string cpu_governor;  // empty: not readable
  std::string driver;        // of the GPU; empty: none or not readable
  std::optional<double> power_limit_w;
  std::string info;  // JSON object
};

struct ModelRow {
  std::string name;
  std::string weights_sha256;
  std::string tokenizer_sha256;
  std::string dtype;
  std::vector<std::string> layer_pattern;
  std::string config;  // JSON
};

struct TaskRow {
  std::string family;
  std::int64_t version = 1;
  std::string scorer;
  std::int64_t scorer_version = 1;
  std::string params;  // canonical JSON
};

struct CellRow {
  std::string cell_key;
  std::string compare_key;
  std::string kind;
  std::string mode;
  std::string backend;
  ModelRow model;
  std::optional<TaskRow> task;  // none for perf cells
  std::int64_t context_len = 0;
  std::string params;  // canonical JSON
  std::int64_t est_bytes = 0;
};

struct SweepRow {
  std::string name;
  std::string spec;  // canonical JSON; its hash finds the sweep again
};

struct PromptRow {
  std::string tokens_sha256;
  std::int64_t target_len = 0;
  std::int64_t n_tokens = 0;
  std::int64_t gen_budget = 0;
  std::optional<double> depth_pct;
  std::string cluster;
  std::int64_t seed = 0;
  std::string answer;  // JSON array of references
  std::int64_t sample_index = 0;
  std::vector<std::pair<std::int64_t, std::int64_t>> needles;  // token spans, end excluded
};

struct AnswerRow {
  std::string output;  // valid UTF-8
  std::string output_tokens_sha256;
  std::int64_t n_out = 0;
  std::string finish;  // eos, length, error
  double score = 0;
  std::string error_class;    // empty when the score is 1
  std::string scorer_detail;  // JSON or empty
  std::optional<std::int64_t> ttft_ns;
  std::optional<std::int64_t> total_ns;
};

/// One raw number; the metric must be in the registry of writer.cpp.
struct ValueRow {
  std::string metric;
  std::string stage = "total";
  std::int64_t rep = 0;  // sample index; below 0 for warm-ups
  std::int64_t pos = -1;
  double value = 0;
  std::int64_t flags = 0;
};

/// The sensors of a GPU at one moment; nothing where the driver does not say.
struct TelemetryRow {
  std::int64_t t_us = 0;
  std::optional<double> sm_mhz;
  std::optional<double> mem_mhz;
  std::optional<double> power_w;
  std::optional<double> temp_c;
  std::optional<std::int64_t> event_reasons;
  std::optional<std::int64_t> mem_used;
};

/// What the driver counts for the process at its most, beyond what the engines' ledgers hold.
struct DriverMemory {
  std::int64_t context_bytes = 0;      // after the first request: context, code, library handles
  std::int64_t unaccounted_bytes = 0;  // come since, and named by nothing; may be negative
};

/// Everything of one sample, committed together.
struct SampleRow {
  std::optional<std::pair<PromptRow, AnswerRow>> answer;  // none for perf cells
  std::vector<ValueRow> values;
  std::vector<MemoryUse> memory;
  std::int64_t peak_bytes = 0;
  std::optional<DriverMemory> driver_memory{};
  std::vector<RouteEntry> route;
  std::vector<TelemetryRow> telemetry{};
  PromptFidelity fidelity{};  // of the answer's prompt
};

struct OomRow {
  std::string category;
  std::int64_t requested_bytes = 0;
  std::int64_t free_bytes = 0;
  bool predicted = false;
};

/// How a run ended.
struct RunEnd {
  std::string status;  // ok, oom, error, invalid, killed
  std::string reason;  // empty only when ok
  std::string grade = "smoke";
  std::int64_t flags = 0;
  std::vector<std::int64_t> clock_changed{};  // samples that ran at another clock than the others
  std::optional<OomRow> oom;
  std::optional<Ceilings> ceilings{};  // of the device, measured in this process
};

/// What is known of a cell when its sweep is opened.
struct CellState {
  std::vector<std::int64_t> done;  // sample indices with a stored result
  std::int64_t attempts = 0;       // runs so far
  std::int64_t failures = 0;       // of them: error or invalid
  bool is_final = false;           // answered as a whole: ok or out of memory
};

}  // namespace sala
