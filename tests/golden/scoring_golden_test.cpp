// Scores of other benchmarks against what their own functions returned.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/base/mapped_file.h"
#include "harness/scorer.h"
#include "harness/scorers/difflib.h"
#include "harness/scorers/text.h"

namespace sala {
namespace {

using nlohmann::json;

json read(const std::string& name) {
  return json::parse(
      read_text_file(std::string(SALA_TEST_SOURCE_DIR) + "/tests/golden/data/" + name));
}

std::string text_of(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::vector<std::string> texts_of(const json& value) {
  if (!value.is_array()) return {text_of(value)};
  std::vector<std::string> texts;
  for (const json& item : value) texts.push_back(text_of(item));
  return texts;
}

double score(std::string_view scorer, const std::vector<std::string>& references,
             const std::string& text) {
  return find_scorer(scorer).score(references, {text, false, {}}).value;
}

/// What the vectors call args, as a score of ours.
using Case = std::function<double(const json& args)>;

Case of(const char* scorer) {
  return [scorer](const json& args) {
    return score(scorer, texts_of(args[1]), args[0].get<std::string>());
  };
}

double babilong(const json& args) {
  static const json labels = json::parse(read_text_file(std::string(SALA_TEST_SOURCE_DIR) +
                                                        "/data/templates/babilong.json"))["labels"];
  std::vector<std::string> references{args[1], args[3]};
  for (const json& label : labels[args[0].get<std::string>()]) references.push_back(label);
  return score("babilong", references, args[2].get<std::string>());
}

double math_calc(const json& args) {
  const json& numbers = args[1][0].is_array() ? args[1][0] : args[1];
  const bool gpt4 = args[2] == "gpt4";
  return score(gpt4 ? "infinitebench_math_calc_gpt4" : "infinitebench_math_calc", texts_of(numbers),
               args[0].get<std::string>());
}

double classification(const json& args) {
  std::vector<std::string> references{args[1]};
  for (const json& name : args[2]) references.push_back(name);
  return score("longbench_class", references, args[0].get<std::string>());
}

const std::map<std::string, Case>& cases() {
  static const std::map<std::string, Case> table{
      {"babilong.compare_answers", babilong},
      {"infinitebench.code_debug", of("infinitebench_code_debug")},
      {"infinitebench.code_run", of("infinitebench_code_run")},
      {"infinitebench.kv_retrieval", of("infinitebench_kv")},
      {"infinitebench.longbook_choice_eng", of("infinitebench_choice")},
      {"infinitebench.longbook_qa_chn", of("infinitebench_qa_zh")},
      {"infinitebench.longbook_qa_eng", of("infinitebench_qa")},
      {"infinitebench.longdialogue_qa_eng", of("infinitebench_dialogue")},
      {"infinitebench.math_calc", math_calc},
      {"infinitebench.math_find", of("infinitebench_math_find")},
      {"infinitebench.passkey", of("infinitebench_number")},
      {"longbench.classification", classification},
      {"longbench.code_sim", of("longbench_code")},
      {"longbench.count", of("longbench_count")},
      {"longbench.qa_f1", of("longbench_f1")},
      {"longbench.retrieval", of("longbench_retrieval")},
      {"longbench.rouge_l", of("longbench_rouge")},
  };
  return table;
}

TEST(golden_scoring, equals_the_projects_own_functions) {
  std::map<std::string, int> n_checked;
  const json golden = read("other_scoring.json");
  for (const json& row : golden["cases"]) {
    const std::string name = row["fn"];
    if (name.starts_with("helmet.")) continue;  // not one of the suites here
    const json& expected = row["expect"];
    ++n_checked[name];
    if (name == "longbench2.extract") {
      const std::string letter = expected.is_null() ? "none" : expected.get<std::string>();
      EXPECT_EQ(score("longbench2", {letter}, row["args"][0].get<std::string>()),
                expected.is_null() ? 0 : 1)
          << row;
      continue;
    }
    const double value =
        expected.is_boolean() ? (expected.get<bool>() ? 1 : 0) : expected.get<double>();
    EXPECT_EQ(cases().at(name)(row["args"]), value) << row;
  }
  EXPECT_EQ(n_checked.size(), cases().size() + 1);
}

TEST(golden_scoring, ratio_equals_pythons_difflib_to_the_last_bit) {
  const json golden = read("mrcr_scoring.json");
  for (const json& row : golden["pairs"]) {
    EXPECT_EQ(sequence_ratio(row["a"].get<std::string>(), row["b"].get<std::string>()),
              row["ratio"].get<double>())
        << row["kind"] << " " << row["id"];
  }
  EXPECT_GE(golden["pairs"].size(), 40U);
}

TEST(golden_scoring, mrcr_grades_equal_the_published_ones) {
  const json golden = read("mrcr_scoring.json");
  for (const json& row : golden["graded"]) {
    const double got =
        row["kind"] == "openai"
            ? score("mrcr", {row["answer"], row["random_string_to_prepend"]}, row["response"])
            : score("mrcr_v2", {row["target"]}, row["prediction"]);
    EXPECT_EQ(got, row["score"].get<double>()) << row["id"];
  }
}

/// The plain definition without the junk heuristic.
double ratio_without_autojunk(const std::u32string& a, const std::u32string& b) {
  const std::function<std::size_t(std::size_t, std::size_t, std::size_t, std::size_t)> matching =
      [&](std::size_t a0, std::size_t a1, std::size_t b0, std::size_t b1) -> std::size_t {
    std::size_t at_a = 0, at_b = 0, size = 0;
    for (std::size_t i = a0; i < a1; ++i) {
      for (std::size_t j = b0; j < b1; ++j) {
        std::size_t k = 0;
        while (i + k < a1 && j + k < b1 && a[i + k] == b[j + k]) ++k;
        if (k > size) at_a = i, at_b = j, size = k;
      }
    }
    if (size == 0) return 0;
    return size + matching(a0, at_a, b0, at_b) + matching(at_a + size, a1, at_b + size, b1);
  };
  return 2.0 * static_cast<double>(matching(0, a.size(), 0, b.size())) /
         static_cast<double>(a.size() + b.size());
}

TEST(golden_scoring, vectors_tell_difflib_from_its_likely_mistakes) {
  int junk_matters = 0;
  int code_points_matter = 0;
  const json golden = read("mrcr_scoring.json");
  for (const json& row : golden["pairs"]) {
    const std::string a = row["a"];
    const std::string b = row["b"];
    if (a.size() > 600 || b.size() > 600 || a.empty() || b.empty()) continue;
    const double expected = row["ratio"];
    const double plain = ratio_without_autojunk(code_points(a), code_points(b));
    if (code_points(b).size() < 200) {
      EXPECT_EQ(plain, expected) << row["id"];  // there the heuristic has no say
    } else {
      junk_matters += plain != expected ? 1 : 0;
    }
    const std::u32string bytes_a(a.begin(), a.end());
    const std::u32string bytes_b(b.begin(), b.end());
    code_points_matter += ratio_without_autojunk(bytes_a, bytes_b) != plain ? 1 : 0;
  }
  EXPECT_GT(junk_matters, 0);
  EXPECT_GT(code_points_matter, 0);
}

TEST(golden_scoring, vectors_tell_unicode_lower_case_from_ascii) {
  const auto ascii_lower = [](std::string text) {
    for (char& c : text) c = 'A' <= c && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    return text;
  };
  int n_different = 0;
  const json golden = read("ruler_scoring.json");
  for (const json& pair : golden["pairs"]) {
    const std::string text = ascii_lower(pair["post"]);
    double hits = 0;
    for (const json& output : pair["outputs"]) {
      hits += text.find(ascii_lower(output)) == std::string::npos ? 0 : 1;
    }
    const double percent = 100 * hits / static_cast<double>(pair["outputs"].size());
    n_different += std::abs(percent - pair["all"].get<double>()) > 0.01 ? 1 : 0;
  }
  EXPECT_EQ(n_different, 6);
}

}  // namespace
}  // namespace sala
