// Plans: what makes two cells the same, what makes them comparable, and what is refused.
// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/plan.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/base/error.h"
#include "tests/fake_engine.h"

namespace sala::testing {
namespace {

namespace fs = std::filesystem;

/// Everything that goes into a plan, to be changed one thing at a time.
struct Inputs {
  Suite suite;
  EngineOptions options;
  std::string model = "m";
  std::string mode = "hybrid";
  EnvironmentRow build;
  int task_version = 1;
  std::int64_t chunk = 512;

  Inputs() {
    suite.name = "test";
    suite.cells = {{"fake", 128, 4}, {"fake", 64, 3}};
    build.git_commit = std::string(40, 'a');
  }
};

class VersionedTask final : public Task {
 public:
  VersionedTask(std::string_view name, int version)
      : task_(std::string(name)), info_(task_.info()) {
    info_.version = version;
  }
  const TaskInfo& info() const override { return info_; }
  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override {
    return task_.make(options, i, tokenizer);
  }

 private:
  FakeTask task_;
  TaskInfo info_;
};

Plan plan_of(const Inputs& in) {
  std::vector<Side> sides;
  EngineOptions dense = in.options;
  dense.attention = "dense";
  sides.push_back(
      {"model", in.options, std::make_unique<FakeEngine>(in.model, in.mode, fake_answer)});
  sides.push_back({"baseline", dense, std::make_unique<FakeEngine>("full", "full", fake_answer)});
  for (Side& side : sides) {
    static_cast<FakeEngine&>(*side.engine).engine_info.chunk = in.chunk;
  }
  return make_plan(in.suite, sides, in.build, [&](std::string_view name) -> std::unique_ptr<Task> {
    if (name == "unknown") throw Error("tasks", "unknown task");
    return std::make_unique<VersionedTask>(name, in.task_version);
  });
}

TEST(Plan, cells_go_from_short_to_long_with_the_sides_in_turn) {
  const Plan plan = plan_of({});
  std::string order;
  for (const PlannedCell& cell : plan.cells)
    order += fmt::format("{}:{}x{} ", cell.side, cell.length, cell.samples);
  EXPECT_EQ(order, "0:64x3 1:64x3 0:128x4 1:128x4 ");
  EXPECT_EQ(plan.cells[0].row.est_bytes, 1000 + 64 * 8);
}

TEST(Plan, equal_inputs_make_equal_keys) {
  const Plan a = plan_of({});
  const Plan b = plan_of({});
  EXPECT_EQ(a.sweep.spec, b.sweep.spec);
  for (std::size_t i = 0; i < a.cells.size(); ++i)
    EXPECT_EQ(a.cells[i].row.cell_key, b.cells[i].row.cell_key);
}

TEST(Plan, whatever_changes_the_work_changes_the_key_of_every_cell) {
  const std::vector<std::pair<const char*, std::function<void(Inputs&)>>> changes{
      {"seed", [](Inputs& in) { in.suite.seed = 43; }},
      {"chunk", [](Inputs& in) { in.chunk = 64; }},
      {"setting", [](Inputs& in) { in.options.settings["dense_len"] = "64"; }},
      {"memory limit", [](Inputs& in) { in.options.memory_limit_bytes = 1 << 20; }},
      {"threads", [](Inputs& in) { in.options.threads = 1; }},
      {"commit", [](Inputs& in) { in.build.git_commit[0] = 'b'; }},
      {"uncommitted change", [](Inputs& in) { in.build.diff_sha256 = "changed"; }},
      {"task version", [](Inputs& in) { in.task_version = 2; }},
      {"task",
       [](Inputs& in) {
         for (auto& cell : in.suite.cells) cell.task = "other";
       }},
      {"length",
       [](Inputs& in) {
         for (auto& cell : in.suite.cells) ++cell.length;
       }},
      {"samples",
       [](Inputs& in) {
         for (auto& cell : in.suite.cells) ++cell.samples;
       }},
      {"kind",
       [](Inputs& in) {
         in.suite.kind = "perf";
         in.suite.new_tokens = 4;
       }},
      {"haystack", [](Inputs& in) { in.suite.data = {"/proc/self/comm"}; }},
  };
  const Plan base = plan_of({});
  for (const auto& [name, change] : changes) {
    Inputs inputs;
    change(inputs);
    const Plan changed = plan_of(inputs);
    EXPECT_NE(changed.sweep.spec, base.sweep.spec) << name;
    for (std::size_t i = 0; i < base.cells.size(); ++i) {
      EXPECT_NE(changed.cells[i].row.cell_key, base.cells[i].row.cell_key) << name;
    }
  }
}

TEST(Plan, another_model_changes_the_keys_of_its_side_and_whom_it_can_be_compared_with) {
  Inputs other;
  other.model = "another";
  const Plan a = plan_of({});
  const Plan b = plan_of(other);
  EXPECT_NE(a.cells[0].row.cell_key, b.cells[0].row.cell_key);
  EXPECT_EQ(a.cells[1].row.cell_key, b.cells[1].row.cell_key) << "the baseline is the same work";
  EXPECT_NE(a.cells[0].row.compare_key, b.cells[0].row.compare_key);
}

TEST(Plan, the_two_sides_and_two_builds_may_be_compared_and_two_lengths_may_not) {
  const Plan plan = plan_of({});
  EXPECT_EQ(plan.cells[0].row.compare_key, plan.cells[1].row.compare_key);
  EXPECT_NE(plan.cells[0].row.compare_key, plan.cells[2].row.compare_key);
  EXPECT_NE(plan.cells[0].row.cell_key, plan.cells[1].row.cell_key);
  Inputs rebuilt;
  rebuilt.build.git_commit[0] = 'b';
  EXPECT_EQ(plan.cells[0].row.compare_key, plan_of(rebuilt).cells[0].row.compare_key);
}

TEST(Plan, dense_layers_beside_linear_ones_are_neither_hybrid_nor_full) {
  Inputs inputs;
  inputs.options.attention = "dense";
  EXPECT_EQ(plan_of(inputs).cells[0].row.mode, "ablation");
  EXPECT_EQ(plan_of({}).cells[0].row.mode, "hybrid");
  EXPECT_EQ(plan_of({}).cells[1].row.mode, "full");
}

TEST(Plan, an_unknown_task_or_a_length_too_short_for_it_is_refused) {
  Inputs inputs;
  inputs.suite.cells[1].task = "unknown";
  EXPECT_THROW(plan_of(inputs), Error);
  inputs = {};
  inputs.suite.cells[1].length = 47;
  EXPECT_THROW(plan_of(inputs), Error);
  inputs.suite.kind = "perf";
  inputs.suite.new_tokens = 20;
  inputs.suite.cells[1].length = 64;
  EXPECT_THROW(plan_of(inputs), Error) << "44 tokens are left for the prompt";
  inputs.suite.cells[1].length = 20;
  EXPECT_THROW(plan_of(inputs), Error) << "none are left";
}

TEST(Plan, a_folder_of_texts_is_known_by_names_and_contents) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("sala_plan_{}", getpid());
  fs::create_directories(folder / "sub");
  std::ofstream(folder / "a.txt") << "one";
  std::ofstream(folder / "sub/b.txt") << "two";
  const std::string before = data_identity({folder});
  EXPECT_EQ(data_identity({folder}), before);
  EXPECT_NE(data_identity({folder / "a.txt"}), data_identity({folder / "sub/b.txt"}));
  std::ofstream(folder / "sub/b.txt") << "three";
  const std::string changed = data_identity({folder});
  EXPECT_NE(changed, before);
  fs::rename(folder / "sub/b.txt", folder / "b.txt");
  EXPECT_NE(data_identity({folder}), changed);
  fs::remove_all(folder);
  EXPECT_THROW(data_identity({folder}), Error);
  EXPECT_EQ(data_identity({}), "builtin");
}

TEST(Plan, cells_name_their_device_and_answers_do_not_depend_on_it) {
  std::vector<std::string> keys;
  for (const char* device : {"one", "two"}) {
    auto engine = std::make_unique<FakeEngine>("m", "hybrid", fake_answer);
    engine->engine_info.device_info.name = device;
    std::vector<Side> sides;
    sides.push_back({"model", {}, std::move(engine)});
    const Inputs in;
    const Plan plan = make_plan(in.suite, sides, in.build,
                                [](std::string_view) { return std::make_unique<FakeTask>(); });
    EXPECT_EQ(nlohmann::json::parse(plan.cells[0].row.params)["device_name"], device);
    keys.push_back(plan.cells[0].row.cell_key);
  }
  EXPECT_EQ(keys[0], keys[1]);
}

TEST(Plan, cells_name_the_text_of_their_chat_template_and_sides_with_other_ones_compare) {
  const auto plan_with = [](const char* of_model, const char* of_baseline) {
    std::vector<Side> sides;
    for (const char* chat : {of_model, of_baseline}) {
      auto engine = std::make_unique<FakeEngine>("m", "hybrid", fake_answer);
      engine->engine_info.chat_template = chat;
      sides.push_back({sides.empty() ? "model" : "baseline", {}, std::move(engine)});
    }
    const Inputs in;
    return make_plan(in.suite, sides, in.build,
                     [](std::string_view) { return std::make_unique<FakeTask>(); });
  };
  const Plan plain = plan_with("base", "base");
  const Plan chat = plan_with("chatml", "meta-llama3");
  const auto template_of = [](const PlannedCell& cell) {
    return nlohmann::json::parse(cell.row.params)["chat_template"].get<std::string>();
  };
  EXPECT_EQ(template_of(plain.cells[0]), "{task_template}");
  EXPECT_EQ(template_of(chat.cells[0]),
            "<|im_start|>user\n{task_template}<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_NE(template_of(chat.cells[1]).find("<|eot_id|>"), std::string::npos);
  EXPECT_EQ(chat.cells[0].row.compare_key, chat.cells[1].row.compare_key);
  EXPECT_NE(chat.cells[0].row.cell_key, plain.cells[0].row.cell_key);
  EXPECT_NE(chat.sweep.spec, plain.sweep.spec);
}

TEST(Plan, random_weights_are_timed_on_random_ids_that_depend_on_the_seed) {
  Side side{"model", {}, std::make_unique<FakeEngine>("m", "hybrid", fake_answer)};
  const FakeTask task;
  TaskOptions options;
  options.length = 500;
  options.seed = 3;
  const Sample text = speed_sample(side, task, options, 20);
  EXPECT_EQ(text.prompt_ids, task.make({480, 3, {}}, 0, FakeTokenizer()).prompt_ids);

  side.options.random_seed = 1;
  const Sample random = speed_sample(side, task, options, 20);
  EXPECT_EQ(random.prompt_ids.size(), 480U);
  EXPECT_EQ(random.max_new_tokens, 20);
  const auto [least, most] =
      std::minmax_element(random.prompt_ids.begin(), random.prompt_ids.end());
  EXPECT_GE(*least, 0);
  EXPECT_LT(*most, 256);
  EXPECT_GT(std::set(random.prompt_ids.begin(), random.prompt_ids.end()).size(), 150U);
  EXPECT_EQ(speed_sample(side, task, options, 20).prompt_ids, random.prompt_ids);
  options.seed = 4;
  EXPECT_NE(speed_sample(side, task, options, 20).prompt_ids, random.prompt_ids);
}

TEST(Plan, a_dry_run_prints_every_cell_with_its_memory) {
  std::vector<Side> sides;
  sides.push_back({"model", {}, std::make_unique<FakeEngine>("m", "hybrid", fake_answer)});
  const Inputs in;
  const Plan plan = make_plan(in.suite, sides, in.build,
                              [](std::string_view) { return std::make_unique<FakeTask>(); });
  const auto json = nlohmann::json::parse(plan_json(plan, sides));
  ASSERT_EQ(json["cells"].size(), 2U);
  EXPECT_EQ(json["cells"][0]["est_bytes"], 1512);
  EXPECT_EQ(json["cells"][0]["length"], 64);
  EXPECT_NE(plan_table(plan, sides).find("1.48 KiB"), std::string::npos) << plan_table(plan, sides);
}

TEST(Plan, a_benchmark_with_fewer_rows_gives_fewer_samples) {
  class Rows final : public Task {
   public:
    const TaskInfo& info() const override { return task_.info(); }
    std::int64_t count(const TaskOptions& options, const Tokenizer& /*tokenizer*/) const override {
      return options.length == 64 ? 2 : 0;
    }
    Sample make(const TaskOptions& options, std::int64_t i,
                const Tokenizer& tokenizer) const override {
      return task_.make(options, i, tokenizer);
    }

   private:
    FakeTask task_;
  };
  Inputs in;
  std::vector<Side> sides;
  sides.push_back({"model", in.options, std::make_unique<FakeEngine>("m", "hybrid", fake_answer)});
  const auto make = [](std::string_view) -> std::unique_ptr<Task> {
    return std::make_unique<Rows>();
  };
  in.suite.cells = {{"fake", 64, 100}};
  EXPECT_EQ(make_plan(in.suite, sides, in.build, make).cells[0].samples, 2);
  in.suite.cells = {{"fake", 128, 100}};
  EXPECT_THROW(make_plan(in.suite, sides, in.build, make), Error);
}

TEST(Plan, a_task_that_names_its_files_does_not_depend_on_other_data) {
  class Sourced final : public Task {
   public:
    explicit Sourced(std::string hash) : hash_(std::move(hash)) {}
    const TaskInfo& info() const override { return task_.info(); }
    std::vector<TaskSource> sources(const TaskOptions& /*options*/) const override {
      return {{"rows.jsonl", hash_, false}};
    }
    Sample make(const TaskOptions& options, std::int64_t i,
                const Tokenizer& tokenizer) const override {
      return task_.make(options, i, tokenizer);
    }

   private:
    FakeTask task_;
    std::string hash_;
  };
  const auto key = [](const std::string& hash, const std::vector<std::string>& data) {
    Inputs in;
    in.suite.cells = {{"fake", 64, 3}};
    in.suite.data = data;
    std::vector<Side> sides;
    sides.push_back(
        {"model", in.options, std::make_unique<FakeEngine>("m", "hybrid", fake_answer)});
    return make_plan(in.suite, sides, in.build,
                     [&](std::string_view) { return std::make_unique<Sourced>(hash); })
        .cells[0]
        .row.cell_key;
  };
  EXPECT_EQ(key("aa", {"/one"}), key("aa", {"/two"}));
  EXPECT_NE(key("aa", {"/one"}), key("bb", {"/one"}));
}

TEST(Plan, a_dry_run_names_tasks_with_stand_in_data) {
  class Builtin final : public Task {
   public:
    const TaskInfo& info() const override { return task_.info(); }
    std::vector<TaskSource> sources(const TaskOptions& /*options*/) const override {
      return {{"built-in prose", "", true}};
    }
    Sample make(const TaskOptions& options, std::int64_t i,
                const Tokenizer& tokenizer) const override {
      return task_.make(options, i, tokenizer);
    }

   private:
    FakeTask task_;
  };
  std::vector<Side> sides;
  sides.push_back({"model", {}, std::make_unique<FakeEngine>("m", "hybrid", fake_answer)});
  const Inputs in;
  const auto plan_with = [&](bool builtin) {
    return make_plan(in.suite, sides, in.build, [&](std::string_view) -> std::unique_ptr<Task> {
      if (builtin) return std::make_unique<Builtin>();
      return std::make_unique<FakeTask>();
    });
  };
  EXPECT_NE(plan_table(plan_with(true), sides).find("not comparable with published scores: fake\n"),
            std::string::npos);
  EXPECT_EQ(plan_table(plan_with(false), sides).find("not comparable"), std::string::npos);
  const auto json = nlohmann::json::parse(plan_json(plan_with(true), sides));
  EXPECT_EQ(json["cells"][0]["standin"], true);
}

TEST(Plan, a_dry_run_says_which_difference_the_prompts_can_find) {
  Inputs in;
  in.suite.cells = {{"fake", 64, 500}};
  std::vector<Side> sides;
  sides.push_back({"model", in.options, std::make_unique<FakeEngine>("m", "hybrid", fake_answer)});
  sides.push_back(
      {"baseline", in.options, std::make_unique<FakeEngine>("full", "full", fake_answer)});
  const Plan plan = plan_of(in);
  EXPECT_NE(plan_table(plan, sides).find("500 prompts: 1.8 / 2.8 / 4.0 / 5.6"), std::string::npos)
      << plan_table(plan, sides);
  const auto json = nlohmann::json::parse(plan_json(plan, sides));
  EXPECT_NEAR(json["cells"][0]["detectable_difference"]["0.05"].get<double>(), 0.028, 0.0001);
}

}  // namespace
}  // namespace sala::testing
