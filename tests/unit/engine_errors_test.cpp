// What the engine refuses, and what it says about memory and time.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "engine/base/data_dir.h"
#include "engine/base/sha256.h"
#include "engine/engine.h"
#include "tests/expect_error.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

Request request(std::vector<TokenId> prompt, std::int64_t max_new_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_new_tokens = max_new_tokens;
  return request;
}

class EngineErrors : public ::testing::Test {
 protected:
  EngineErrors() {
    write_tiny_model(folder_.path());
    options_.model = folder_.path();
    options_.threads = 1;
    options_.chunk = 64;
  }
  /// The engine of the folder after its tensors were changed.
  void expect_weights_refused(const std::function<void(std::vector<TensorToWrite>&)>& change,
                              std::initializer_list<std::string> parts) {
    TinyModel model;
    auto tensors = tiny_tensors(TinyOptions{}, model);
    change(tensors);
    write_safetensors(folder_.path() / "model.safetensors", tensors);
    expect_error([&] { make_engine(options_); }, parts);
  }
  static TensorToWrite& named(std::vector<TensorToWrite>& tensors, const std::string& name) {
    return *std::find_if(tensors.begin(), tensors.end(),
                         [&](const TensorToWrite& tensor) { return tensor.name == name; });
  }
  TempFolder folder_;
  EngineOptions options_;
};

TEST_F(EngineErrors, requests_are_checked) {
  const auto engine = make_engine(options_);
  expect_error([&] { engine->run({}); }, {"prompt", "empty"});
  expect_error([&] { engine->run(request({2, 300}, 1)); }, {"token 300", "position 1", "300"});
  expect_error([&] { engine->run(request({-1}, 1)); }, {"token -1", "position 0"});
  expect_error([&] { engine->run(request({2}, -1)); }, {"max_new_tokens", "-1"});
  const std::vector<TokenId> ids = {2, 3};
  expect_error([&] { engine->logits({}, 0); }, {"empty"});
  expect_error([&] { engine->logits(ids, 3); }, {"3 positions", "2"});
  expect_error([&] { engine->logits(ids, -1); }, {"-1"});
  EXPECT_EQ(engine->run(request({2}, 1)).timing.itl_ns.size(), 0U) << "still usable";
}

TEST_F(EngineErrors, options_are_checked) {
  const auto expect_refused = [&](const EngineOptions& options,
                                  std::initializer_list<std::string> parts) {
    expect_error([&] { make_engine(options); }, parts);
  };
  EngineOptions options = options_;
  options.chunk = 100;
  expect_refused(options, {"--chunk", "100", "64"});
  options = options_;
  options.settings = {{"speed", "fast"}};
  expect_refused(options, {"--set speed", "dense_rule"});
  options = options_;
  options.device = "tpu";
  expect_refused(options, {"tpu"});
  options = options_;
  options.memory_limit_bytes = -1;
  expect_refused(options, {"--memory-limit"});
}

TEST_F(EngineErrors, wrong_weights_are_named) {
  const std::string q = "model.layers.1.self_attn.q_proj.weight";
  expect_weights_refused(
      [&](auto& tensors) { std::erase_if(tensors, [&](const auto& t) { return t.name == q; }); },
      {"model.safetensors", q, "missing"});
  expect_weights_refused(
      [&](auto& tensors) { std::swap(named(tensors, q).shape[0], named(tensors, q).shape[1]); },
      {"model.safetensors", q, "[48, 64]", "[64, 48]"});
  expect_weights_refused(
      [&](auto& tensors) {
        tensors.push_back(named(tensors, q));
        tensors.back().name = "model.layers.9.self_attn.q_proj.weight";
      },
      {"model.safetensors", "model.layers.9.self_attn.q_proj.weight", "unexpected"});
  expect_weights_refused(
      [&](auto& tensors) {
        std::erase_if(tensors, [](const auto& t) { return t.name == "lm_head.weight"; });
      },
      {"lm_head.weight", "missing"});
}

TEST_F(EngineErrors, truncated_weights_are_named) {
  const auto file = folder_.path() / "model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  expect_error([&] { make_engine(options_); }, {"model.safetensors", "cut short"});
}

TEST_F(EngineErrors, a_nan_in_the_logits_names_its_position) {
  TinyModel model;
  auto tensors = tiny_tensors(TinyOptions{}, model);
  // The embedding of token 7 alone is damaged, and 7 stands at position 5.
  auto& table = named(tensors, "model.embed_tokens.weight").bytes;
  const std::uint16_t nan = 0x7fc0;
  std::memcpy(table.data() + 7 * 48 * 2, &nan, 2);
  write_safetensors(folder_.path() / "model.safetensors", tensors);
  const auto engine = make_engine(options_);
  Request damaged = request({2, 3, 4, 5}, 4);
  damaged.forced = {6, 7, 8, 9};
  expect_error([&] { engine->run(damaged); }, {"position 5", "NaN"});
}

TEST_F(EngineErrors, a_tokenizer_larger_than_the_model_is_refused) {
  TinyOptions small;
  small.vocab = 200;
  write_tiny_model(folder_.path(), small);
  expect_error([&] { make_engine(options_); }, {"tokenizer.json", "258", "vocab_size", "200"});
}

TEST_F(EngineErrors, a_model_without_a_tokenizer_still_answers_ids) {
  std::filesystem::remove(folder_.path() / "tokenizer.json");
  const auto engine = make_engine(options_);
  EXPECT_EQ(engine->info().tokenizer_sha256, "");
  expect_error([&] { engine->tokenizer(); }, {"tokenizer.json"});
  EXPECT_EQ(engine->logits(std::vector<TokenId>{2}, 1).size(), 300U);
}

TEST_F(EngineErrors, weights_that_do_not_fit_are_refused_before_loading) {
  EngineOptions options;
  options.model = data_dir() / "configs/minicpm-sala-9b";
  options.random_seed = 1;
  options.memory_limit_bytes = std::int64_t{8} << 30;
  try {
    make_engine(options);
    FAIL() << "9 billion parameters in 8 GiB";
  } catch (const OutOfMemory& error) {
    EXPECT_TRUE(error.predicted);
    EXPECT_EQ(error.category, "weights");
    EXPECT_EQ(error.requested_bytes, 9'477'203'968 * 4);
    EXPECT_LE(error.available_bytes, options.memory_limit_bytes);
  }
}

TEST_F(EngineErrors, a_sequence_that_does_not_fit_is_refused_and_the_next_one_runs) {
  options_.memory_limit_bytes = 8 << 20;
  const auto engine = make_engine(options_);
  Request too_long = request(random_ids(20000, 300, 1), 8);
  try {
    engine->run(too_long);
    FAIL() << "20000 tokens in 8 MiB";
  } catch (const OutOfMemory& error) {
    EXPECT_TRUE(error.predicted);
    EXPECT_EQ(error.category, "kv_sparse");
    EXPECT_GT(error.requested_bytes, error.available_bytes);
  }
  too_long.prompt.resize(100);
  EXPECT_NO_THROW(engine->run(too_long));
}

TEST_F(EngineErrors, what_is_planned_is_what_is_held) {
  const auto engine = make_engine(options_);
  for (const std::int64_t n : {10, 500, 90}) {
    const Output output = engine->run(request(random_ids(n, 300, 1), 3));
    const auto plan = engine->plan_memory(n + 3);
    std::int64_t peak = 0;
    for (const MemoryUse& use : output.memory) {
      const auto planned = std::find_if(plan.begin(), plan.end(), [&](const CategoryBytes& row) {
        return row.category == use.category;
      });
      ASSERT_NE(planned, plan.end()) << use.category;
      EXPECT_EQ(use.planned_bytes, planned->bytes);
      // Small tensors are rounded up to a cache line.
      EXPECT_GE(use.at_peak_bytes, planned->bytes) << use.category << " at " << n;
      EXPECT_LE(use.at_peak_bytes, planned->bytes + 100 * 64) << use.category << " at " << n;
      peak += use.at_peak_bytes;
    }
    EXPECT_EQ(output.peak_bytes, peak);
  }
}

TEST_F(EngineErrors, timings_add_up) {
  const auto engine = make_engine(options_);
  const Output output = engine->run(request(random_ids(70, 300, 1), 5));
  const std::size_t n_outputs = output.tokens.size() + (output.finish == Finish::eos ? 1 : 0);
  ASSERT_EQ(output.timing.itl_ns.size(), n_outputs - 1);
  EXPECT_EQ(std::accumulate(output.timing.itl_ns.begin(), output.timing.itl_ns.end(),
                            output.timing.ttft_ns),
            output.timing.total_ns);
  EXPECT_LE(output.timing.prefill_ns, output.timing.ttft_ns);
  std::int64_t stages = 0;
  for (const StageTime& stage : output.stages) stages += stage.ns;
  EXPECT_LE(stages, output.timing.total_ns);
  EXPECT_FALSE(output.route.empty());
}

TEST_F(EngineErrors, every_stage_declares_what_it_moves_and_layers_say_their_kind) {
  const auto engine = make_engine(options_);
  const Output output = engine->run(request(random_ids(700, 300, 1), 5));
  std::set<std::string> kinds;
  for (const StageTime& stage : output.stages) {
    EXPECT_GT(stage.bytes, 0) << stage.name;
    EXPECT_GT(stage.calls, 0) << stage.name;
    EXPECT_EQ(stage.flops > 0,
              stage.name.ends_with("qkv") || stage.name.ends_with("attend") ||
                  stage.name.ends_with("score") || stage.name.ends_with("linear_scan") ||
                  stage.name.ends_with("out_proj") || stage.name.ends_with(".gate") ||
                  stage.name.find("mlp") != std::string::npos || stage.name.ends_with("lm_head"))
        << stage.name;
    kinds.insert(stage.layer_kind);
  }
  EXPECT_EQ(kinds, (std::set<std::string>{"", "infllm_v2", "lightning"}));
}

TEST_F(EngineErrors, work_declared_does_not_depend_on_the_chunk_where_it_is_the_same_work) {
  // Products: 2 · rows · weights, however the rows are cut.
  std::map<std::string, double> flops[2];
  for (const int i : {0, 1}) {
    options_.chunk = i == 0 ? 512 : 64;
    const Output output = make_engine(options_)->run(request(random_ids(500, 300, 1), 0));
    for (const StageTime& stage : output.stages) flops[i][stage.name] = stage.flops;
  }
  for (const auto& [name, value] : flops[0]) {
    if (name.ends_with("linear_scan")) continue;  // counts the chunk's own triangle
    EXPECT_DOUBLE_EQ(flops[1][name], value) << name;
  }
}

TEST_F(EngineErrors, every_chunk_of_a_prompt_has_its_time) {
  options_.chunk = 64;
  const auto engine = make_engine(options_);
  for (const std::int64_t n : {1, 64, 65, 200}) {
    const Timing timing = engine->run(request(random_ids(n, 300, 1), 2)).timing;
    ASSERT_EQ(timing.chunk_ns.size(), static_cast<std::size_t>((n + 63) / 64)) << n;
    std::int64_t sum = 0;
    for (const std::int64_t ns : timing.chunk_ns) {
      EXPECT_GT(ns, 0);
      sum += ns;
    }
    EXPECT_LE(sum, timing.prefill_ns);
    EXPECT_GT(timing.stage_overhead_ns, 0);
  }
}

TEST_F(EngineErrors, without_stage_times_there_are_none_and_the_answer_is_the_same) {
  const Output timed = make_engine(options_)->run(request(random_ids(200, 300, 1), 5));
  options_.time_stages = false;
  const Output plain = make_engine(options_)->run(request(random_ids(200, 300, 1), 5));
  EXPECT_TRUE(plain.stages.empty());
  EXPECT_TRUE(plain.timing.chunk_ns.empty());
  EXPECT_EQ(plain.timing.stage_overhead_ns, 0);
  EXPECT_EQ(plain.tokens, timed.tokens);
}

TEST_F(EngineErrors, generation_stops_at_every_end_token) {
  const auto first = make_engine(options_)->run(request(random_ids(40, 300, 1), 1));
  ASSERT_EQ(first.tokens.size(), 1U);
  EXPECT_EQ(first.finish, Finish::length);
  write_file(folder_.path() / "generation_config.json",
             fmt::format(R"({{"eos_token_id": {}}})", first.tokens[0]));
  const Output ended = make_engine(options_)->run(request(random_ids(40, 300, 1), 5));
  EXPECT_TRUE(ended.tokens.empty());
  EXPECT_EQ(ended.finish, Finish::eos);
  EXPECT_GT(ended.timing.ttft_ns, 0);
}

TEST_F(EngineErrors, forced_tokens_are_fed_whatever_the_model_says) {
  const auto engine = make_engine(options_);
  Request forced = request(random_ids(40, 300, 1), 4);
  forced.forced = {9, 1, 9, 1};  // 1 is the end token
  const Output output = engine->run(forced);
  EXPECT_EQ(output.tokens, forced.forced);
  EXPECT_EQ(output.finish, Finish::length);
  EXPECT_EQ(output.timing.itl_ns.size(), 3U);
  forced.forced = {9};
  expect_error([&] { engine->run(forced); }, {"forced", "1 tokens", "max_new_tokens is 4"});
  forced.forced = {9, 9, 9, 300};
  expect_error([&] { engine->run(forced); }, {"forced", "token 300 at position 3"});
}

TEST_F(EngineErrors, a_request_for_no_tokens_only_reads_the_prompt) {
  const Output output = make_engine(options_)->run(request(random_ids(40, 300, 1), 0));
  EXPECT_TRUE(output.tokens.empty());
  EXPECT_EQ(output.timing.ttft_ns, 0);
  EXPECT_EQ(output.timing.total_ns, output.timing.prefill_ns);
  EXPECT_GT(output.timing.prefill_ns, 0);
}

TEST_F(EngineErrors, info_identifies_the_model) {
  const auto info = make_engine(options_)->info();
  EXPECT_EQ(info.name, folder_.path().filename().string());
  EXPECT_EQ(info.family, "minicpm_sala");
  EXPECT_EQ(info.mode, "hybrid");
  EXPECT_EQ(info.dtype, "bf16");
  EXPECT_EQ(info.device, "cpu");
  EXPECT_EQ(info.layer_pattern,
            (std::vector<std::string>{"infllm_v2", "lightning", "lightning", "infllm_v2"}));
  EXPECT_EQ(info.weights_sha256, sha256_file(folder_.path() / "model.safetensors"));
  EXPECT_EQ(info.tokenizer_sha256.size(), 64U);
  EXPECT_EQ(info.settings.size(), 8U);
  EXPECT_EQ(info.chunk, 64);
  std::int64_t n_parameters = 0;
  for (const auto& [name, shape] : tiny_shapes({})) n_parameters += shape.first * shape.second;
  EXPECT_EQ(info.n_parameters, n_parameters);
}

TEST_F(EngineErrors, random_weights_need_only_a_config) {
  std::filesystem::remove(folder_.path() / "model.safetensors");
  std::filesystem::remove(folder_.path() / "tokenizer.json");
  expect_error([&] { make_engine(options_); }, {"--weights random"});
  options_.random_seed = 3;
  const auto engine = make_engine(options_);
  EXPECT_TRUE(engine->info().weights_sha256.starts_with("random:3:"));
  const auto ids = engine->tokenizer().encode("prompt").ids;
  EXPECT_EQ(ids.size(), 6U);
  EXPECT_EQ(engine->tokenizer().decode(ids), "prompt");
  EXPECT_EQ(engine->tokenizer().decode(engine->run(request(ids, 4)).tokens).size() <= 4, true);
  EXPECT_EQ(engine->logits(ids, 1), make_engine(options_)->logits(ids, 1));
}

TEST_F(EngineErrors, rounded_logits_are_bf16) {
  options_.settings = {{"logits_round", "bf16"}};
  for (const float logit : make_engine(options_)->logits(std::vector<TokenId>{2, 3}, 1)) {
    EXPECT_EQ(logit, round_to_bf16(logit));
  }
}

}  // namespace
}  // namespace sala::testing
