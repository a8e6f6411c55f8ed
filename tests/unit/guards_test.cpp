// Mistakes that have moved published scores, planted one by one.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/guards.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <span>

#include "engine/base/error.h"
#include "tests/expect_error.h"
#include "tests/tiny_model.h"

namespace sala {
namespace {

const Tokenizer& tiny() {
  static const auto tokenizer = load_tokenizer(std::filesystem::path(SALA_TEST_SOURCE_DIR) /
                                               "tests/golden/data/tiny_tokenizer");
  return *tokenizer;
}

constexpr std::int64_t kLength = 1024;

Sample sample_of(const char* task) {
  return make_task(task)->make({kLength, 42, {}}, 0, tiny());
}

std::string complaint(const char* task, const std::function<void(Sample&)>& mutate) {
  const auto made = make_task(task);
  Sample sample = sample_of(task);
  mutate(sample);
  try {
    check_prompt(made->info(), sample, kLength, tiny());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// What the mutation leaves of the prompt, encoded anew.
void encode_again(Sample& sample) {
  sample.prompt_ids = tiny().encode(sample.prompt).ids;
  sample.prompt_ids.insert(sample.prompt_ids.begin(), *tiny().bos());
  sample.needles.clear();
}

/// Two bytes a token, whatever they are: question and answer prefix may share one.
class PairTokenizer : public Tokenizer {
 public:
  Encoding encode(std::string_view text) const override {
    Encoding out;
    for (std::size_t at = 0; at < text.size(); at += 2) {
      const auto first = static_cast<unsigned char>(text[at]);
      const auto second = at + 1 < text.size() ? static_cast<unsigned char>(text[at + 1]) : 0;
      out.ids.push_back(256 * first + second);
      out.begin.push_back(static_cast<std::int64_t>(at));
    }
    return out;
  }
  std::string decode(std::span<const TokenId> ids) const override {
    std::string text;
    for (const TokenId id : ids) {
      text += static_cast<char>(id / 256);
      if (id % 256 != 0) text += static_cast<char>(id % 256);
    }
    return text;
  }
  std::int64_t vocab_size() const override { return 65536; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  const std::string& sha256() const override { return name_; }

 private:
  std::string name_ = "pairs";
};

/// Loses white space at the end, as tokenizers that normalise do.
class StrippingTokenizer : public PairTokenizer {
 public:
  Encoding encode(std::string_view text) const override {
    return PairTokenizer::encode(text.substr(0, text.find_last_not_of(' ') + 1));
  }
};

TEST(Guards, a_tokenizer_that_splits_the_answer_prefix_sends_all_of_it) {
  const PairTokenizer pairs;
  int n_shared = 0;
  for (const char* name : {"niah_single_1", "niah_multiquery", "vt", "cwe", "fwe", "qa_1"}) {
    const auto task = make_task(name);
    for (std::int64_t i = 0; i < 5; ++i) {
      const Sample sample = task->make({4 * kLength, 42, {}}, i, pairs);
      EXPECT_NO_THROW(check_prompt(task->info(), sample, 4 * kLength, pairs)) << name;
      EXPECT_TRUE(pairs.decode(sample.prompt_ids).ends_with(sample.answer_prefix)) << name;
      n_shared += (sample.prompt.size() - sample.answer_prefix.size()) % 2 == 1 ? 1 : 0;
    }
  }
  EXPECT_GT(n_shared, 0) << "no token held both the question's end and the prefix's begin";
}

TEST(Guards, a_tokenizer_that_drops_the_last_space_of_vts_prefix_is_found) {
  const StrippingTokenizer stripping;
  const auto task = make_task("vt");
  const Sample sample = task->make({4 * kLength, 42, {}}, 0, stripping);
  ASSERT_TRUE(sample.answer_prefix.ends_with("they are: "));
  EXPECT_THROW(check_prompt(task->info(), sample, 4 * kLength, stripping), Error);
}

TEST(Guards, every_built_in_task_passes_in_strict_mode) {
  for (const std::string& name : task_names()) {
    const auto task = make_task(name);
    if (!task->info().needs_data.empty()) continue;
    constexpr std::int64_t kLong = 8192;  // tiny() has a token for nearly every byte
    for (std::int64_t i = 0; i < 3; ++i) {
      const Sample sample = task->make({kLong, 42, {}}, i, tiny());
      EXPECT_NO_THROW(check_prompt(task->info(), sample, kLong, tiny())) << name;
    }
  }
}

TEST(Guards, spaces_that_a_tokenizer_puts_in_are_no_other_text) {
  const std::filesystem::path data =
      std::filesystem::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/tokenizers";
  for (const char* file : {"llama2.json", "llama2.model", "qwen.json"}) {
    const testing::TempFolder folder;
    std::filesystem::copy_file(
        data / file, folder.path() / (std::string(file).ends_with(".model") ? "tokenizer.model"
                                                                            : "tokenizer.json"));
    const auto tokenizer = load_tokenizer(folder.path());
    for (const char* name : {"niah_single_2", "vt", "qa_1", "passkey"}) {
      for (const char* chat : {"base", "chatml-no-thinking", "<s>user{task_template}</s>"}) {
        const auto task = make_task(name);
        const Sample sample = task->make({4096, 42, {}, "strict", chat}, 0, *tokenizer);
        EXPECT_NO_THROW(check_prompt(task->info(), sample, 4096, *tokenizer))
            << file << " " << name << " " << chat;
      }
    }
  }
}

TEST(Guards, a_text_that_the_tokenizer_normalises_is_compared_by_its_ids) {
  const testing::TempFolder folder;
  std::filesystem::copy_file(
      std::filesystem::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/tokenizers/qwen.json",
      folder.path() / "tokenizer.json");
  const auto tokenizer = load_tokenizer(folder.path());
  Sample sample;
  sample.prompt = "cafe\u0301 is";
  sample.answer_prefix = " is";
  sample.prompt_ids = tokenizer->encode(sample.prompt).ids;
  ASSERT_NE(tokenizer->decode(sample.prompt_ids), sample.prompt);
  TaskInfo task;
  task.name = "t";
  EXPECT_NO_THROW(check_prompt(task, sample, 100, *tokenizer));
  sample.prompt_ids.back() ^= 1;
  testing::expect_error([&] { check_prompt(task, sample, 100, *tokenizer); },
                        {"are not those of the prompt"});
}

TEST(Guards, a_dropped_answer_prefix_is_found) {
  const std::string text = complaint("niah_single_2", [](Sample& sample) {
    sample.prompt.resize(sample.prompt.size() - sample.answer_prefix.size());
    encode_again(sample);
  });
  EXPECT_NE(text.find("does not end with its answer prefix"), std::string::npos) << text;
}

TEST(Guards, a_prefix_that_lost_its_last_space_is_found) {
  const std::string text = complaint("niah_single_2", [](Sample& sample) {
    sample.prompt += ' ';
    sample.answer_prefix += ' ';
    sample.prompt.pop_back();
    encode_again(sample);
  });
  EXPECT_NE(text.find("does not end with its answer prefix"), std::string::npos) << text;
}

TEST(Guards, ids_of_another_text_are_found) {
  const std::string text =
      complaint("niah_single_2", [](Sample& sample) { sample.prompt_ids.pop_back(); });
  EXPECT_NE(text.find("are not those of the prompt"), std::string::npos) << text;
}

TEST(Guards, a_doubled_or_missing_bos_is_found) {
  const std::string doubled = complaint("passkey", [](Sample& sample) {
    sample.prompt_ids.insert(sample.prompt_ids.begin(), *tiny().bos());
  });
  EXPECT_NE(doubled.find("begins with 2 BOS tokens"), std::string::npos) << doubled;
  const std::string missing = complaint(
      "passkey", [](Sample& sample) { sample.prompt_ids.erase(sample.prompt_ids.begin()); });
  EXPECT_NE(missing.find("begins with 0 BOS tokens"), std::string::npos) << missing;
}

TEST(Guards, a_prompt_over_the_length_is_found) {
  const std::string text =
      complaint("passkey", [](Sample& sample) { sample.max_new_tokens = kLength; });
  EXPECT_NE(text.find("over the length of 1024"), std::string::npos) << text;
}

TEST(Guards, references_of_another_sample_are_found) {
  for (const char* task : {"niah_single_2", "niah_multiquery", "passkey", "association"}) {
    const Sample other = make_task(task)->make({kLength, 42, {}}, 1, tiny());
    const std::string text =
        complaint(task, [&](Sample& sample) { sample.references = other.references; });
    EXPECT_NE(text.find("does not hold its reference"), std::string::npos) << task << text;
  }
}

TEST(Guards, an_echo_of_the_prompt_is_found) {
  Sample sample = sample_of("niah_single_2");
  sample.max_new_tokens = 200;
  Output output;
  output.tokens.assign(100, 1);
  EXPECT_NO_THROW(check_answer(sample, output, "The number is 7."));
  EXPECT_THROW(check_answer(sample, output, sample.prompt.substr(0, 100)), Error);
  output.tokens.assign(201, 1);
  EXPECT_THROW(check_answer(sample, output, "The number is 7."), Error);
}

TEST(Guards, the_trace_shows_both_ends_of_a_prompt) {
  const Sample sample = sample_of("passkey");
  const PromptTrace trace = trace_prompt(sample);
  EXPECT_EQ(trace.first_ids.size(), 8U);
  EXPECT_EQ(trace.first_ids[0], *tiny().bos());
  EXPECT_EQ(trace.tail.size(), 200U);
  EXPECT_TRUE(trace.tail.ends_with(sample.answer_prefix));
  EXPECT_NE(trace.ids_sha256, trace_prompt(sample_of("niah_single_2")).ids_sha256);
}

}  // namespace
}  // namespace sala
