// Plans run to the end, are resumed without a gap or a double, and failures are stored results.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/runner.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/base/error.h"
#include "harness/runner/manifest.h"
#include "harness/runner/measure.h"
#include "harness/runner/summary.h"
#include "tests/fake_engine.h"
#include "tests/fake_nvml.h"

namespace sala::testing {
namespace {

namespace fs = std::filesystem;

/// Stands for the death of the process: no error that the runner may handle.
struct Killed {};

class RunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / fmt::format("sala_{}_{}", info->name(), getpid());
    fs::create_directories(folder_);
    db_ = folder_ / "results.db";
    suite_.name = "test";
    suite_.cells = {{"fake", 64, 3}, {"other", 64, 2}, {"fake", 128, 4}};
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// One process: fresh engines, the same plan.
  void run(const FakeEngine::AnswerFunction& hybrid, const FakeEngine::AnswerFunction& full) {
    sides_.clear();
    add_side("model", "hybrid", hybrid);
    add_side("baseline", "full", full);
    engine(1).route_path = full_route_path_;
    for (std::size_t side : {0, 1}) {
      engine(side).engine_info.device_info.uuid = gpu_uuid_;
      if (!has_room_for_ceilings_) engine(side).ceilings.reset();
    }
    const TaskFactory make_task = [](std::string_view name) -> std::unique_ptr<Task> {
      return std::make_unique<FakeTask>(std::string(name));
    };
    const Plan plan = make_plan(suite_, sides_, capture_environment(), make_task);
    std::vector<CellRow> cells;
    cells.reserve(plan.cells.size());
    for (const PlannedCell& cell : plan.cells) cells.push_back(cell.row);
    ResultWriter writer(db_, {"sala", "run"});
    writer.open_sweep(plan.sweep, capture_environment(), cells);
    Progress progress(false);
    run_plan(plan, sides_, make_task, writer, progress, nvml_);
  }
  void run() { run(fake_answer, fake_answer); }

  FakeEngine& engine(std::size_t side) { return static_cast<FakeEngine&>(*sides_[side].engine); }
  int n_requests() { return engine(0).n_requests + engine(1).n_requests; }

  std::int64_t count(const std::string& sql) const {
    SQLite::Database database(db_.string(), SQLite::OPEN_READONLY);
    return database.execAndGet(sql).getInt64();
  }
  std::string text(const std::string& sql) const {
    SQLite::Database database(db_.string(), SQLite::OPEN_READONLY);
    return database.execAndGet(sql).getString();
  }
  /// What must not depend on how often the sweep was interrupted.
  std::string content() const {
    SQLite::Database database(db_.string(), SQLite::OPEN_READONLY);
    std::string rows;
    SQLite::Statement answers(
        database,
        "SELECT c.cell_key, p.tokens_sha256, p.sample_index, a.output, a.score, a.finish, "
        "a.error_class FROM answer a JOIN run r USING(run_id) JOIN cell c USING(cell_id) JOIN "
        "prompt p USING(prompt_id) ORDER BY c.cell_key, p.sample_index");
    while (answers.executeStep()) {
      for (int i = 0; i < answers.getColumnCount(); ++i)
        rows += answers.getColumn(i).getString() + "|";
      rows += "\n";
    }
    SQLite::Statement values(
        database,
        "SELECT c.cell_key, m.name, g.name, s.rep, s.pos, s.value FROM sample s JOIN run "
        "USING(run_id) "
        "JOIN cell c USING(cell_id) JOIN metric m USING(metric_id) JOIN stage g USING(stage_id) "
        "WHERE s.rep>=0 AND m.name<>'host_peak_bytes' ORDER BY 1,2,3,4,5");
    while (values.executeStep()) {
      for (int i = 0; i < values.getColumnCount(); ++i)
        rows += values.getColumn(i).getString() + "|";
      rows += "\n";
    }
    return rows;
  }

  fs::path folder_;
  fs::path db_;
  Suite suite_;
  std::vector<Side> sides_;
  std::string full_route_path_ = "dense";
  std::string gpu_uuid_;
  bool has_room_for_ceilings_ = true;
  const NvmlFunctions& (*nvml_)() = fake_nvml;

 private:
  void add_side(const char* role, const char* mode, const FakeEngine::AnswerFunction& answer) {
    sides_.push_back(
        {.role = role, .options = {}, .engine = std::make_unique<FakeEngine>(role, mode, answer)});
  }
};

TEST_F(RunnerTest, every_planned_sample_is_stored_with_its_numbers) {
  run();
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 18);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer WHERE correct=1"), 18);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 6);
  EXPECT_EQ(count("SELECT COUNT(*) FROM prompt"), 9) << "both sides share their prompts";
  EXPECT_EQ(count("SELECT COUNT(*) FROM prompt_needle WHERE tok_end=tok_begin+20"), 9);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM sample JOIN metric USING(metric_id) WHERE name='ttft_ns' AND "
            "value=1000*(SELECT 56)"),
      10);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM sample JOIN stage USING(stage_id) WHERE name='prefill.qkv'"),
      4 * 18)
      << "its time, calls, work and bytes";
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM sample JOIN metric USING(metric_id) WHERE name='cold.ttft_ns'"),
      2);
  EXPECT_EQ(count("SELECT SUM(at_device_peak_bytes) FROM memory_ledger WHERE run_id=1"),
            1000 + 56 * 8);
  EXPECT_EQ(count("SELECT n_calls FROM route WHERE run_id=1"), 3);
  EXPECT_EQ(count("SELECT COUNT(*) FROM (SELECT DISTINCT base_run FROM v_paired_accuracy)"), 6);
}

TEST_F(RunnerTest, sides_alternate_from_short_to_long) {
  run();
  EXPECT_EQ(text("SELECT group_concat(mode||context_len, ' ') FROM (SELECT * FROM run JOIN cell "
                 "USING(cell_id) ORDER BY run_id)"),
            "hybrid64 full64 hybrid64 full64 hybrid128 full128");
}

TEST_F(RunnerTest, a_finished_sweep_is_not_run_again) {
  run();
  const std::string before = content();
  run();
  EXPECT_EQ(n_requests(), 0);
  EXPECT_EQ(content(), before);
  EXPECT_EQ(count("SELECT COUNT(*) FROM sweep"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run"), 6);
}

TEST_F(RunnerTest, an_interrupted_sweep_is_finished_without_gap_or_double) {
  run();
  const std::string whole = content();
  fs::remove_all(folder_);
  fs::create_directories(folder_);

  std::mt19937_64 random(5);
  int n_answered = 0;
  for (int kills = 0; kills < 6; ++kills) {
    int left = static_cast<int>(random() % 4);
    const auto dying = [&](const std::string& prompt) {
      if (left-- == 0) throw Killed{};
      return fake_answer(prompt);
    };
    EXPECT_THROW(run(dying, dying), Killed);
    const auto stored = static_cast<int>(count("SELECT COUNT(*) FROM answer"));
    EXPECT_GE(stored, n_answered);
    n_answered = stored;
    EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='running'"), 1);
  }
  ASSERT_LT(n_answered, 18);
  run();
  EXPECT_EQ(n_requests(), 18 - n_answered + 2) << "one warm-up a side";
  EXPECT_EQ(content(), whole);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='running'"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='killed'"), 6);
  EXPECT_EQ(count("SELECT SUM(n) FROM v_paired_accuracy"), 18) << "two directions of nine pairs";
  for (const SummaryRow& row : summarize(ResultReader(db_).results())) EXPECT_EQ(row.status, "ok");
}

TEST_F(RunnerTest, an_error_in_one_sample_is_a_stored_miss_and_the_sweep_goes_on) {
  run(
      [](const std::string& prompt) {
        if (fake_answer(prompt) == "1") throw Error("fake", "no such layer");
        return fake_answer(prompt);
      },
      fake_answer);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 18);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM answer WHERE error_class='run_failed' AND finish='error' AND "
            "score=0 AND json_extract(scorer_detail,'$.error') LIKE '%no such layer%'"),
      3);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 6);
  run();
  EXPECT_EQ(n_requests(), 0) << "a failed sample is a result";
}

TEST_F(RunnerTest, out_of_memory_is_a_typed_result_and_its_prompts_are_misses) {
  run(
      [](const std::string& prompt) -> std::string {
        if (prompt.size() > 64 && fake_answer(prompt) != "0") {
          throw OutOfMemory("fake", "kv_full", 5000, 400, true);
        }
        return fake_answer(prompt);
      },
      fake_answer);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 18);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer WHERE error_class='run_failed'"), 3);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='oom' AND status_reason LIKE '%5000%'"),
            1);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM oom_event WHERE category='kv_full' AND requested_bytes=5000 "
            "AND free_bytes=400 AND predicted=1"),
      1);
  EXPECT_EQ(count("SELECT min_oom FROM v_max_context WHERE min_oom IS NOT NULL"), 128);
  run();
  EXPECT_EQ(n_requests(), 0) << "the cell is answered";
}

TEST_F(RunnerTest, memory_refused_by_the_system_is_out_of_memory_too) {
  run([](const std::string&) -> std::string { throw std::bad_alloc(); }, fake_answer);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='oom'"), 3);
  EXPECT_EQ(count("SELECT COUNT(*) FROM oom_event"), 0) << "nothing is known of it";
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 18);
}

TEST_F(RunnerTest, garbage_answers_are_stored_as_valid_text) {
  run([](const std::string&) { return std::string("\xff\x00 \xe4\xb8", 5); }, fake_answer);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer WHERE correct=0 AND error_class IS NOT NULL"), 9);
  EXPECT_NO_THROW(
      static_cast<void>(nlohmann::json(text("SELECT output FROM answer WHERE correct=0")).dump()));
}

TEST_F(RunnerTest, a_run_whose_route_contradicts_its_mode_is_invalid_and_its_answers_do_not_count) {
  full_route_path_ = "sparse";
  run();
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='invalid' AND flags=128"), 3);
  full_route_path_ = "dense";
  run();
  EXPECT_EQ(engine(0).n_requests, 0);
  EXPECT_EQ(engine(1).n_requests, 9 + 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 6);
}

TEST_F(RunnerTest, an_invalid_cell_is_tried_three_times_and_then_left) {
  full_route_path_ = "sparse";
  for (int i = 0; i < 4; ++i) run();
  EXPECT_EQ(engine(1).n_requests, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='invalid'"), 9);
}

TEST_F(RunnerTest, speed_cells_feed_a_fixed_continuation_and_store_no_answers) {
  suite_.kind = "perf";
  suite_.new_tokens = 4;
  suite_.cells = {{"fake", 64, 5}, {"fake", 128, 2}};
  run([](const std::string&) { return std::string("x"); }, fake_answer);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM sample JOIN metric USING(metric_id) WHERE name='ttft_ns' "
                  "AND rep>=0"),
            14);
  EXPECT_EQ(count("SELECT COUNT(*) FROM sample WHERE rep<0"), 2) << "the first request of a side";
  EXPECT_EQ(count("SELECT COUNT(*) FROM sample JOIN metric USING(metric_id) WHERE name='itl_ns' "
                  "AND rep>=0"),
            42);
  EXPECT_EQ(
      count(
          "SELECT MIN(value) FROM sample JOIN metric USING(metric_id) WHERE name='prompt_tokens'"),
      52);
  EXPECT_EQ(text("SELECT group_concat(grade, ' ') FROM run"), "measured measured probe probe");
  run();
  EXPECT_EQ(n_requests(), 0);
}

TEST_F(RunnerTest, stages_and_gaps_of_a_phase_are_its_time_exactly) {
  run();
  const std::string sum_of =
      "SELECT s.run_id, s.rep, SUM(CASE WHEN m.name IN ('stage_ns','gap_ns') AND g.name<>'total' "
      "THEN s.value END) parts, MAX(CASE m.name WHEN 'gap_ns' THEN s.value END) gap, "
      "MAX(CASE m.name WHEN 'e2e_ns' THEN s.value END) whole FROM sample s JOIN metric m "
      "USING(metric_id) JOIN stage g USING(stage_id) WHERE s.rep>=0 GROUP BY 1,2";
  EXPECT_EQ(count("SELECT COUNT(*) FROM (" + sum_of + ") WHERE parts=whole"), 18);
  EXPECT_EQ(count("SELECT COUNT(*) FROM sample JOIN metric USING(metric_id) WHERE name='gap_ns'"),
            3 * 18);
  EXPECT_EQ(text("SELECT name FROM stage WHERE layer_kind='lightning'"), "prefill.lightning.scan");
}

TEST_F(RunnerTest, speed_cells_store_the_ceilings_of_their_device_where_there_is_room_to_measure) {
  suite_.kind = "perf";
  suite_.new_tokens = 4;
  suite_.cells = {{"fake", 64, 2}, {"fake", 128, 2}};
  run();
  EXPECT_EQ(count("SELECT COUNT(*) FROM ceiling"), 4 * 5) << "a launch takes nothing on a CPU";
  const Results results = ResultReader(db_).results();
  EXPECT_EQ(results.cells[0].ceilings->copy_bytes_per_s, 2e9);
  EXPECT_EQ(results.cells[0].ceilings->launch_s, 0);

  suite_.seed = 7;
  has_room_for_ceilings_ = false;
  run();
  EXPECT_EQ(count("SELECT COUNT(*) FROM ceiling"), 4 * 5);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 8);
}

TEST_F(RunnerTest, a_rehearsal_readies_memory_and_chunks_without_the_whole_prompt) {
  Request request;
  request.max_new_tokens = 3;
  for (const std::int64_t n : {1, 511, 512, 513, 1023, 1024, 1025, 5120, 5121}) {
    request.prompt.assign(static_cast<std::size_t>(n), 7);
    const Request rehearsal = make_rehearsal(request, 512);
    const auto n_rehearsed = static_cast<std::int64_t>(rehearsal.prompt.size());
    EXPECT_EQ(rehearsal.room, n + 3);
    EXPECT_EQ(rehearsal.max_new_tokens, 3);
    EXPECT_LE(n_rehearsed, 1024);
    EXPECT_EQ((n - n_rehearsed) % 512, 0) << "the last chunk of " << n << " has another size";
    EXPECT_EQ(n_rehearsed > 512, n > 512) << "a whole chunk of " << n << " is missing";
  }
}

TEST_F(RunnerTest, a_side_without_room_gets_that_of_the_other_before_it_is_out_of_memory) {
  suite_.kind = "perf";
  suite_.new_tokens = 4;
  suite_.cells = {{"fake", 64, 5}, {"fake", 128, 5}};
  const auto needs_all = [this](const std::string& prompt) -> std::string {
    if (engine(1).n_unloads == 0) throw OutOfMemory("fake", "weights", 5000, 400, true);
    return prompt;
  };
  run(needs_all, fake_answer);
  EXPECT_EQ(engine(1).n_unloads, 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 4);

  fs::remove(db_);
  run(
      [](const std::string&) -> std::string {
        throw OutOfMemory("fake", "kv_full", 5000, 400, true);
      },
      fake_answer);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM oom_event JOIN run USING(run_id) WHERE status='oom' AND "
                  "category='kv_full' AND requested_bytes=5000 AND free_bytes=400 AND predicted=1"),
            2);
}

TEST_F(RunnerTest, an_interrupted_speed_cell_repeats_only_what_is_missing) {
  suite_.kind = "perf";
  suite_.new_tokens = 4;
  suite_.cells = {{"fake", 64, 5}};
  int left = 5;  // first request, warm-up of the shape, three repetitions
  EXPECT_THROW(run(
                   [&](const std::string&) -> std::string {
                     if (left-- == 0) throw Killed{};
                     return "";
                   },
                   fake_answer),
               Killed);
  run();
  EXPECT_EQ(engine(0).n_requests, 2 + 2);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM (SELECT DISTINCT cell_id, rep FROM sample JOIN run USING(run_id) "
            "JOIN metric USING(metric_id) WHERE name='ttft_ns' AND rep>=0)"),
      10);
  EXPECT_EQ(count("SELECT COUNT(*) FROM sample JOIN metric USING(metric_id) WHERE name='ttft_ns' "
                  "AND rep>=0"),
            10);
}

TEST_F(RunnerTest, an_error_in_a_speed_cell_is_a_status_and_tried_again) {
  suite_.kind = "perf";
  suite_.new_tokens = 4;
  suite_.cells = {{"fake", 64, 2}};
  run([](const std::string&) -> std::string { throw Error("fake", "broken"); }, fake_answer);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM run WHERE status='error' AND status_reason LIKE '%broken%'"), 1);
  run();
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 2);
}

/// Makes run 1 look like the work in progress of another process.
void pretend_running(const fs::path& db, std::int64_t pid, const std::string& start) {
  SQLite::Database database(db.string(), SQLite::OPEN_READWRITE);
  SQLite::Statement update(database,
                           "UPDATE run SET status='running', scheduler=json_set(scheduler,"
                           "'$.process.pid',?,'$.process.start',?) WHERE run_id=1");
  update.bind(1, pid);
  update.bind(2, start);
  ASSERT_EQ(update.exec(), 1);
}

TEST_F(RunnerTest, a_run_of_a_live_process_is_left_alone_and_refuses_a_second_one) {
  run();
  std::ifstream stat("/proc/1/stat");
  std::string start;
  for (int field = 1; field <= 22; ++field) stat >> start;
  pretend_running(db_, 1, start);
  try {
    run();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("another sala"), std::string::npos) << error.what();
  }
  EXPECT_EQ(text("SELECT status FROM run WHERE run_id=1"), "running");
}

TEST_F(RunnerTest, a_run_of_a_dead_process_becomes_killed_even_when_its_pid_was_given_away) {
  run();
  pretend_running(db_, 1, "not the start of process 1");
  run();
  EXPECT_EQ(text("SELECT status FROM run WHERE run_id=1"), "killed");
}

/// Speed cells on the GPU of fake_nvml(), five samples each.
class GpuRunnerTest : public RunnerTest {
 protected:
  void SetUp() override {
    RunnerTest::SetUp();
    FakeGpu::reset();
    gpu_.own_bytes = 1'000'000'000;
    gpu_uuid_ = "GPU-fake";
    suite_.kind = "perf";
    suite_.new_tokens = 4;
    suite_.cells = {{"fake", 64, 5}};
  }
  /// The requests of the model: one to warm up, one rehearsal, then five that count.
  void run_with(const std::function<void(int request)>& change) {
    int n = 0;
    run(
        [&](const std::string& prompt) {
          change(n++ - 2);
          return prompt;
        },
        fake_answer);
  }
  std::int64_t values(const std::string& metric, const std::string& where = "1") {
    return count(
        fmt::format("SELECT COUNT(*) FROM sample JOIN metric USING(metric_id) JOIN stage "
                    "USING(stage_id) WHERE metric.name='{}' AND {}",
                    metric, where));
  }

  FakeGpu& gpu_ = FakeGpu::state();
};

TEST_F(GpuRunnerTest, the_sensors_of_a_gpu_are_stored_with_every_sample) {
  run();
  EXPECT_EQ(values("energy_j", "stage.name='total'"), 10);
  EXPECT_EQ(values("energy_j", "stage.name='prefill'"), 10);
  EXPECT_EQ(values("energy_j", "stage.name='decode'"), 10);
  EXPECT_EQ(values("prefill_j_tok"), 10);
  EXPECT_EQ(values("decode_j_tok"), 10);
  EXPECT_EQ(values("energy_counter_j"), 10);
  EXPECT_EQ(values("sm_mhz", "value=1755"), 10);
  EXPECT_EQ(values("driver_peak_bytes", "value=1000000000"), 10);
  EXPECT_EQ(values("ttft_ns", "flags<>0"), 0);
  EXPECT_GE(count("SELECT COUNT(*) FROM telemetry WHERE power_w=300 AND mem_used=1000000000"), 20);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE flags=0 AND status='ok'"), 2);
}

TEST_F(GpuRunnerTest, ledger_context_and_residue_add_up_to_what_the_driver_counts) {
  run_with([&](int request) {
    engine(0).held = 700'000'000;
    engine(1).held = 50'000'000;
    if (request == 0) gpu_.own_bytes = 1'120'000'000;
  });
  const auto bytes = [&](const char* category) {
    return count(
        fmt::format("SELECT at_device_peak_bytes FROM memory_ledger JOIN run USING(run_id) JOIN "
                    "cell USING(cell_id) WHERE mode='hybrid' AND category='{}'",
                    category));
  };
  EXPECT_EQ(bytes("context"), 1'000'000'000 - 750'000'000);
  EXPECT_EQ(
      bytes("context") + bytes("weights") + bytes("kv_full") + bytes("unaccounted") + 50'000'000,
      1'120'000'000);
  EXPECT_EQ(count("SELECT planned_bytes IS NULL FROM memory_ledger WHERE category='context'"), 1);
  EXPECT_EQ(count("SELECT MIN(flags & 262144) FROM run"), 262144) << "a gap of over 16 MiB";
}

TEST_F(GpuRunnerTest, a_throttled_sample_is_flagged_and_left_out) {
  run_with([&](int request) { gpu_.reasons = request == 3 ? 0x40 : 0x4; });
  EXPECT_EQ(values("ttft_ns", "rep=3 AND flags=1"), 1);
  EXPECT_EQ(values("ttft_ns", "rep>=0 AND flags<>0"), 1)
      << "a power cap alone is no flag of a time";
  EXPECT_EQ(text("SELECT status||' '||flags FROM run WHERE run_id=1"), "ok 65537");
  const Results results = ResultReader(db_).results();
  EXPECT_EQ(results.cells[0].flagged, std::vector<std::int64_t>{3});
  EXPECT_EQ(results.cells[0].runs[0].telemetry->event_reasons, 0x44);
  for (const ValueRecord& value : results.cells[0].values) EXPECT_NE(value.rep, 3);
}

TEST_F(GpuRunnerTest, a_run_with_two_of_five_samples_disturbed_is_invalid) {
  run_with([&](int request) {
    gpu_.reasons = request == 1 ? 0x8 : 0;
    gpu_.n_other_processes = request == 4 ? 1 : 0;
  });
  EXPECT_EQ(text("SELECT status FROM run WHERE run_id=1"), "invalid");
  EXPECT_EQ(
      text("SELECT status_reason FROM run WHERE run_id=1"),
      "2 of 5 samples do not count: heat or power supply slowed the GPU down, another process "
      "computed on it");
}

TEST_F(GpuRunnerTest, a_sample_at_another_clock_than_the_run_is_flagged) {
  run_with([&](int request) { gpu_.sm_mhz = request == 0 ? 1600 : 1755 + request; });
  EXPECT_EQ(values("ttft_ns", "rep=0 AND flags=2"), 1);
  EXPECT_EQ(values("ttft_ns", "flags<>0"), 1);
  EXPECT_EQ(text("SELECT status||' '||flags FROM run WHERE run_id=1"), "ok 2");
}

TEST_F(GpuRunnerTest, answers_count_however_fast_the_gpu_ran) {
  suite_.kind = "accuracy";
  suite_.cells = {{"fake", 64, 3}};
  gpu_.reasons = 0x8;
  run();
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok' AND flags=1"), 2);
  EXPECT_EQ(ResultReader(db_).results().cells[0].answers.size(), 3U);
}

TEST_F(GpuRunnerTest, without_the_drivers_library_everything_else_is_stored) {
  nvml_ = []() -> const NvmlFunctions& { throw Error("NVML", "is not here"); };
  run();
  EXPECT_EQ(values("ttft_ns", "rep>=0"), 10);
  EXPECT_EQ(values("energy_j"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM telemetry"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM memory_ledger WHERE category='context'"), 0);
}

TEST_F(RunnerTest, the_table_shows_both_sides_and_failures) {
  run(
      [](const std::string&) -> std::string {
        throw OutOfMemory("fake", "kv_full", 5000, 400, true);
      },
      fake_answer);
  const auto rows = summarize(ResultReader(db_).results());
  ASSERT_EQ(rows.size(), 6U);
  EXPECT_EQ(rows[0].status, "oom");
  EXPECT_EQ(rows[0].accuracy, 0);
  EXPECT_EQ(rows[1].accuracy, 1);
  EXPECT_DOUBLE_EQ(rows[1].ttft_s, 56e-6);
  const auto pair = summarize_pair(ResultReader(db_).results());
  ASSERT_TRUE(pair.has_value());
  EXPECT_EQ(pair->n, 9);
  EXPECT_EQ(pair->only_second, 9);
  const std::string table = summary_table(rows, pair);
  EXPECT_NE(table.find("oom: [fake] kv_full"), std::string::npos);
  EXPECT_NE(table.find("on the same 9 prompts: -100.0 points"), std::string::npos) << table;
  EXPECT_NE(table.find("0.004: worse"), std::string::npos) << table;
  const auto json = nlohmann::json::parse(summary_json(rows, pair, "uid", "x.db"));
  EXPECT_EQ(json["pair"]["verdict"], "worse");
  EXPECT_LT(json["cells"][1]["accuracy_low"], 1);
  EXPECT_TRUE(json["cells"][0]["ttft_s"].is_null());
  EXPECT_EQ(json["cells"][1]["side"], "baseline");
}

TEST_F(RunnerTest, an_answer_that_echoes_the_prompt_makes_the_run_invalid) {
  run([](const std::string& prompt) { return prompt.substr(0, 8); }, fake_answer);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='invalid'"),
            0);  // eight bytes are no echo
  suite_.cells = {{"fake", 256, 2}};
  run([](const std::string& prompt) { return prompt.substr(0, 100); }, fake_answer);
  EXPECT_GT(count("SELECT COUNT(*) FROM run WHERE status='invalid' AND flags=4096 AND "
                  "status_reason LIKE '%tokens came back%'"),
            0);
}

TEST_F(RunnerTest, the_plan_records_how_the_first_prompts_begin_and_end) {
  run();
  const auto spec = nlohmann::json::parse(text("SELECT spec FROM sweep"));
  ASSERT_EQ(spec["first_prompts"].size(), 4U);  // two tasks on two sides
  for (const auto& prompt : spec["first_prompts"]) {
    EXPECT_EQ(prompt["first_ids"].size(), 8U);
    EXPECT_EQ(prompt["ids_sha256"].get<std::string>().size(), 64U);
    EXPECT_TRUE(prompt["tail"].get<std::string>().ends_with("..."));
  }
}

}  // namespace
}  // namespace sala::testing
