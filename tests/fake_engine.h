// An engine, a tokenizer and a task without a model, for tests of everything above the engine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "engine/engine.h"
#include "harness/task.h"

namespace sala::testing {

/// One token a byte.
class FakeTokenizer final : public Tokenizer {
 public:
  Encoding encode(std::string_view text) const override {
    Encoding encoding;
    for (std::size_t i = 0; i < text.size(); ++i) {
      encoding.ids.push_back(static_cast<unsigned char>(text[i]));
      encoding.begin.push_back(static_cast<std::int64_t>(i));
    }
    return encoding;
  }
  std::string decode(std::span<const TokenId> ids) const override {
    std::string text;
    for (const TokenId id : ids) text += static_cast<char>(id);
    return text;
  }
  std::int64_t vocab_size() const override { return 256; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  const std::string& sha256() const override { return sha256_; }

 private:
  std::string sha256_ = sha256_hex(std::string_view("fake tokenizer"));
};

/// Answers whatever `answer` says of the prompt's text; throws what it throws.
class FakeEngine : public Engine {
 public:
  using AnswerFunction = std::function<std::string(const std::string& prompt)>;

  FakeEngine(std::string name, std::string mode, AnswerFunction answer)
      : answer_(std::move(answer)) {
    engine_info.name = std::move(name);
    engine_info.family = "fake";
    engine_info.mode = std::move(mode);
    engine_info.dtype = "f32";
    engine_info.device = "cpu";
    engine_info.device_info = {"fake", 1, 1 << 30};
    engine_info.vocab_size = tokenizer_.vocab_size();
    engine_info.layer_pattern = {engine_info.mode == "full" ? "dense" : "lightning"};
    engine_info.weights_sha256 = sha256_hex("weights of " + engine_info.name);
    engine_info.tokenizer_sha256 = tokenizer_.sha256();
    engine_info.config_json = "{}";
    engine_info.chunk = 512;
  }

  const EngineInfo& info() const override { return engine_info; }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::vector<CategoryBytes> plan_memory(std::int64_t n_tokens) const override {
    return {{"weights", 1000}, {"kv_full", n_tokens * 8}};
  }
  Output run(const Request& request) override {
    ++n_requests;
    last_request = request;
    const auto n_prompt = static_cast<std::int64_t>(request.prompt.size());
    Output output;
    if (request.forced.empty()) {
      const std::string text = answer_(tokenizer_.decode(request.prompt));
      output.tokens = tokenizer_.encode(text).ids;
      output.finish = Finish::eos;
    } else {
      answer_(tokenizer_.decode(request.prompt));  // it may throw
      output.tokens = request.forced;
    }
    output.timing = {
        .ttft_ns = 1000 * n_prompt, .prefill_ns = 900 * n_prompt, .total_ns = 0, .itl_ns = {}};
    output.timing.itl_ns.assign(std::max<std::size_t>(output.tokens.size(), 1) - 1, 50);
    output.timing.total_ns =
        output.timing.ttft_ns + 50 * static_cast<std::int64_t>(output.timing.itl_ns.size());
    output.stages = {{"prefill.qkv", 400 * n_prompt, 1, 0},
                     {"prefill.lightning.scan", 7 * n_prompt, 1, 0},
                     {"decode.qkv", 10, 1, 0}};
    output.memory = {{"weights", 1000, 1000, 1000, 1000},
                     {"kv_full", n_prompt * 8, n_prompt * 8, n_prompt * 8, n_prompt * 8}};
    output.peak_bytes = 1000 + n_prompt * 8;
    output.route = {{0, "prefill", route_path, "fake", 1, 10, 20}};
    return output;
  }
  std::vector<float> logits(std::span<const TokenId>, std::int64_t) override {
    throw Error("fake engine", "has no logits");
  }
  std::int64_t held_bytes() const override { return held; }
  Ceilings measure_ceilings() override {
    if (!ceilings) throw OutOfMemory("fake", "workspace", 1, 0, false);
    return *ceilings;
  }
  void unload() override { ++n_unloads; }

  EngineInfo engine_info;
  int n_requests = 0;
  int n_unloads = 0;
  std::int64_t held = 0;
  std::optional<Ceilings> ceilings = Ceilings{8e9, 4e9, 1e9, 2e9, 5e8, 0};  // none: no room
  Request last_request;
  std::string route_path = "linear";  // dense for an engine of mode full

 private:
  FakeTokenizer tokenizer_;
  AnswerFunction answer_;
};

/// Prompts "sample I of L seed S" padded to the length; the answer is "I".
class FakeTask final : public Task {
 public:
  explicit FakeTask(std::string name = "fake") {
    info_ = {.name = std::move(name),
             .version = 1,
             .summary = "a number",
             .source = "",
             .scorer = "ruler_all"};
  }
  const TaskInfo& info() const override { return info_; }
  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override {
    constexpr std::int64_t kAnswer = 8;
    if (options.length < 48) throw Error("fake", "length {} is below 48", options.length);
    Sample sample;
    sample.index = i;
    sample.prompt =
        fmt::format("{} sample {} of {} seed {}", info_.name, i, options.length, options.seed);
    sample.prompt.resize(static_cast<std::size_t>(options.length - kAnswer), '.');
    sample.prompt_ids = tokenizer.encode(sample.prompt).ids;
    sample.max_new_tokens = kAnswer;
    sample.references = {std::to_string(i)};
    const auto at = static_cast<std::int64_t>(sample.prompt.find(" sample "));
    sample.needles = {{at, at + 20}};
    sample.depth_pct = 10;
    sample.cluster = fmt::format("{}-{}-{}", info_.name, options.length, i);
    return sample;
  }

 private:
  TaskInfo info_;
};

/// The number that FakeTask asks for.
inline std::string fake_answer(const std::string& prompt) {
  const std::string word = " sample ";
  const auto at = prompt.find(word) + word.size();
  return prompt.substr(at, prompt.find(' ', at) - at);
}

}  // namespace sala::testing
