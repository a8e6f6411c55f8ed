// Official mode where there are no goldens: purity, clear ends, other lengths and tokenizers.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/base/sha256.h"
#include "harness/task.h"
#include "tasks/ruler/jsonl.h"
#include "tests/expect_error.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::expect_error;

const std::vector<std::string> kTasks{"cwe",
                                      "fwe",
                                      "niah_multikey_1",
                                      "niah_multikey_2",
                                      "niah_multikey_3",
                                      "niah_multiquery",
                                      "niah_multivalue",
                                      "niah_single_1",
                                      "niah_single_2",
                                      "niah_single_3",
                                      "qa_1",
                                      "qa_2",
                                      "vt"};

/// A data folder of small made-up files, so that every task runs.
class RulerOfficial : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    fs::create_directories(folder() / "wonderwords");
    const auto write = [](const char* name, const std::string& text) {
      std::ofstream(folder() / name, std::ios::binary) << text;
    };
    std::string nouns;
    std::string adjectives;
    for (int i = 0; i < 400; ++i) nouns += "noun" + std::to_string(i) + "\n";
    for (int i = 0; i < 50; ++i)
      adjectives += "old" + std::to_string(i) + "\nold-" + std::to_string(i) + "\n";
    write("wonderwords/nounlist.txt", nouns);
    write("wonderwords/adjectivelist.txt", adjectives + "old\n");
    write("wonderwords/verblist.txt", "go\nsee\n");
    json english;
    for (int i = 0; i < 9000; ++i) english[std::to_string(i)] = "word" + std::to_string(i);
    write("english_words.json", english.dump());
    std::string text;
    std::vector<std::size_t> starts;
    for (int i = 0; i < 300; ++i) {
      starts.push_back(text.size());
      text += "Sentence " + std::to_string(i) + " says as much as the others do. ";
    }
    text.pop_back();
    const std::string essay = json{{"text", text}}.dump();
    write("essay.json", essay);
    write("essay.sents.json", json{{"format", "sala-sentence-starts-1"},
                                   {"essay_sha256", sha256_hex(essay)},
                                   {"seam_break", true},
                                   {"starts", starts}}
                                  .dump());
    json squad;
    json hotpot;
    for (int i = 0; i < 60; ++i) {
      const std::string n = std::to_string(i);
      json qas{{{"question", "Who is " + n + "?"},
                {"answers", {{{"text", "person " + n}}}},
                {"is_impossible", false}}};
      json paragraphs{{{"context", "Paragraph about person " + n + "."}, {"qas", qas}},
                      {{"context", "Paragraph beside " + n + "."}, {"qas", json::array()}}};
      squad["data"].push_back({{"title", "T" + n}, {"paragraphs", paragraphs}});
      json context;
      for (int d = 0; d < 3; ++d) {
        context.push_back({"Title " + n + "." + std::to_string(d), {"It says ", n, "."}});
      }
      hotpot.push_back({{"_id", n}, {"question", "Q" + n}, {"answer", n}, {"context", context}});
    }
    write("squad.json", squad.dump());
    write("hotpotqa.json", hotpot.dump());
  }
  static void TearDownTestSuite() { fs::remove_all(folder()); }

  static fs::path folder() { return fs::path(::testing::TempDir()) / "sala_ruler_official"; }
  static TaskOptions options(std::int64_t length, std::uint64_t seed = 42) {
    return {length, seed, {folder().string()}, "official"};
  }
};

const Tokenizer& words() {
  static const auto tokenizer = make_whitespace_tokenizer();
  return *tokenizer;
}
const Tokenizer& tiny() {
  static const auto tokenizer =
      load_tokenizer(fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/tiny_tokenizer");
  return *tokenizer;
}

TEST_F(RulerOfficial, samples_are_pure_in_any_order) {
  for (const auto& name : kTasks) {
    const auto forward = make_task(name);
    const auto backward = make_task(name);
    std::vector<Sample> samples;
    samples.reserve(5);
    for (std::int64_t i = 0; i < 5; ++i) {
      samples.push_back(forward->make(options(3000, 7), i, words()));
    }
    for (std::int64_t i = 4; i >= 0; --i) {
      const Sample& expected = samples[static_cast<std::size_t>(i)];
      const Sample sample = backward->make(options(3000, 7), i, words());
      EXPECT_EQ(sample.prompt, expected.prompt) << name << " " << i;
      EXPECT_EQ(sample.references, expected.references) << name;
      EXPECT_EQ(sample.index, i);
    }
    EXPECT_NE(samples[0].prompt, samples[1].prompt) << name;
    // One task object serves several cells.
    EXPECT_NE(forward->make(options(3000, 8), 0, words()).prompt, samples[0].prompt) << name;
    EXPECT_EQ(forward->make(options(3000, 7), 0, words()).prompt, samples[0].prompt) << name;
  }
}

TEST_F(RulerOfficial, no_sample_exceeds_its_length_at_other_seeds_lengths_and_tokenizers) {
  for (const auto& name : kTasks) {
    const auto task = make_task(name);
    for (const std::uint64_t seed : {0U, 1U, 4294967295U}) {
      for (const std::int64_t length : {2500, 4095, 4096, 6001}) {
        for (const Tokenizer* tokenizer : {&words(), &tiny()}) {
          // Upstream's worked example has 500 tokens, which are few for this vocabulary.
          if (tokenizer == &tiny() && (length < 6000 || name == "vt")) continue;
          for (std::int64_t i = 0; i < 3; ++i) {
            const Sample sample = task->make(options(length, seed), i, *tokenizer);
            EXPECT_LE(tokenizer->count(sample.prompt) + sample.max_new_tokens, length) << name;
            EXPECT_TRUE(sample.prompt.ends_with(sample.answer_prefix)) << name;
            for (const std::string& reference : sample.references) {
              EXPECT_NE(sample.prompt.find(reference), std::string::npos) << name;
            }
            const json line =
                json::parse(ruler_jsonl(sample, task->info(), options(length, seed), *tokenizer));
            EXPECT_EQ(line["length"], tokenizer->count(sample.prompt) + sample.max_new_tokens);
            EXPECT_EQ(line["input"].get<std::string>() + line["answer_prefix"].get<std::string>(),
                      sample.prompt);
          }
        }
      }
    }
  }
}

TEST_F(RulerOfficial, a_bos_comes_on_top_of_what_is_counted) {
  const Sample sample = make_task("fwe")->make(options(6000), 0, tiny());
  EXPECT_EQ(sample.prompt_ids.front(), *tiny().bos());
  EXPECT_EQ(static_cast<std::int64_t>(sample.prompt_ids.size()), tiny().count(sample.prompt) + 1);
}

TEST_F(RulerOfficial, the_spans_hold_the_answers) {
  for (const auto& name : kTasks) {
    if (name == "cwe" || name == "fwe" || name == "vt") continue;
    const Sample sample = make_task(name)->make(options(6000), 1, tiny());
    ASSERT_FALSE(sample.needles.empty()) << name;
    std::string spans;
    for (const TokenSpan& needle : sample.needles) {
      spans += tiny().decode(std::span(sample.prompt_ids)
                                 .subspan(static_cast<std::size_t>(needle.begin),
                                          static_cast<std::size_t>(needle.end - needle.begin)));
    }
    for (const std::string& reference : sample.references) {
      EXPECT_NE(spans.find(reference), std::string::npos) << name << ": " << spans;
    }
  }
}

TEST_F(RulerOfficial, where_upstream_would_draw_for_ever_there_is_an_error) {
  for (const char* name : {"niah_multikey_3", "qa_2", "vt"}) {
    expect_error([&] { make_task(name)->make(options(130), 0, words()); },
                 {name, "length 130", "20000 draws", "the shortest had"});
  }
  for (const char* name : {"cwe", "fwe"}) {
    expect_error([&] { make_task(name)->make(options(130), 0, words()); }, {name, "length 130"});
  }
}

TEST_F(RulerOfficial, what_upstream_cannot_take_is_an_error) {
  expect_error([&] { make_task("vt")->make(options(2500, 1ULL << 32), 0, words()); },
               {"--seed", "2^32"});
  expect_error([&] { make_task("qa_1")->make(options(2500), 60, words()); }, {"qa_1", "60"});
  expect_error([&] { make_task("vt")->make(options(2500), -1, words()); }, {"vt", "-1"});
  expect_error([&] { make_task("passkey")->make(options(2500), 0, words()); },
               {"passkey", "official"});
  expect_error([&] { make_task("needle_grid")->make(options(2500), 0, words()); },
               {"needle_grid", "official"});
  for (const char* name : {"niah_single_1", "cwe", "qa_1"}) {
    expect_error([&] { make_task(name)->make({2500, 1, {}, "official"}, 0, words()); },
                 {"is needed", "--data"});
  }
}

TEST_F(RulerOfficial, an_index_is_a_text_position_in_needle_tasks_alone) {
  const auto line_of = [&](const char* name, const char* mode) {
    const auto task = make_task(name);
    TaskOptions wanted = options(2500);
    wanted.mode = mode;
    const Sample sample = task->make(wanted, 2, words());
    return json::parse(ruler_jsonl(sample, task->info(), wanted, words()));
  };
  const json official = line_of("niah_single_1", "official");
  const std::string input = official["input"];
  EXPECT_EQ(official["index"], input.find(official["outputs"][0].get<std::string>()));
  EXPECT_EQ(official["token_position_answer"],
            words().count(input.substr(0, official["index"].get<std::size_t>())));
  EXPECT_EQ(line_of("niah_single_1", "strict")["index"], 2);
  const json other = line_of("vt", "official");
  EXPECT_EQ(other["index"], 2);
  EXPECT_FALSE(other.contains("token_position_answer"));
}

TEST(RulerJsonl, is_written_as_python_writes_it) {
  Sample sample;
  sample.index = 3;
  sample.prompt = "\"q\\\n\u00e9\U0001F600\x7f/\x01 answer";
  sample.answer_prefix = " answer";
  sample.references = {"a", "b"};
  sample.max_new_tokens = 5;
  EXPECT_EQ(
      ruler_jsonl(sample, {.name = "vt", .version = 1, .summary = "", .source = "", .scorer = ""},
                  {}, words()),
      R"({"index": 3, "input": "\"q\\\n\u00e9\ud83d\ude00\u007f/\u0001", )"
      R"("outputs": ["a", "b"], "length": 5, "length_w_model_temp": 5, )"
      R"("answer_prefix": " answer"})");
}

}  // namespace
}  // namespace sala
