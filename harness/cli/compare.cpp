// sala compare: two runs, two builds, or the two models of one run side by side.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/compare/comparison.h"
#include "reports/format.h"

namespace sala {
namespace {

constexpr int kExitNotComparable = 4;

struct CompareFlags {
  std::string db = "sala.db";
  std::string first;
  std::string second;
  bool json = false;
};

std::string shown(const std::string& metric, double value) {
  if (metric.ends_with("_ns")) return duration_text(value);
  return metric.ends_with("_bytes") ? bytes_text(value) : number_text(value);
}

std::string percent(double change) {
  return fmt::format("{:+.1f} %", 100 * change);
}

const char* word(const PairedDifference& paired) {
  switch (verdict_of(paired)) {
    case Verdict::better:
      return "better";
    case Verdict::worse:
      return "worse";
    case Verdict::same:
      return "same";
    case Verdict::none:
    case Verdict::undecided:
      break;
  }
  return "undecided";
}

std::string accuracy_text(const PairedDifference& paired) {
  return fmt::format("{} points, 95 % {} to {}, {} won, {} lost of {}, p {}: {}",
                     points_text(paired.difference), points_text(paired.interval.low),
                     points_text(paired.interval.high), paired.only_first, paired.only_second,
                     paired.n, p_text(paired.p_holm), word(paired));
}

std::string row_text(const ComparisonRow& row) {
  const std::string sides = row.first_side == row.second_side
                                ? row.first_side
                                : row.first_side + " against " + row.second_side;
  const std::string models = row.first_model == row.second_model
                                 ? row.first_model
                                 : row.first_model + " against " + row.second_model;
  std::string text =
      row.length == 0  // a benchmark
          ? fmt::format("\n{}\n", row.task)
          : fmt::format("\n{} at {}, {} ({})\n", row.task, length_text(row.length), sides, models);
  if (!row.failure.empty()) text += "  no result: " + plain_text(row.failure, 300) + "\n";
  if (row.paired) {
    text +=
        fmt::format("  {:<18} {:>12} {:>12}  {}\n", "accuracy", percent_text(row.first_accuracy),
                    percent_text(row.second_accuracy), accuracy_text(*row.paired));
  }
  if (row.one_sided > 0) {
    text += fmt::format("  left out: {} prompts that only one side answered\n", row.one_sided);
  }
  for (const NumberRow& number : row.numbers) {
    text +=
        fmt::format("  {:<18} {:>12} {:>12}  {}", number.metric, shown(number.metric, number.first),
                    shown(number.metric, number.second), percent(number.change));
    if (number.interval) {
      text += fmt::format(", 95 % {} to {}", percent(number.interval->low),
                          percent(number.interval->high));
    }
    text += "\n";
  }
  return text;
}

std::string comparison_text(const Comparison& comparison, const CompareFlags& flags) {
  std::string text = fmt::format("{} (first) against {} (second)\n", flags.first, flags.second);
  for (const ComparisonRow& row : comparison.rows) text += row_text(row);
  for (const MissingCell& cell : comparison.missing) {
    text += fmt::format("\n{} at {}, {}: {}\n", cell.task, length_text(cell.length), cell.side,
                        cell.reason);
  }
  if (comparison.overall) {
    text += "\nall answers, second minus first: " + accuracy_text(*comparison.overall) + "\n";
  }
  if (!comparison.surroundings.empty()) {
    text += fmt::format("\nthe surroundings differ, so times say nothing of the program: {}\n",
                        differences_text(comparison.surroundings));
  }
  return text +
         "\nIntervals of times cover the repetitions of one process a side, not how processes "
         "differ; sala gate judges that.\n";
}

nlohmann::json paired_json(const PairedDifference& paired) {
  return {{"n", paired.n},
          {"only_second", paired.only_first},
          {"only_first", paired.only_second},
          {"difference", paired.difference},
          {"interval", {paired.interval.low, paired.interval.high}},
          {"p", paired.p},
          {"p_holm", paired.p_holm},
          {"detectable_difference", paired.detectable()},
          {"verdict", word(paired)}};
}

nlohmann::json fields_json(const std::vector<FieldDifference>& differences) {
  nlohmann::json json = nlohmann::json::array();
  for (const FieldDifference& difference : differences) {
    json.push_back({{"field", difference.field},
                    {"first", difference.baseline},
                    {"second", difference.candidate}});
  }
  return json;
}

std::string comparison_json(const Comparison& comparison, const CompareFlags& flags) {
  nlohmann::json json{{"db", flags.db},
                      {"first", flags.first},
                      {"second", flags.second},
                      {"comparable", comparison.differences.empty()},
                      {"differences", fields_json(comparison.differences)},
                      {"surroundings", fields_json(comparison.surroundings)},
                      {"overall", nullptr},
                      {"cells", nlohmann::json::array()},
                      {"missing", nlohmann::json::array()}};
  if (comparison.overall) json["overall"] = paired_json(*comparison.overall);
  for (const MissingCell& cell : comparison.missing) {
    json["missing"].push_back({{"task", cell.task},
                               {"length", cell.length},
                               {"side", cell.side},
                               {"reason", cell.reason}});
  }
  for (const ComparisonRow& row : comparison.rows) {
    nlohmann::json cell{{"task", row.task},
                        {"length", row.length},
                        {"first_side", row.first_side},
                        {"second_side", row.second_side},
                        {"first_model", row.first_model},
                        {"second_model", row.second_model},
                        {"failure", row.failure},
                        {"one_sided_prompts", row.one_sided},
                        {"accuracy", nullptr},
                        {"numbers", nlohmann::json::array()}};
    if (row.paired) {
      cell["accuracy"] = paired_json(*row.paired);
      cell["accuracy"]["first"] = row.first_accuracy;
      cell["accuracy"]["second"] = row.second_accuracy;
    }
    for (const NumberRow& number : row.numbers) {
      nlohmann::json entry{{"metric", number.metric},
                           {"first", number.first},
                           {"second", number.second},
                           {"change", number.change},
                           {"interval", nullptr}};
      if (number.interval) entry["interval"] = {number.interval->low, number.interval->high};
      cell["numbers"].push_back(std::move(entry));
    }
    json["cells"].push_back(std::move(cell));
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

int compare(const CompareFlags& flags) {
  const ComparedSide first = read_subject(flags.db, flags.first);
  const ComparedSide second = read_subject(flags.db, flags.second);
  const Comparison comparison = compare_subjects(first, second);
  if (flags.json) fmt::print("{}", comparison_json(comparison, flags));
  if (!comparison.differences.empty()) {
    fmt::print(stderr, "error: [{} {}] not comparable: {}\n", flags.first, flags.second,
               differences_text(comparison.differences));
    return kExitNotComparable;
  }
  if (!flags.json) fmt::print("{}", comparison_text(comparison, flags));
  return 0;
}

}  // namespace

Action setup_compare(CLI::App& app) {
  const auto flags = std::make_shared<CompareFlags>();
  app.add_option("--db", flags->db, "Results database")->capture_default_str();
  const char* about =
      "Sweep or run (uid or its start), commit of a build, with :model or :baseline behind for one "
      "side; or a side alone, when the database holds one sweep";
  app.add_option("A", flags->first, about)->required();
  app.add_option("B", flags->second, "The same")->required();
  app.add_flag("--json", flags->json, "Print the comparison as JSON");
  return [flags] { return compare(*flags); };
}

}  // namespace sala
