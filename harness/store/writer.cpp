// The writing side of the results database: one process, one transaction a sample.
// SPDX-License-Identifier: Apache-2.0
#include "harness/store/writer.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/base/sha256.h"
#include "harness/store/database.h"
#include "harness/store/process.h"

namespace sala {
namespace {

struct Metric {
  const char* name;
  const char* unit;
  const char* better;
};

// Registry of metrics. To store a new one: add a row.
constexpr Metric kMetrics[] = {
    {"cold.ttft_ns", "ns", "lower"},          // first request of a process
    {"decode_j_tok", "J/token", "lower"},     // energy_j of decoding over its tokens
    {"device_peak_bytes", "bytes", "lower"},  // largest sum of the engine's ledger
    {"driver_peak_bytes", "bytes", "lower"},  // most that the driver counts for the process
    {"e2e_ns", "ns", "lower"},                // submission to the last real token
    {"energy_counter_j", "J", "none"},  // by the GPU's counter, from before to after a request
    {"energy_j", "J", "lower"},         // power over time; stages total, prefill, decode
    {"gap_ns", "ns", "lower"},          // wall time outside every stage, whole and by phase
    {"host_peak_bytes", "bytes",
     "lower"},                          // resident memory of the process, peak during the sample
    {"itl_ns", "ns", "lower"},          // between outputs pos - 1 and pos
    {"kernel_bytes", "bytes", "none"},  // that one call has to move
    {"kernel_flops", "FLOP", "none"},
    {"kernel_ns", "ns", "lower"},           // of one call of a benchmark
    {"prefill_chunk_ns", "ns", "lower"},    // the chunk that ends with pos tokens in context
    {"prefill_j_tok", "J/token", "lower"},  // energy_j of the prefill over the prompt's tokens
    {"prefill_ns", "ns", "lower"},
    {"prefill_tok_s", "tokens/s", "higher"},
    {"prompt_tokens", "tokens", "none"},
    {"sm_mhz", "MHz", "none"},         // of the GPU's multiprocessors, median over a request
    {"stage_bytes", "bytes", "none"},  // that the stage has to move
    {"stage_calls", "calls", "none"},
    {"stage_flops", "FLOP", "none"},  // of its matrix products
    {"stage_ns", "ns", "lower"},
    {"timing_overhead", "share", "lower"},  // of a request's time, for timing its stages, at most
    {"tpot_ns", "ns", "lower"},             // decode time a token
    {"ttft_ns", "ns", "lower"},             // submission to the first output token
};

void set(SQLite::Statement& statement, int index, const std::string& value) {
  statement.bind(index, value);
}
void set(SQLite::Statement& statement, int index, const char* value) {
  statement.bind(index, value);
}
void set(SQLite::Statement& statement, int index, std::int64_t value) {
  statement.bind(index, value);
}
void set(SQLite::Statement& statement, int index, int value) {
  statement.bind(index, value);
}
void set(SQLite::Statement& statement, int index, bool value) {
  statement.bind(index, value ? 1 : 0);
}
void set(SQLite::Statement& statement, int index, double value) {
  statement.bind(index, value);
}
template <typename T>
void set(SQLite::Statement& statement, int index, const std::optional<T>& value) {
  if (value) {
    set(statement, index, *value);
  } else {
    statement.bind(index);
  }
}

std::optional<std::string> null_if_empty(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

template <typename... Args>
void set_all(SQLite::Statement& statement, const Args&... args) {
  int index = 0;
  (set(statement, ++index, args), ...);
}

template <typename... Args>
void execute(SQLite::Database& db, const char* sql, const Args&... args) {
  SQLite::Statement statement(db, sql);
  set_all(statement, args...);
  statement.exec();
}

/// The integer that a query returns, or nothing.
template <typename... Args>
std::optional<std::int64_t> query(SQLite::Database& db, const char* sql, const Args&... args) {
  SQLite::Statement statement(db, sql);
  set_all(statement, args...);
  if (!statement.executeStep() || statement.getColumn(0).isNull()) return std::nullopt;
  return statement.getColumn(0).getInt64();
}

/// Of a stage named phase.kind.stage; empty for phase.stage.
std::string layer_kind(const std::string& stage) {
  const std::size_t first = stage.find('.');
  const std::size_t last = stage.rfind('.');
  return first < last ? stage.substr(first + 1, last - first - 1) : "";
}

std::int64_t environment_id(SQLite::Database& db, const EnvironmentRow& row) {
  execute(db,
          "INSERT INTO machine(uid,hostname,cpu_model,n_cores,ram_bytes,os,kernel) "
          "VALUES(?,?,?,?,?,?,?) ON CONFLICT(uid) DO NOTHING",
          row.machine_uid, row.hostname, row.cpu_model, row.n_cores, row.ram_bytes, row.os,
          row.kernel);
  const auto machine = query(db, "SELECT machine_id FROM machine WHERE uid=?", row.machine_uid);
  execute(db,
          "INSERT INTO build(git_commit,git_dirty,diff_sha256,version,compiler,flags) "
          "VALUES(?,?,?,?,?,?) ON CONFLICT DO NOTHING",
          row.git_commit, row.git_dirty, row.diff_sha256, row.version, row.compiler, row.flags);
  const auto build = query(
      db,
      "SELECT build_id FROM build WHERE git_commit=? AND diff_sha256=? AND compiler=? AND flags=?",
      row.git_commit, row.diff_sha256, row.compiler, row.flags);
  const std::string hash = sha256_hex(
      nlohmann::json{row.machine_uid, row.kernel, row.cpu_model, row.git_commit, row.diff_sha256,
                     row.compiler, row.flags, row.cpu_governor, row.driver, row.info}
          .dump());
  execute(db,
          "INSERT INTO environment(env_hash,machine_id,build_id,driver,clock_policy,power_limit_w,"
          "cpu_governor,info) VALUES(?,?,?,?,'unknown',?,?,?) ON CONFLICT(env_hash) DO NOTHING",
          hash, machine, build, null_if_empty(row.driver), row.power_limit_w,
          null_if_empty(row.cpu_governor), row.info);
  return *query(db, "SELECT env_id FROM environment WHERE env_hash=?", hash);
}

std::int64_t model_id(SQLite::Database& db, const ModelRow& row) {
  execute(db,
          "INSERT INTO model(name,weights_sha256,tokenizer_sha256,dtype,n_layers,layer_pattern,"
          "config) VALUES(?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
          row.name, row.weights_sha256, row.tokenizer_sha256, row.dtype,
          static_cast<std::int64_t>(row.layer_pattern.size()),
          nlohmann::json(row.layer_pattern).dump(), row.config);
  return *query(db,
                "SELECT model_id FROM model WHERE weights_sha256=? AND tokenizer_sha256=? AND "
                "dtype=?",
                row.weights_sha256, row.tokenizer_sha256, row.dtype);
}

std::int64_t task_id(SQLite::Database& db, const TaskRow& row) {
  const std::string hash = sha256_hex(row.params);
  execute(db,
          "INSERT INTO task(family,version,scorer,scorer_version,params,params_sha256) "
          "VALUES(?,?,?,?,?,?) ON CONFLICT DO NOTHING",
          row.family, row.version, row.scorer, row.scorer_version, row.params, hash);
  return *query(db,
                "SELECT task_id FROM task WHERE family=? AND version=? AND scorer=? AND "
                "scorer_version=? AND params_sha256=?",
                row.family, row.version, row.scorer, row.scorer_version, hash);
}

std::int64_t prompt_id(SQLite::Database& db, std::int64_t task, const PromptRow& row) {
  execute(db,
          "INSERT INTO prompt(task_id,tokens_sha256,target_len,n_tokens,gen_budget,depth_pct,"
          "cluster,seed,answer,sample_index) VALUES(?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
          task, row.tokens_sha256, row.target_len, row.n_tokens, row.gen_budget, row.depth_pct,
          row.cluster, row.seed, row.answer, row.sample_index);
  const bool is_new = db.getChanges() > 0;
  const std::int64_t id =
      *query(db,
             "SELECT prompt_id FROM prompt WHERE task_id=? AND seed=? AND target_len=? AND "
             "sample_index=? AND tokens_sha256=?",
             task, row.seed, row.target_len, row.sample_index, row.tokens_sha256);
  if (is_new) {
    std::int64_t index = 0;
    for (const auto& [begin, end] : row.needles) {
      execute(db, "INSERT INTO prompt_needle VALUES(?,?,?,?)", id, index++, begin, end);
    }
  }
  return id;
}

/// Marks what dead processes left behind; throws when a live one works on the sweep.
void close_abandoned_runs(SQLite::Database& db, const std::filesystem::path& path,
                          std::int64_t sweep) {
  struct Running {
    std::int64_t run_id, heartbeat_us, sweep_id;
    std::string identity;
  };
  std::vector<Running> found;
  SQLite::Statement row(db,
                        "SELECT run_id, COALESCE(heartbeat_us,started_us), sweep_id, "
                        "COALESCE(scheduler,'{}') FROM run JOIN cell USING(cell_id) "
                        "WHERE status='running'");
  while (row.executeStep()) {
    found.push_back({row.getColumn(0).getInt64(), row.getColumn(1).getInt64(),
                     row.getColumn(2).getInt64(), row.getColumn(3).getString()});
  }
  for (const Running& run : found) {
    if (run.identity == process_identity() || !process_is_alive(run.identity, run.heartbeat_us)) {
      execute(db,
              "UPDATE run SET status='killed', status_reason='the process is gone', ended_us=? "
              "WHERE run_id=?",
              run.heartbeat_us, run.run_id);
    } else if (run.sweep_id == sweep) {
      throw Error(path.string(),
                  "another sala works on these cells right now: {}; wait for it or stop it",
                  run.identity);
    }
  }
}

}  // namespace

struct ResultWriter::Impl {
  std::filesystem::path path;
  std::string argv;
  std::unique_ptr<SQLite::Database> db;
  std::mutex mutex;  // held by every call: a signal may close the run from another thread
  std::map<std::string, std::int64_t> metrics;
  std::map<std::string, std::int64_t> stages;
  std::int64_t sweep_id = 0;
  std::int64_t env_id = 0;
  std::vector<std::int64_t> cell_ids;
  std::vector<std::optional<std::int64_t>> task_ids;
  std::int64_t run_id = 0;  // 0: none in progress
  std::size_t run_cell = 0;
  std::int64_t run_peak_bytes = -1;

  /// Runs `action` as one transaction, taken for writing at once.
  template <typename Action>
  void transact(Action&& action) {
    const std::lock_guard lock(mutex);
    with_store_errors(path, [&] {
      SQLite::Transaction transaction(*db, SQLite::TransactionBehavior::IMMEDIATE);
      action();
      transaction.commit();
    });
  }

  std::int64_t stage_id(const std::string& name) {
    const auto known = stages.find(name);
    if (known != stages.end()) return known->second;
    execute(*db, "INSERT INTO stage(name,layer_kind) VALUES(?,?) ON CONFLICT(name) DO NOTHING",
            name, null_if_empty(layer_kind(name)));
    const std::int64_t id = *query(*db, "SELECT stage_id FROM stage WHERE name=?", name);
    stages.emplace(name, id);
    return id;
  }

  void add_cell(const CellRow& row) {
    const std::optional<std::int64_t> task =
        row.task ? std::optional(task_id(*db, *row.task)) : std::nullopt;
    execute(*db,
            "INSERT INTO cell(sweep_id,cell_key,compare_key,kind,mode,backend,model_id,task_id,"
            "context_len,params,est_bytes) VALUES(?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            sweep_id, row.cell_key, row.compare_key, row.kind, row.mode, row.backend,
            model_id(*db, row.model), task, row.context_len, row.params, row.est_bytes);
    cell_ids.push_back(*query(*db, "SELECT cell_id FROM cell WHERE sweep_id=? AND cell_key=?",
                              sweep_id, row.cell_key));
    task_ids.push_back(task);
  }

  /// Returns the id of the prompt.
  std::int64_t add_answer(const PromptRow& prompt, const AnswerRow& answer) {
    const std::int64_t id = prompt_id(*db, *task_ids[run_cell], prompt);
    execute(*db,
            "INSERT INTO answer(run_id,prompt_id,output,output_tokens_sha256,n_out,finish,score,"
            "correct,error_class,scorer_detail,ttft_ns,total_ns) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
            run_id, id, answer.output, answer.output_tokens_sha256, answer.n_out, answer.finish,
            answer.score, answer.error_class.empty(), null_if_empty(answer.error_class),
            null_if_empty(answer.scorer_detail), answer.ttft_ns, answer.total_ns);
    return id;
  }

  void add_values(const std::vector<ValueRow>& values) {
    SQLite::Statement insert(*db,
                             "INSERT INTO sample(run_id,metric_id,stage_id,rep,pos,value,flags) "
                             "VALUES(?,?,?,?,?,?,?)");
    for (const ValueRow& row : values) {
      set_all(insert, run_id, metrics.at(row.metric), stage_id(row.stage), row.rep, row.pos,
              row.value, row.flags);
      insert.exec();
      insert.reset();
    }
  }

  void add_ceilings(const Ceilings& ceilings) {
    const auto add = [&](const char* kind, double value, const char* unit) {
      if (value > 0) execute(*db, "INSERT INTO ceiling VALUES(?,?,?,?)", run_id, kind, value, unit);
    };
    add("gemm_square", ceilings.gemm_flops_per_s, "FLOP/s");
    add("gemm_narrow", ceilings.narrow_gemm_flops_per_s, "FLOP/s");
    add("gemm_row", ceilings.row_gemm_flops_per_s, "FLOP/s");
    add("mem_copy", ceilings.copy_bytes_per_s, "B/s");
    add("exp", ceilings.exp_per_s, "1/s");
    add("launch", ceilings.launch_s, "s");
  }

  void add_telemetry(const std::vector<TelemetryRow>& rows) {
    // A calendar clock that is set back may come to the same instant twice.
    SQLite::Statement insert(
        *db, "INSERT INTO telemetry VALUES(?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING");
    for (const TelemetryRow& row : rows) {
      set_all(insert, run_id, row.t_us, row.sm_mhz, row.mem_mhz, row.power_w, row.temp_c,
              row.event_reasons, row.mem_used);
      insert.exec();
      insert.reset();
    }
  }

  /// Keeps the ledger of the sample with the highest peak: its parts add up to that peak.
  void replace_ledger(const SampleRow& sample) {
    if (sample.memory.empty() || sample.peak_bytes <= run_peak_bytes) return;
    execute(*db, "DELETE FROM memory_ledger WHERE run_id=?", run_id);
    for (const MemoryUse& use : sample.memory) {
      execute(*db, "INSERT INTO memory_ledger VALUES(?,'request',?,?,?,?,?)", run_id, use.category,
              use.planned_bytes, use.live_bytes, use.peak_bytes, use.at_peak_bytes);
    }
    if (sample.driver_memory) {
      add_unplanned("context", sample.driver_memory->context_bytes);
      add_unplanned("unaccounted", sample.driver_memory->unaccounted_bytes);
    }
    run_peak_bytes = sample.peak_bytes;
  }

  void add_unplanned(const char* category, std::int64_t bytes) {
    execute(*db, "INSERT INTO memory_ledger VALUES(?,'request',?,NULL,?,?,?)", run_id, category,
            bytes, bytes, bytes);
  }

  void add_route(const std::vector<RouteEntry>& route) {
    for (const RouteEntry& entry : route) {
      execute(*db,
              "INSERT INTO route VALUES(?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET "
              "n_calls=n_calls+excluded.n_calls, blocks_read=blocks_read+excluded.blocks_read, "
              "blocks_visible=blocks_visible+excluded.blocks_visible",
              run_id, entry.layer, entry.phase, entry.path, entry.kernel, entry.n_calls,
              entry.blocks_read, entry.blocks_visible);
    }
  }
};

ResultWriter::ResultWriter(const std::filesystem::path& path, const std::vector<std::string>& argv,
                           int busy_timeout_ms)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->argv = nlohmann::json(argv).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  impl_->db = open_for_writing(path, busy_timeout_ms);
}

ResultWriter::~ResultWriter() = default;

void ResultWriter::open_sweep(const SweepRow& sweep, const EnvironmentRow& environment,
                              const std::vector<CellRow>& cells) {
  Impl& impl = *impl_;
  impl.transact([&] {
    SQLite::Database& db = *impl.db;
    for (const Metric& metric : kMetrics) {
      execute(db, "INSERT INTO metric(name,unit,better) VALUES(?,?,?) ON CONFLICT DO NOTHING",
              metric.name, metric.unit, metric.better);
      impl.metrics[metric.name] =
          *query(db, "SELECT metric_id FROM metric WHERE name=?", metric.name);
    }
    impl.env_id = environment_id(db, environment);
    const std::string hash = sha256_hex(sweep.spec);
    auto id = query(db, "SELECT sweep_id FROM sweep WHERE spec_sha256=?", hash);
    if (!id) {
      execute(db, "INSERT INTO sweep(uid,name,created_us,spec,spec_sha256) VALUES(?,?,?,?,?)",
              make_uid(), sweep.name, now_us(), sweep.spec, hash);
      id = db.getLastInsertRowid();
    }
    impl.sweep_id = *id;
    SQLite::Statement uid(db, "SELECT uid FROM sweep WHERE sweep_id=?");
    uid.bind(1, *id);
    uid.executeStep();
    sweep_uid_ = uid.getColumn(0).getString();
    close_abandoned_runs(db, impl.path, impl.sweep_id);
    for (const CellRow& cell : cells) impl.add_cell(cell);
  });
}

CellState ResultWriter::state(std::size_t cell) const {
  Impl& impl = *impl_;
  const std::lock_guard lock(impl.mutex);
  return with_store_errors(impl.path, [&] {
    const std::int64_t id = impl.cell_ids.at(cell);
    CellState state;
    SQLite::Statement done(
        *impl.db,
        "SELECT p.sample_index FROM answer JOIN run r USING(run_id) JOIN prompt p USING(prompt_id) "
        "WHERE r.cell_id=?1 AND r.status<>'invalid' UNION "
        "SELECT s.rep FROM sample s JOIN run r USING(run_id) JOIN cell c USING(cell_id) "
        "WHERE r.cell_id=?1 AND c.kind='perf' AND r.status<>'invalid' AND s.metric_id=?2 AND "
        "s.rep>=0");
    set_all(done, id, impl.metrics.at("ttft_ns"));
    while (done.executeStep()) state.done.push_back(done.getColumn(0).getInt64());
    SQLite::Statement runs(*impl.db,
                           "SELECT COUNT(*), COALESCE(SUM(status IN ('error','invalid')),0), "
                           "COALESCE(SUM(status IN ('ok','oom')),0) FROM run WHERE cell_id=?");
    runs.bind(1, id);
    runs.executeStep();
    state.attempts = runs.getColumn(0).getInt64();
    state.failures = runs.getColumn(1).getInt64();
    state.is_final = runs.getColumn(2).getInt64() > 0;
    return state;
  });
}

void ResultWriter::begin_run(std::size_t cell) {
  Impl& impl = *impl_;
  impl.transact([&] {
    SQLite::Database& db = *impl.db;
    close_abandoned_runs(db, impl.path, impl.sweep_id);
    const std::int64_t id = impl.cell_ids.at(cell);
    execute(db,
            "INSERT INTO run(uid,cell_id,attempt,grade,env_id,status,started_us,heartbeat_us,argv,"
            "scheduler) VALUES(?,?,(SELECT COUNT(*)+1 FROM run WHERE cell_id=?),'smoke',?,"
            "'running',?,?,?,?)",
            make_uid(), id, id, impl.env_id, now_us(), now_us(), impl.argv, process_identity());
    impl.run_id = db.getLastInsertRowid();
    impl.run_cell = cell;
    impl.run_peak_bytes = -1;
  });
}

void ResultWriter::append(const SampleRow& sample) {
  Impl& impl = *impl_;
  impl.transact([&] {
    if (sample.answer) {
      const std::int64_t prompt = impl.add_answer(sample.answer->first, sample.answer->second);
      add_fidelity(*impl.db, impl.run_id, prompt, sample.fidelity);
    }
    impl.add_values(sample.values);
    impl.replace_ledger(sample);
    impl.add_route(sample.route);
    impl.add_telemetry(sample.telemetry);
    execute(*impl.db, "UPDATE run SET heartbeat_us=? WHERE run_id=?", now_us(), impl.run_id);
  });
}

void ResultWriter::end_run(const RunEnd& end,
                           const std::vector<std::pair<PromptRow, AnswerRow>>& unanswered) {
  Impl& impl = *impl_;
  impl.transact([&] {
    for (const auto& [prompt, answer] : unanswered) impl.add_answer(prompt, answer);
    if (end.oom) {
      execute(*impl.db,
              "INSERT INTO oom_event(run_id,category,requested_bytes,free_bytes,predicted) "
              "VALUES(?,?,?,?,?)",
              impl.run_id, end.oom->category, end.oom->requested_bytes, end.oom->free_bytes,
              end.oom->predicted);
    }
    if (end.ceilings) impl.add_ceilings(*end.ceilings);
    for (const std::int64_t rep : end.clock_changed) {
      execute(*impl.db, "UPDATE sample SET flags=flags|? WHERE run_id=? AND rep=?",
              kClockChangedFlag, impl.run_id, rep);
    }
    execute(*impl.db,
            "UPDATE run SET status=?, status_reason=?, grade=?, flags=?, ended_us=?, "
            "heartbeat_us=? WHERE run_id=?",
            end.status, null_if_empty(end.reason), end.grade, end.flags, now_us(), now_us(),
            impl.run_id);
  });
  impl.run_id = 0;
}

void ResultWriter::close_interrupted(const std::string& reason) {
  Impl& impl = *impl_;
  std::unique_lock lock(impl.mutex);
  if (impl.run_id != 0) {
    with_store_errors(impl.path, [&] {
      execute(*impl.db,
              "UPDATE run SET status='killed', status_reason=?, ended_us=? WHERE run_id=?", reason,
              now_us(), impl.run_id);
    });
  }
  lock.release();  // the process ends now: nothing may be written any more
}

}  // namespace sala
