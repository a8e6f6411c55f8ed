// Small files in the formats of the official suites, with made-up contents.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sala::testing {

/// A data folder with two or three rows for every task over official files; gone at the end.
class SuiteFixture {
 public:
  SuiteFixture()
      : folder_(std::filesystem::temp_directory_path() /
                ("sala-suites-" + std::to_string(getpid()))) {
    std::filesystem::remove_all(folder_);
    write_babilong();
    write_longbench();
    write_infinitebench();
    write_mrcr();
    write_nolima();
    write("niah/a.txt", essay("Kites", 60));
    write("niah/b.txt", essay("Boats", 60));
  }
  ~SuiteFixture() { std::filesystem::remove_all(folder_); }
  SuiteFixture(const SuiteFixture&) = delete;
  SuiteFixture& operator=(const SuiteFixture&) = delete;

  std::vector<std::string> data() const { return {folder_.string()}; }

  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }

 private:
  using Json = nlohmann::ordered_json;

  void write_rows(const std::string& name, const std::vector<Json>& rows) const {
    std::string text;
    for (const Json& row : rows) text += row.dump() + "\n";
    write(name, text);
  }

  static std::string essay(const std::string& subject, int sentences) {
    std::string text;
    for (int i = 0; i < sentences; ++i) {
      text += subject + " number " + std::to_string(i) + " drifted over the quiet lake. ";
      if (i % 3 == 2) text += "\n";
    }
    return text;
  }

  void write_babilong() const {
    std::ifstream templates(std::string(SALA_TEST_SOURCE_DIR) + "/data/templates/babilong.json");
    const Json labels = Json::parse(templates)["labels"];
    for (const char* length : {"0k", "1k"}) {
      for (const auto& [qa, of_task] : labels.items()) {
        write_rows("babilong/" + std::string(length) + "/" + qa + ".jsonl",
                   {{{"input", "  Mary went to the kitchen.\nIt rained. "},
                     {"question", "Where is Mary?"},
                     {"target", of_task.back()}},
                    {{"input", "John went to the garden."},
                     {"question", "Where is John?"},
                     {"target", of_task.front()}}});
      }
    }
  }

  void write_longbench() const {
    const std::vector<std::string> datasets{"2wikimqa",
                                            "gov_report",
                                            "hotpotqa",
                                            "lcc",
                                            "lsht",
                                            "multi_news",
                                            "multifieldqa_en",
                                            "musique",
                                            "narrativeqa",
                                            "passage_count",
                                            "passage_retrieval_en",
                                            "passage_retrieval_zh",
                                            "qasper",
                                            "qmsum",
                                            "repobench-p",
                                            "samsum",
                                            "trec",
                                            "triviaqa"};
    for (const std::string& dataset : datasets) {
      const bool retrieves = dataset.starts_with("passage_retrieval");
      const std::string answer = retrieves                    ? "Paragraph 7"
                                 : dataset == "passage_count" ? "3"
                                                              : "Location";
      for (const char* even : {"", "_e"}) {
        write_rows("longbench/" + dataset + even + ".jsonl",
                   {{{"input", "What is it?"},
                     {"context", essay("Clouds", 40)},
                     {"answers", {answer}},
                     {"length", 300},
                     {"dataset", dataset},
                     {"all_classes", {"Location", "Person"}},
                     {"_id", "1"}}});
      }
    }
    write("longbench2/data.json", Json::array({{{"_id", "a"},
                                                {"difficulty", "easy"},
                                                {"length", "short"},
                                                {"question", " Which one? "},
                                                {"choice_A", "red"},
                                                {"choice_B", "green"},
                                                {"choice_C", "blue"},
                                                {"choice_D", "grey"},
                                                {"answer", "B"},
                                                {"context", "A text that costs $Q$ and no more."}}})
                                      .dump());
  }

  void write_infinitebench() const {
    const auto row = [&](const std::string& name, const std::string& input, const Json& answer,
                         const Json& options = Json::array()) {
      write_rows("infinitebench/" + name + ".jsonl", {{{"id", 0},
                                                       {"context", essay("Numbers", 30)},
                                                       {"input", input},
                                                       {"answer", answer},
                                                       {"options", options}}});
    };
    const Json options{"one", "two", "three", "four"};
    row("code_debug", "", {"two"}, options);
    row("code_run", "Please give me the value of func_1(-3).", 17);
    row("kv_retrieval", "Key: \"a\"", {"b"});
    row("longbook_choice_eng", "Which?", {"three"}, options);
    row("longbook_qa_chn", "谁？", {"小明"});
    row("longbook_qa_eng", "Who?", {"Ann", "Miss Ann"});
    row("longbook_sum_eng", "", {"A short summary."});
    row("longdialogue_qa_eng", "", {"MARY"});
    row("math_calc", "", {1, 2, 3});
    row("math_find", "Find it. The largest number of the list?", 42);
    row("number_string", "What is it?", {"0071"});
    row("passkey", "What is the pass key?", {"71432"});
  }

  void write_mrcr() const {
    for (const int needles : {2, 4, 8}) {
      Json messages = Json::array();
      for (int turn = 0; turn < 12; ++turn) {
        messages.push_back({{"role", "user"}, {"content", "Write about boats."}});
        messages.push_back({{"role", "assistant"}, {"content", essay("Boats", 2 + turn)}});
      }
      messages.push_back({{"role", "user"}, {"content", "Prepend xyz to the second one."}});
      write_rows("mrcr/" + std::to_string(needles) + "needle.jsonl",
                 {{{"prompt", messages.dump()},
                   {"answer", "xyz" + essay("Boats", 3)},
                   {"random_string_to_prepend", "xyz"},
                   {"n_needles", needles},
                   {"n_chars", messages.dump().size()}}});
    }
    write("mrcr_v2/eight.csv",
          "queries,answer,context_len\n\"" + essay("Ships", 60) +
              "\nsay \"\"that\"\" again\",\"abcdefghijkl and the text\",900\n");
  }

  void write_nolima() const {
    const Json set = Json::array({{{"id", "0401"},
                                   {"reasoning_type", "world_knowledge"},
                                   {"system_prompt", ""},
                                   {"needle", "Actually, {CHAR} lives next to the {1}."},
                                   {"questions", {{"onehop", "Which character has been to {2}?"}}},
                                   {"character_set", {"Yuki", "Stuart", "Katie"}},
                                   {"tests",
                                    {{"T1", {{"input_args", {"Semper Opera", "Dresden"}}}},
                                     {"T2", {{"input_args", {"Kiasma museum", "Helsinki"}}}}}}}});
    for (const char* name : {"needle_set", "needle_set_ONLYDirect", "needle_set_hard"}) {
      write("nolima/needlesets/" + std::string(name) + ".json", set.dump());
    }
    write("nolima/haystack/rand_shuffle/rand_book_1.txt", essay("Sails", 900));
    write("nolima/haystack/rand_shuffle/rand_book_2.txt", essay("Masts", 900));
  }

  std::filesystem::path folder_;
};

}  // namespace sala::testing
