// What a plan predicts is what the process then holds, and the longest context is where it ends.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "engine/backend/backend.h"
#include "engine/engine.h"
#include "engine/memory_plan.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

/// Softmax layers whose caches outweigh everything else: 64 KiB a token.
TinyOptions large_caches() {
  TinyOptions options;
  options.family = "qwen3";
  options.n_heads = 16;
  options.n_kv_heads = 16;
  options.head_dim = 128;
  return options;
}

double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  double size = 0;
  double resident = 0;
  file >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

TEST(MemoryPrediction, the_process_grows_by_what_was_predicted_within_3_percent) {
#ifdef SALA_SANITIZED
  GTEST_SKIP() << "the sanitizers hold memory of their own";
#endif
  const TempFolder folder;
  write_tiny_model(folder.path(), large_caches());
  EngineOptions options;
  options.model = folder.path();
  options.device = "cpu";
  options.threads = 2;
  options.chunk = 256;
  const auto engine = make_engine(options);
  const auto run = [&](std::int64_t n) {
    engine->run({.prompt = std::vector<TokenId>(static_cast<std::size_t>(n), 7),
                 .max_new_tokens = 0,
                 .prompt_logprobs = false,
                 .forced = {}});
    return resident_bytes();
  };
  const auto planned = [&](std::int64_t n) {
    return static_cast<double>(total_bytes(engine->plan_memory(n)));
  };
  const double at_256 = run(256);
  const double at_1024 = run(1024);
  EXPECT_GT(planned(1024) - planned(256), 45e6);
  EXPECT_NEAR((at_1024 - at_256) / (planned(1024) - planned(256)), 1, 0.03);
}

TEST(MemoryPrediction, one_token_more_than_the_longest_context_does_not_fit) {
  const TempFolder folder;
  write_tiny_model(folder.path(), large_caches());
  const auto backend = make_backend("cpu", 1);
  const Blueprint blueprint(read_model_config(folder.path(), Settings{}, "model"), *backend);
  for (const std::int64_t budget : {40'000'000, 500'000'000, 2'000'000'000}) {
    const std::int64_t longest = longest_context(blueprint, 256, budget);
    EXPECT_GT(longest, 1) << budget;
    EXPECT_LE(total_bytes(blueprint.plan(longest, 256, 1)), budget);
    EXPECT_GT(total_bytes(blueprint.plan(longest + 1, 256, 1)), budget);
  }
  EXPECT_EQ(longest_context(blueprint, 256, 1000), 0);
}

TEST(MemoryPrediction, linear_layers_take_any_length) {
  const TempFolder folder;
  TinyOptions options;
  options.mixers = {"lightning-attn", "lightning-attn"};
  write_tiny_model(folder.path(), options);
  const auto backend = make_backend("cpu", 1);
  const Blueprint blueprint(read_model_config(folder.path(), Settings{}, "model"), *backend);
  EXPECT_EQ(longest_context(blueprint, 256, 1 << 30), kEndlessContext);
}

}  // namespace
}  // namespace sala::testing
