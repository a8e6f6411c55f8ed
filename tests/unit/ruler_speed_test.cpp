// Prompts of a million tokens take seconds.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>

#include "harness/task.h"

namespace sala {
namespace {

double seconds_of(const Task& task, const TaskOptions& options, const Tokenizer& tokenizer) {
  const auto start = std::chrono::steady_clock::now();
  const Sample sample = task.make(options, 0, tokenizer);
  EXPECT_GT(static_cast<std::int64_t>(sample.prompt_ids.size()), options.length * 9 / 10);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(RulerSpeed, a_sample_of_a_million_tokens_takes_seconds) {
#ifdef SALA_SANITIZED
  GTEST_SKIP() << "times of a build with sanitizers say nothing";
#endif
  const auto tokenizer =
      load_tokenizer(std::string(SALA_TEST_SOURCE_DIR) + "/data/models/needle-hybrid");
  for (const char* name : {"niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1",
                           "niah_multikey_2", "niah_multikey_3", "niah_multivalue",
                           "niah_multiquery", "vt", "cwe", "fwe", "qa_1", "qa_2"}) {
    const double seconds = seconds_of(*make_task(name), {1 << 20, 42, {}}, *tokenizer);
    std::printf("%-16s strict    %.2f s\n", name, seconds);
    EXPECT_LT(seconds, 30) << name;
  }
  // The first official sample pays for the search of its size.
  for (const char* name : {"niah_multikey_3", "vt", "fwe"}) {
    const double seconds = seconds_of(*make_task(name), {1 << 20, 42, {}, "official"}, *tokenizer);
    std::printf("%-16s official  %.2f s\n", name, seconds);
    EXPECT_LT(seconds, 30) << name;
  }
}

}  // namespace
}  // namespace sala
