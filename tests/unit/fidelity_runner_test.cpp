// Fidelity cells run, are refused where the route is wrong, and are stored and read whole.
// SPDX-License-Identifier: Apache-2.0
#include "harness/fidelity/fidelity_runner.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "harness/compare/fidelity_summary.h"
#include "harness/fidelity/self_test.h"
#include "harness/runner/manifest.h"
#include "tests/expect_error.h"
#include "tests/fake_engine.h"

namespace sala::testing {
namespace {

namespace fs = std::filesystem;

/// Logits that name the last byte, and a route and samples as planted.
class ProbedEngine final : public FakeEngine {
 public:
  using FakeEngine::FakeEngine;

  Output run(const Request& request) override {
    if (n_runs++ == fails_at) throw OutOfMemory("fake", "kv_full", 100, 10, false);
    Output output = FakeEngine::run(request);
    if (request.selection.force_needles) {
      output.tokens = tokenizer().encode(when_forced(tokenizer().decode(request.prompt))).ids;
    }
    output.route = route;
    for (const std::int64_t position : request.selection.positions) {
      for (const int layer : {0, 2}) {
        output.selection.push_back({.layer = layer,
                                    .kv_head = 0,
                                    .position = position,
                                    .blocks_read = 1,
                                    .blocks_visible = 4,
                                    .topk_recall = 0.5,
                                    .mass_recall = 0.6,
                                    .mass_oracle = 0.8,
                                    .needle_hit = layer == 2 ? hit(request) : 0,
                                    .out_rel_l2 = 0.1,
                                    .out_cos = 0.9});
      }
    }
    return output;
  }
  std::vector<float> logits(std::span<const TokenId> tokens, std::int64_t last) override {
    std::vector<float> rows;
    for (const TokenId token : tokens.last(static_cast<std::size_t>(last))) {
      std::vector<float> row(256, 0);
      row[static_cast<std::size_t>(token)] = sharpness;
      rows.insert(rows.end(), row.begin(), row.end());
    }
    return rows;
  }
  void unload() override {
    FakeEngine::unload();
    held = 0;
  }

  std::vector<RouteEntry> route;
  float sharpness = 2;
  std::function<double(const Request&)> hit = [](const Request&) { return 1.0; };
  FakeEngine::AnswerFunction when_forced = fake_answer;
  int fails_at = -1;
  int n_runs = 0;
};

class FidelityRunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / fmt::format("sala_{}_{}", info->name(), getpid());
    fs::create_directories(folder_);
    db_ = folder_ / "results.db";
    suite_.kind = "fidelity";
    suite_.name = "test";
    suite_.cells = {{"fake", 256, 3}};
    auto model = std::make_unique<ProbedEngine>(
        "toy", "hybrid", [this](const std::string& prompt) { return answer_(prompt); });
    model->engine_info.layer_pattern = {"infllm_v2", "lightning", "infllm_v2"};
    model->engine_info.settings = {{"dense_len", "0"}};
    model->engine_info.config_json =
        R"({"sparse_config":{"dense_len":0,"topk":1,"block_size":64,"window_size":64}})";
    model->route = {{0, "prefill", "sparse", "k", 1, 3, 6},
                    {1, "prefill", "linear", "k", 1, 0, 0},
                    {2, "prefill", "sparse", "k", 1, 3, 6}};
    model_ = model.get();
    sides_.push_back({.role = "model", .options = {}, .engine = std::move(model)});
    dense_.route = {{0, "prefill", "dense", "k", 1, 6, 6},
                    {1, "prefill", "linear", "k", 1, 0, 0},
                    {2, "prefill", "dense", "k", 1, 6, 6}};
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Returns the number of cells that are not ok.
  std::int64_t run() {
    const TaskFactory make_task = [](std::string_view name) -> std::unique_ptr<Task> {
      return std::make_unique<FakeTask>(std::string(name));
    };
    const Plan plan = make_plan(suite_, sides_, capture_environment(), make_task);
    std::vector<CellRow> cells;
    cells.reserve(plan.cells.size());
    for (const PlannedCell& cell : plan.cells) cells.push_back(cell.row);
    ResultWriter writer(db_, {"sala", "fidelity"});
    writer.open_sweep(plan.sweep, capture_environment(), cells);
    Progress progress(false);
    return run_fidelity(plan, sides_.front(), dense_, make_task, writer, progress);
  }
  CellRecord cell() const { return ResultReader(db_).results().cells.at(0); }
  std::int64_t count(const std::string& sql) const {
    return SQLite::Database(db_.string(), SQLite::OPEN_READONLY).execAndGet(sql).getInt64();
  }

  fs::path folder_;
  fs::path db_;
  Suite suite_;
  std::vector<Side> sides_;
  FakeEngine::AnswerFunction answer_ = fake_answer;
  ProbedEngine* model_ = nullptr;
  ProbedEngine dense_{"toy", "hybrid", fake_answer};
};

TEST_F(FidelityRunnerTest, what_was_measured_is_read_back) {
  dense_.sharpness = 3;
  ASSERT_EQ(run(), 0);
  const CellRecord read = cell();
  EXPECT_EQ(read.kind, "fidelity");
  EXPECT_EQ(read.status, "ok");
  EXPECT_TRUE(read.values.empty()) << "times of such a run say nothing";
  ASSERT_EQ(read.answers.size(), 3U);
  EXPECT_FALSE(read.answers[0].ttft_ns);
  const FidelitySummary summary = summarize_fidelity({&read});
  ASSERT_EQ(summary.layers.size(), 2U);
  EXPECT_TRUE(summary.heads.empty()) << "one head is its own mean";
  ASSERT_TRUE(summary.whole.question);
  EXPECT_DOUBLE_EQ(summary.whole.question->density, 0.25);
  EXPECT_DOUBLE_EQ(summary.whole.question->efficiency, 0.75);
  EXPECT_DOUBLE_EQ(*summary.whole.question->needle_hit, 0.5) << "layer 2 has it, layer 0 not";
  ASSERT_TRUE(summary.divergence);
  // One token of logit 3 and 2 among 255 of 0: p ln(p/q) + (1 - p) ln((1 - p)/(1 - q)).
  const double p = std::exp(3.0) / (std::exp(3.0) + 255);
  const double q = std::exp(2.0) / (std::exp(2.0) + 255);
  const double expected = p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q));
  EXPECT_NEAR(summary.divergence->kld_mean, expected, 1e-12);
  EXPECT_NEAR(summary.divergence->kld_max, expected, 1e-12);
  EXPECT_EQ(summary.divergence->n_positions, 3 * (128 + 2)) << "' 0' is the right answer";
  EXPECT_EQ(summary.divergence->top1_agree, 1);
  EXPECT_EQ(summary.divergence->classes[0], 3);
}

TEST_F(FidelityRunnerTest, misses_are_attributed_per_layer_and_for_the_whole) {
  suite_.cells = {{"fake", 256, 4}};
  // Sample 0 is fine, 1 selected and unused, 2 a miss, 3 lucky.
  answer_ = [](const std::string& prompt) {
    const std::string right = fake_answer(prompt);
    return right == "1" || right == "2" ? "x" : right;
  };
  model_->hit = [this](const Request& request) {
    return std::stoi(fake_answer(model_->tokenizer().decode(request.prompt))) < 2 ? 0.5 : 0.49;
  };
  ASSERT_EQ(run(), 0);
  const CellRecord read = cell();
  const FidelitySummary summary = summarize_fidelity({&read});
  const auto expect = [](const Attribution& got, const std::vector<std::int64_t>& expected) {
    EXPECT_EQ((std::vector{got.fine, got.selected_unused, got.selection_miss, got.lucky}),
              expected);
  };
  expect(summary.whole.attribution, {1, 1, 1, 1});
  expect(summary.layers.at(0).attribution, {0, 0, 2, 2});
  expect(summary.layers.at(1).attribution, {1, 1, 1, 1});
  for (const auto& [layer, attribution] : {std::pair{-1, summary.whole.attribution},
                                           {0, summary.layers[0].attribution},
                                           {2, summary.layers[1].attribution}}) {
    EXPECT_EQ(count(fmt::format("SELECT COUNT(*) FROM v_attribution WHERE layer={} AND fine={} AND "
                                "selected_unused={} AND selection_miss={} AND lucky={}",
                                layer, attribution.fine, attribution.selected_unused,
                                attribution.selection_miss, attribution.lucky)),
              1)
        << "the view says the same of layer " << layer;
  }
}

TEST_F(FidelityRunnerTest, wrong_answers_are_asked_for_again_with_the_needles_forced) {
  answer_ = [](const std::string& prompt) {
    const std::string right = fake_answer(prompt);
    return right == "0" ? right : "x";
  };
  model_->when_forced = [](const std::string& prompt) {
    const std::string right = fake_answer(prompt);
    return right == "1" ? right : "y";
  };
  ASSERT_EQ(run(), 0);
  const CellRecord read = cell();
  EXPECT_FALSE(read.answers[0].fidelity.divergence->forced_score) << "it was right already";
  EXPECT_EQ(read.answers[1].fidelity.divergence->forced_score, 1);
  EXPECT_EQ(read.answers[2].fidelity.divergence->forced_score, 0);
  const FidelitySummary summary = summarize_fidelity({&read});
  EXPECT_EQ(summary.n_forced, 2);
  EXPECT_EQ(summary.n_forced_right, 1);
}

TEST_F(FidelityRunnerTest, answers_that_differ_get_the_dense_models_gap) {
  answer_ = [](const std::string&) { return "9"; };
  dense_.sharpness = 0.25;
  ASSERT_EQ(run(), 0);
  for (const AnswerRecord& answer : cell().answers) {
    const DivergenceRow& row = *answer.fidelity.divergence;
    EXPECT_EQ(row.first_position, 0);
    EXPECT_DOUBLE_EQ(*row.top2_gap, 0.25);
    EXPECT_EQ(row.answer_class, "between");
    EXPECT_EQ(row.dense_score, 1);
    EXPECT_EQ(answer.score, 0);
  }
}

TEST_F(FidelityRunnerTest, a_model_that_did_not_select_is_refused) {
  model_->route[2] = {2, "prefill", "dense", "k", 1, 6, 6};
  EXPECT_EQ(run(), 1);
  const CellRecord read = cell();
  EXPECT_EQ(read.status, "invalid");
  EXPECT_EQ(read.runs.at(0).reason, "route_mismatch: layer 2 did not take its sparse path");
  EXPECT_EQ(read.runs.at(0).flags, kRouteMismatchFlag);
  EXPECT_EQ(count("SELECT COUNT(*) FROM answer"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM fidelity"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM route WHERE layer=2 AND path='dense'"), 1)
      << "the evidence is kept";
  EXPECT_EQ(dense_.n_runs, 0);
}

TEST_F(FidelityRunnerTest, a_dense_model_that_selected_is_refused) {
  dense_.route[0] = {0, "prefill", "sparse", "k", 1, 3, 6};
  EXPECT_EQ(run(), 1);
  EXPECT_EQ(cell().status, "invalid");
  EXPECT_EQ(count("SELECT COUNT(*) FROM divergence"), 0);
}

TEST_F(FidelityRunnerTest, short_memory_is_tried_once_more_without_the_other_model) {
  dense_.fails_at = 0;
  model_->held = 1;
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(model_->n_unloads, 1);
  EXPECT_EQ(cell().status, "ok");
}

TEST_F(FidelityRunnerTest, out_of_memory_is_a_stored_result_and_later_cells_run) {
  suite_.cells = {{"fake", 256, 3}, {"fake", 512, 2}};
  model_->fails_at = 1;
  EXPECT_EQ(run(), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='oom'"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM oom_event WHERE requested_bytes=100"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM run WHERE status='ok'"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM v_attribution"), 3)
      << "two layers and the whole, of one run";
}

TEST_F(FidelityRunnerTest, the_self_test_wants_equal_logits_and_the_sparse_path) {
  const std::vector<TokenId> tokens(200, 'a');
  EXPECT_TRUE(run_self_test(*model_, dense_, tokens).passed);
  EXPECT_EQ(model_->n_unloads, 1);
  dense_.sharpness = 2.001F;
  const SelfTest apart = run_self_test(*model_, dense_, tokens);
  EXPECT_FALSE(apart.passed);
  EXPECT_NEAR(apart.difference, 0.0005, 1e-5);
  dense_.sharpness = NAN;
  EXPECT_FALSE(run_self_test(*model_, dense_, tokens).passed);
  dense_.sharpness = 2;
  model_->route = dense_.route;
  EXPECT_EQ(run_self_test(*model_, dense_, tokens).reason, "no layer took the sparse path");
}

TEST(gold_tokens, are_every_reference_where_all_are_asked_for) {
  const FakeTokenizer tokenizer;
  Sample sample;
  sample.prompt = "The numbers are";
  sample.prompt_ids = tokenizer.encode(sample.prompt).ids;
  sample.references = {"12", "34"};
  const auto text = [&](const char* scorer) {
    TaskInfo task;
    task.scorer = scorer;
    return tokenizer.decode(gold_tokens(sample, task, tokenizer));
  };
  EXPECT_EQ(text("ruler_all"), " 12, 34");
  EXPECT_EQ(text("ruler_part"), " 12");
  sample.prompt += "\n";
  sample.prompt_ids.push_back('\n');
  EXPECT_EQ(text("ruler_part"), "12");
  sample.references.clear();
  expect_error([&] { text("ruler_part"); }, {"no right answer"});
}

}  // namespace
}  // namespace sala::testing
