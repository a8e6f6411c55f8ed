// A results database with made-up numbers, the same bytes every time, for tests of what reads it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "harness/store/database.h"

namespace sala {

/// What the made-up sweep holds. The full-attention model is predicted to run out of memory at
/// `oom_length`; the first sample of the first hybrid cell answers with `hostile_output`.
struct ReportFixture {
  std::vector<std::string> tasks{"needle_grid", "niah_single_1", "niah_multivalue", "perplexity"};
  std::vector<std::int64_t> lengths{1024, 4096, 16384, 65536};
  std::int64_t samples = 44;
  std::int64_t oom_length = 65536;
  std::string hostile_output =
      "</script><img src=x onerror=\"document.title='owned'\">|`*\n<!--\x1b[31m";
};

class FixtureWriter {
 public:
  FixtureWriter(const std::filesystem::path& path, const ReportFixture& fixture)
      : fixture_(fixture), database_(open_for_writing(path)), random_(7) {}

  void write() {
    SQLite::Transaction transaction(*database_);
    write_surroundings();
    for (std::size_t t = 0; t < fixture_.tasks.size(); ++t) write_task(t);
    for (const std::int64_t length : fixture_.lengths) {
      for (std::size_t t = 0; t < fixture_.tasks.size(); ++t) {
        write_prompts(t, length);
        for (const bool hybrid : {true, false}) write_cell(t, length, hybrid);
      }
    }
    transaction.commit();
  }

 private:
  template <typename... Values>
  void insert(const std::string& into, const Values&... values) {
    SQLite::Statement statement(*database_, "INSERT INTO " + into);
    int i = 0;
    (statement.bind(++i, values), ...);
    statement.exec();
  }

  static std::string hash(const std::string& kind, std::int64_t i) {
    int letters = 0;
    for (const char c : kind) letters += c;
    return fmt::format("{:08x}{:056x}", letters, i);
  }

  /// Uniform in [0, 1), the same with every standard library.
  double uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

  void write_surroundings() {
    insert(
        "machine VALUES(1,'m1','testhost','Imaginary CPU 9000',2,25769803776,'Debian 12',"
        "'Linux 6.1','{}')");
    insert(
        "build(build_id,git_commit,git_dirty,version,compiler,flags) "
        "VALUES(1,'0123456789abcdef0123456789abcdef01234567',0,'0.1.0','gcc 12.2','-O3')");
    insert(
        "environment(env_id,env_hash,machine_id,build_id,clock_policy,info) VALUES(1,?,1,1,"
        "'unknown',?)",
        hash("env", 1), R"({"libc":"glibc 2.36","variables":{"OMP_NUM_THREADS":"2"}})");
    for (const int id : {1, 2}) {
      const std::string pattern = id == 1 ? R"(["sparse","linear","linear","linear","sparse"])"
                                          : R"(["dense","dense","dense","dense","dense"])";
      insert("model VALUES(?,?,?,?,'bf16',5,?,'{}')", id, id == 1 ? "toy-hybrid" : "toy-full",
             hash("weights", id), hash("tokenizer", 1), pattern);
    }
    insert("sweep VALUES(1,'01-fixture-sweep','fixture',1700000000000000,?,?)",
           R"({"suite":"fixture","seed":42})", hash("sweep", 1));
    const std::vector<std::string> metrics{"ttft_ns",  "prefill_tok_s",     "tpot_ns",
                                           "stage_ns", "device_peak_bytes", "cold.ttft_ns"};
    for (std::size_t i = 0; i < metrics.size(); ++i) {
      insert("metric VALUES(?,?,'ns','lower')", static_cast<std::int64_t>(i) + 1, metrics[i]);
    }
    for (std::size_t i = 0; i < stages().size(); ++i) {
      insert("stage(stage_id,name) VALUES(?,?)", static_cast<std::int64_t>(i) + 1, stages()[i]);
    }
  }

  static const std::vector<std::string>& stages() {
    static const std::vector<std::string> names{"prefill.attend", "prefill.qkv",  "prefill.mlp",
                                                "prefill.output", "prefill.norm", "prefill.logits",
                                                "prefill.embed",  "prefill.rope", "prefill.select",
                                                "decode.attend",  "decode.mlp",   "decode.logits"};
    return names;
  }

  void write_task(std::size_t t) {
    const std::string& name = fixture_.tasks[t];
    insert("task VALUES(?,?,1,?,1,'{}',?)", id_of(t), name,
           name == "perplexity" ? "perplexity" : "ruler_all", hash("task", id_of(t)));
  }

  static std::int64_t id_of(std::size_t i) { return static_cast<std::int64_t>(i) + 1; }

  std::int64_t prompt_id(std::size_t t, std::int64_t length, std::int64_t i) const {
    return (length * 100 + id_of(t)) * 1000 + i;
  }

  void write_prompts(std::size_t t, std::int64_t length) {
    for (std::int64_t i = 0; i < fixture_.samples; ++i) {
      const std::int64_t id = prompt_id(t, length, i);
      insert(
          "prompt(prompt_id,task_id,tokens_sha256,target_len,n_tokens,gen_budget,cluster,seed,"
          "answer,sample_index) VALUES(?,?,?,?,?,16,?,42,?,?)",
          id, id_of(t), hash("prompt", id), length, length - 20, fmt::format("haystack-{}", i),
          fmt::format("[\"{}\"]", 1000000 + id % 9000000), i);
      if (fixture_.tasks[t] == "perplexity") continue;
      const double depth =
          fixture_.tasks[t] == "needle_grid" ? static_cast<double>(i % 11) * 9.9 : 99 * uniform();
      insert("prompt_needle VALUES(?,0,10,14)", id);
      SQLite::Statement set(*database_, "UPDATE prompt SET depth_pct=? WHERE prompt_id=?");
      set.bind(1, depth);
      set.bind(2, id);
      set.exec();
    }
  }

  /// An attempt that was interrupted half way and one that finished the rest, or one alone.
  void write_cell(std::size_t t, std::int64_t length, bool hybrid) {
    const std::int64_t cell = ++cells_;
    insert(
        "cell(cell_id,sweep_id,cell_key,compare_key,kind,mode,backend,model_id,task_id,"
        "context_len,params) VALUES(?,1,?,?,'accuracy',?,'cpu',?,?,?,?)",
        cell, hash("cell", cell), hash("compare", prompt_id(t, length, 0)),
        hybrid ? "hybrid" : "full", hybrid ? 1 : 2, id_of(t), length,
        R"({"settings":{"lse":"exact"}})");
    const bool oom = !hybrid && length == fixture_.oom_length;
    const bool resumed = cell == 1;
    if (resumed) {
      const std::int64_t run = begin_run(cell, 1, "killed", "interrupted by the user");
      for (std::int64_t i = 0; i < fixture_.samples / 2; ++i) write_sample(run, t, length, i, true);
    }
    const std::int64_t run =
        begin_run(cell, resumed ? 2 : 1, oom ? "oom" : "ok", oom ? "kv_full does not fit" : "");
    if (oom) {
      insert(
          "oom_event(run_id,category,requested_bytes,free_bytes,predicted) "
          "VALUES(?,'kv_full',9663676416,4294967296,1)",
          run);
    }
    for (std::int64_t i = resumed ? fixture_.samples / 2 : 0; i < fixture_.samples; ++i) {
      if (oom) {
        write_answer(run, prompt_id(t, length, i), "", 0, "run_failed", false, 0, 0);
      } else {
        write_sample(run, t, length, i, hybrid);
      }
    }
    if (!oom) write_costs(run, length, hybrid);
  }

  std::int64_t begin_run(std::int64_t cell, std::int64_t attempt, const std::string& status,
                         const std::string& reason) {
    const std::int64_t run = ++runs_;
    insert(
        "run(run_id,uid,cell_id,attempt,grade,env_id,status,status_reason,started_us,argv) "
        "VALUES(?,?,?,?,'measured',1,?,NULLIF(?,''),?,?)",
        run, fmt::format("run-{:04}", run), cell, attempt, status, reason,
        std::int64_t{1700000000000000} + run * 1000000,
        R"(["sala","run","--suite","it's quick","--db","fixture.db"])");
    return run;
  }

  void write_answer(std::int64_t run, std::int64_t prompt, const std::string& output, double score,
                    const std::string& error, bool timed, std::int64_t ttft, std::int64_t total,
                    const std::string& detail = "") {
    insert(
        "answer(run_id,prompt_id,output,output_tokens_sha256,n_out,finish,score,correct,"
        "error_class,ttft_ns,total_ns,scorer_detail) "
        "VALUES(?,?,?,'x',8,?,?,?,NULLIF(?,''),NULLIF(?,0),NULLIF(?,0),NULLIF(?,''))",
        run, prompt, output, timed ? "eos" : "error", score, error.empty() ? 1 : 0, error, ttft,
        total, detail);
  }

  void write_value(std::int64_t run, int metric, std::int64_t stage, std::int64_t rep,
                   double value) {
    insert("sample(run_id,metric_id,stage_id,rep,value) VALUES(?,?,?,?,?)", run, metric, stage, rep,
           value);
  }

  void write_sample(std::int64_t run, std::size_t t, std::int64_t length, std::int64_t i,
                    bool hybrid) {
    const auto n = static_cast<double>(length);
    const double noise = 1 + 0.04 * uniform();
    const auto ttft = std::llround(noise * (hybrid ? 6e5 * n : 3.5e5 * n + 30 * n * n));
    const double tpot = noise * (hybrid ? 4e6 + 20 * n : 3e6 + 150 * n);
    const std::int64_t prompt = prompt_id(t, length, i);
    const std::string& task = fixture_.tasks[t];
    if (task == "perplexity") {
      std::string buckets;
      for (std::int64_t from = 1; from < length; from *= 2) {
        buckets += fmt::format(R"({}{{"from":{},"to":{},"n":{},"nll":{}}})", from == 1 ? "" : ",",
                               from, 2 * from, from,
                               3 - 0.12 * std::log2(static_cast<double>(from)) +
                                   (hybrid ? 0.02 : 0.0) + 0.2 * uniform());
      }
      write_answer(run, prompt, "", 0.1, "", true, 0, ttft,
                   fmt::format(R"({{"nll":2.3,"buckets":[{}]}})", buckets));
    } else {
      const double difficulty = std::log2(n / 1024) * (hybrid ? 0.02 : 0.07);
      const bool right = uniform() > difficulty;
      const double score = right ? 1 : task == "niah_multivalue" ? 0.75 : 0;
      const bool hostile = run == 1 && i == 0;
      const std::string output = hostile ? fixture_.hostile_output
                                 : right ? fmt::format("{}", 1000000 + prompt % 9000000)
                                         : "7654321";
      write_answer(run, prompt, output, hostile ? 0 : score,
                   hostile || !right ? (i % 2 == 0 ? "miss" : "garbled") : "", true, ttft,
                   ttft + std::llround(7 * tpot));
    }
    if (i == 0) write_value(run, 6, 0, -1, 3.0 * static_cast<double>(ttft));
    if (task != "perplexity") {
      write_value(run, 1, 0, i, static_cast<double>(ttft));
      write_value(run, 3, 0, i, tpot);
    }
    write_value(run, 2, 0, i, n * 1e9 / static_cast<double>(ttft));
    for (std::size_t s = 0; s < stages().size(); ++s) {
      const bool decode = stages()[s].starts_with("decode");
      if (stages()[s] == "prefill.select" && !hybrid) continue;
      write_value(run, 4, id_of(s), i,
                  (decode ? 7 * tpot : static_cast<double>(ttft)) / static_cast<double>(s + 2));
    }
  }

  void write_costs(std::int64_t run, std::int64_t length, bool hybrid) {
    const auto row = [&](const char* category, std::int64_t bytes) {
      insert("memory_ledger VALUES(?,'prefill',?,?,?,?,?)", run, category, bytes, bytes, bytes,
             bytes);
    };
    row("weights", 24 << 20);
    row("workspace", 18 << 20);
    if (hybrid) {
      row("kv_sparse", length * 2048);
      row("sparse_index", length * 128);
      row("linear_state", 3 << 20);
    } else {
      row("kv_full", length * 10240);
    }
    for (int layer = 0; layer < 5; ++layer) {
      const bool sparse = hybrid && layer % 4 == 0;
      const char* path = sparse ? "sparse" : hybrid ? "linear" : "dense";
      for (const char* phase : {"prefill", "decode"}) {
        insert("route VALUES(?,?,?,?,?,?,?,?)", run, layer, phase, path,
               fmt::format("cpu_{}", path), 8,
               sparse   ? 640
               : hybrid ? 0
                        : length / 64,
               hybrid && !sparse ? 0 : length / 64 + 640);
      }
    }
  }

  ReportFixture fixture_;
  std::unique_ptr<SQLite::Database> database_;
  std::mt19937_64 random_;
  std::int64_t cells_ = 0;
  std::int64_t runs_ = 0;
};

inline void write_report_fixture(const std::filesystem::path& path,
                                 const ReportFixture& fixture = {}) {
  FixtureWriter(path, fixture).write();
}

}  // namespace sala
