// Tiny checkpoints and the transformers library's answers, written by scripts/goldens/models.py.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/base/mapped_file.h"
#include "engine/engine.h"
#include "engine/model/safetensors.h"

namespace sala::testing {

/// One folder of tests/golden/data/models.
class ModelGolden {
 public:
  explicit ModelGolden(const std::string& name)
      : folder_(std::filesystem::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/models" / name),
        answers_(nlohmann::json::parse(read_text_file(folder_ / "expected.json"))),
        logits_(folder_ / "expected") {}

  static std::vector<std::string> names() {
    return {"llama-f32", "llama-bf16", "qwen3-f32", "qwen3-bf16", "minicpm4-bf16"};
  }
  static std::vector<std::int64_t> lengths() { return {1, 17, 128, 1000}; }

  const std::filesystem::path& folder() const { return folder_; }
  std::vector<TokenId> prompt(std::int64_t n) const {
    const auto ids = answers_["ids"].get<std::vector<TokenId>>();
    return {ids.begin(), ids.begin() + n};
  }
  /// Continuation of the first greedy_prompt() ids.
  std::vector<TokenId> greedy() const { return answers_["greedy"].get<std::vector<TokenId>>(); }
  std::int64_t greedy_prompt() const { return answers_["prompt"].get<std::int64_t>(); }

  /// Logits of the last rows for a prompt of n ids, computed in fp32 or, by `variant` ".bf16", in
  /// bf16.
  std::vector<float> logits(std::int64_t n, const std::string& variant = "") const {
    const StoredTensor& stored = logits_.tensors().at("logits." + std::to_string(n) + variant);
    std::vector<float> values(stored.bytes.size() / sizeof(float));
    std::memcpy(values.data(), stored.bytes.data(), stored.bytes.size());
    return values;
  }
  std::int64_t n_rows(std::int64_t n) const {
    return logits_.tensors().at("logits." + std::to_string(n)).shape.front();
  }

 private:
  std::filesystem::path folder_;
  nlohmann::json answers_;
  Checkpoint logits_;
};

inline std::vector<float> engine_logits(Engine& engine, const ModelGolden& golden, std::int64_t n) {
  return engine.logits(golden.prompt(n), golden.n_rows(n));
}

inline std::vector<TokenId> engine_greedy(Engine& engine, const ModelGolden& golden) {
  Request request;
  request.prompt = golden.prompt(golden.greedy_prompt());
  request.max_new_tokens = static_cast<std::int64_t>(golden.greedy().size());
  return engine.run(request).tokens;
}

/// Largest difference over the largest expected value; infinite for another count.
inline double worst_difference(const std::vector<float>& actual,
                               const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double worst = 0;
  double largest = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const auto a = static_cast<double>(actual[i]);
    const auto e = static_cast<double>(expected[i]);
    worst = std::isfinite(a) ? std::max(worst, std::abs(a - e)) : INFINITY;
    largest = std::max(largest, std::abs(e));
  }
  return worst / largest;
}

}  // namespace sala::testing
