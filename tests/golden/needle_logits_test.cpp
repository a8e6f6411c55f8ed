// The reference pair's logits against PyTorch in fp64, written by scripts/train/dump_goldens.py.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/data_dir.h"
#include "engine/base/mapped_file.h"
#include "engine/engine.h"
#include "tests/tolerance.h"

namespace sala::testing {
namespace {

using nlohmann::json;

/// The case's logits, log-sum-exps and argmaxes at its positions.
void check_case(const json& golden_case, const json& vocabulary, Engine& engine) {
  const auto ids = golden_case["ids"].get<std::vector<TokenId>>();
  const auto vocab = static_cast<std::size_t>(engine.info().vocab_size);
  const std::vector<float> logits = engine.logits(ids, 0);
  for (std::size_t i = 0; i < golden_case["positions"].size(); ++i) {
    const auto position = golden_case["positions"][i].get<std::size_t>();
    SCOPED_TRACE(::testing::Message() << "position " << position << " of " << ids.size());
    const auto row = std::span(logits).subspan(position * vocab, vocab);
    const auto top = std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float logit : row) sum += std::exp(static_cast<double>(logit - *top));
    EXPECT_NEAR(*top + std::log(sum), golden_case["logsumexp"][i].get<double>(),
                tolerance::kNeedle);
    EXPECT_EQ(top - row.begin(), golden_case["argmax"][i].get<std::ptrdiff_t>());
    for (std::size_t j = 0; j < vocabulary.size(); ++j) {
      const float logit = row[vocabulary[j].get<std::size_t>()];
      EXPECT_NEAR(logit, golden_case["logits"][i][j].get<double>(), tolerance::kNeedle)
          << "token " << j;
    }
  }
}

void check_model(const std::string& name) {
  const std::filesystem::path file =
      std::filesystem::path(SALA_TEST_SOURCE_DIR) / "tests" / "golden" / "data" / (name + ".json");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is not there";
  const json golden = json::parse(read_text_file(file));
  for (const char* attention : {"model", "dense"}) {
    EngineOptions options;
    options.model = data_dir() / "models" / name;
    options.attention = attention;
    const auto engine = make_engine(options);
    ASSERT_EQ(engine->info().weights_sha256, golden["model_sha256"].get<std::string>())
        << "the weights changed: run scripts/train/dump_goldens.py again";
    for (const json& golden_case : golden["cases"]) {
      const bool as_configured = golden_case["attention"] == "config";
      if (as_configured == (engine->info().settings.at("attention") == "model")) {
        check_case(golden_case, golden["vocabulary"], *engine);
      }
    }
  }
}

TEST(NeedleLogits, hybrid_model_equals_pytorch) {
  check_model("needle-hybrid");
}

TEST(NeedleLogits, full_model_equals_pytorch) {
  check_model("needle-full");
}

}  // namespace
}  // namespace sala::testing
