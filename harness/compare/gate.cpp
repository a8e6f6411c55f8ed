// A gate's items: which numbers are judged, where their values come from, when enough were taken.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "engine/base/error.h"

namespace sala {
namespace {

constexpr double kMicrosecondsPerDay = 86400e6;

GateItem make_item(const CellRecord& cell, std::string metric, std::string stage, Tier tier,
                   double tolerance) {
  GateItem item{.task = work_name(cell),
                .length = cell.context_len,
                .side = side_of(cell),
                .compare_key = cell.compare_key,
                .metric = std::move(metric),
                .stage = std::move(stage),
                .tier = tier};
  item.rule.tolerance = tolerance;
  return item;
}

const PolicyItem* find_metric(const Policy& policy, std::string_view metric) {
  const auto found = std::find_if(policy.items.begin(), policy.items.end(),
                                  [&](const PolicyItem& item) { return item.metric == metric; });
  return found == policy.items.end() ? nullptr : &*found;
}

/// Whether a time of that name is judged in a speed cell: those of kernels in benchmarks alone.
bool is_time_of(const CellRecord& cell, const std::string& metric) {
  static const std::set<std::string, std::less<>> kSettled{"accuracy", "task_accuracy",
                                                           "category_bytes", "device_peak_bytes"};
  return !kSettled.contains(metric) && is_kernel(cell) == (metric == "kernel_ns");
}

/// Grade of the run that answered the cell.
std::string grade_of(const CellRecord& cell) {
  for (auto run = cell.runs.rbegin(); run != cell.runs.rend(); ++run) {
    if (run->status == "ok") return run->grade;
  }
  return cell.runs.empty() ? "" : cell.runs.back().grade;
}

/// Paths that layers of the cell took, by phase.
std::set<std::string> paths_of(const CellRecord& cell) {
  std::set<std::string> paths;
  for (const RouteRecord& route : cell.routes) paths.insert(route.phase + " " + route.path);
  return paths;
}

Decision failed(ItemVerdict verdict, std::string reason) {
  return {.verdict = verdict, .reason = std::move(reason), .beyond_tolerance = true};
}

/// What the status of the two cells says; nothing when both ran and count.
std::optional<Decision> judge_status(const CellPair& pair) {
  const auto sides = {std::pair{"baseline", pair.baseline}, std::pair{"candidate", pair.candidate}};
  for (const auto& [role, cell] : sides) {
    if (is_answered(*cell)) continue;
    const std::string why = cell->runs.empty() ? "" : cell->runs.back().reason;
    return failed(
        cell->status == "invalid" ? ItemVerdict::invalid : ItemVerdict::missing,
        fmt::format("{} in the {}{}{}", cell->status, role, why.empty() ? "" : ": ", why));
  }
  const bool base_oom = pair.baseline->status == "oom";
  const bool cand_oom = pair.candidate->status == "oom";
  if (base_oom && cand_oom) return failed(ItemVerdict::same, "out of memory on both sides");
  if (cand_oom) {
    return failed(ItemVerdict::worse, "out of memory where the baseline had enough");
  }
  if (base_oom) return failed(ItemVerdict::better, "the baseline ran out of memory");
  for (const auto& [role, cell] : sides) {
    const std::string grade = grade_of(*cell);
    if (grade != "measured" && grade != "reference") {
      return failed(ItemVerdict::invalid,
                    fmt::format("too few samples in one run of the {} (grade {})", role, grade));
    }
  }
  if (paths_of(*pair.baseline) != paths_of(*pair.candidate)) {
    return failed(
        ItemVerdict::invalid,
        fmt::format("the layers took other paths: {} in the baseline, {} in the candidate",
                    fmt::join(paths_of(*pair.baseline), ", "),
                    fmt::join(paths_of(*pair.candidate), ", ")));
  }
  return std::nullopt;
}

std::map<std::string, std::int64_t> bytes_by_category(const CellRecord& cell) {
  std::map<std::string, std::int64_t> bytes;
  for (const LedgerRecord& row : cell.ledger) bytes[row.category] += row.at_peak_bytes;
  return bytes;
}

void add_memory(const CellPair& pair, const Policy& policy, std::vector<GateItem>& items) {
  const auto add = [&](const PolicyItem& rule, const std::string& stage, double a, double b) {
    GateItem item = make_item(*pair.baseline, rule.metric, stage, rule.tier, rule.tolerance);
    item.baseline = a;
    item.candidate = b;
    item.decision = decide_memory({a, b}, rule.tolerance, rule.absolute);
    items.push_back(std::move(item));
  };
  if (const PolicyItem* rule = find_metric(policy, "device_peak_bytes")) {
    const auto a = run_value(*pair.baseline, rule->metric, "total");
    const auto b = run_value(*pair.candidate, rule->metric, "total");
    if (a && b) {
      add(*rule, "", *a, *b);
    } else {
      GateItem item = make_item(*pair.baseline, rule->metric, "", rule->tier, rule->tolerance);
      item.decision = failed(ItemVerdict::missing, "not measured");
      items.push_back(std::move(item));
    }
  }
  if (const PolicyItem* rule = find_metric(policy, "category_bytes")) {
    auto b = bytes_by_category(*pair.candidate);
    auto a = bytes_by_category(*pair.baseline);
    for (const auto& [category, bytes] : b) a.try_emplace(category, 0);
    for (const auto& [category, bytes] : a) {
      add(*rule, category, static_cast<double>(bytes), static_cast<double>(b[category]));
    }
  }
}

GateItem accuracy_item(const CellRecord& cell, const PolicyItem& rule, const PairedScores& scores,
                       double alpha) {
  GateItem item = make_item(cell, rule.metric, "", rule.tier, rule.tolerance);
  if (scores.one_sided > 0 || scores.candidate.empty()) {
    item.decision =
        failed(ItemVerdict::invalid,
               fmt::format("{} prompts were answered by one side only", scores.one_sided));
    return item;
  }
  item.baseline = mean(scores.baseline.scores);
  item.candidate = mean(scores.candidate);
  item.decision =
      decide_accuracy(scores.baseline, scores.candidate, scores.identical, rule.tolerance, alpha);
  return item;
}

/// Whether a stage's name fits: the name itself, or its start with * behind.
bool fits(const std::string& pattern, const std::string& stage) {
  if (!pattern.ends_with('*')) return pattern == stage;
  return stage.starts_with(pattern.substr(0, pattern.size() - 1));
}

/// Names of the stages of a cell that the policy asks for and that matter in their phase.
std::vector<std::string> stages_of(const CellRecord& cell, const PolicyItem& rule) {
  std::map<std::string, double> times;
  std::map<std::string, double> phases;
  for (const ValueRecord& value : cell.values) {
    if (value.metric != rule.metric || value.stage == "total") continue;
    times[value.stage] += value.value;
    phases[value.stage.substr(0, value.stage.find('.'))] += value.value;
  }
  std::vector<std::string> names;
  for (const auto& [stage, time] : times) {
    const double phase = phases[stage.substr(0, stage.find('.'))];
    if (fits(rule.stage, stage) && time > 0 && time >= rule.least_share * phase) {
      names.push_back(stage);
    }
  }
  return names;
}

/// The baseline of a stored comparison may not be old: machines change.
void check_age(const Pairing& pairing, double max_days, std::vector<FieldDifference>& differences) {
  for (const CellPair& pair : pairing.cells) {
    if (pair.baseline->kind != "perf") continue;
    const double days = static_cast<double>(pair.candidate->runs.back().started_us -
                                            pair.baseline->runs.back().started_us) /
                        kMicrosecondsPerDay;
    if (days <= max_days) continue;
    differences.push_back({"age of the baseline", fmt::format("{:.1f} days older", days),
                           fmt::format("at most {:g} days, so measure it again", max_days)});
    return;
  }
}

}  // namespace

std::optional<double> run_value(const CellRecord& cell, const std::string& metric,
                                const std::string& stage) {
  std::vector<double> values;
  for (const ValueRecord& value : cell.values) {
    if (value.metric == metric && value.stage == stage && value.pos < 0) {
      values.push_back(value.value);
    }
  }
  if (values.empty()) return std::nullopt;
  return median(std::move(values));
}

void append_scores(const CellPair& pair, PairedScores& scores) {
  using Key = std::tuple<std::string, std::int64_t, std::int64_t>;
  const auto key = [](const AnswerRecord& a) {
    return Key{a.prompt_sha256, a.sample_index, a.repeat};
  };
  std::map<Key, const AnswerRecord*> candidates;
  for (const AnswerRecord& answer : pair.candidate->answers) candidates[key(answer)] = &answer;
  std::size_t paired = 0;
  for (const AnswerRecord& answer : pair.baseline->answers) {
    const auto found = candidates.find(key(answer));
    if (found == candidates.end()) {
      ++scores.one_sided;
      continue;
    }
    ++paired;
    scores.baseline.scores.push_back(answer.score);
    scores.baseline.clusters.push_back(work_name(*pair.baseline) + " " + answer.cluster);
    scores.candidate.push_back(found->second->score);
    scores.identical &= found->second->output == answer.output;
  }
  scores.one_sided += static_cast<std::int64_t>(candidates.size() - paired);
}

std::vector<GateItem> settled_items(const Pairing& pairing, const Policy& policy) {
  std::vector<GateItem> items;
  for (const MissingCell& cell : pairing.missing) {
    GateItem item{.task = cell.task, .length = cell.length, .side = cell.side, .metric = "cell"};
    item.decision = failed(ItemVerdict::missing, cell.reason);
    items.push_back(std::move(item));
  }
  const PolicyItem* of_task = find_metric(policy, "task_accuracy");
  std::map<std::string, std::pair<const CellRecord*, PairedScores>> by_side;
  for (const CellPair& pair : pairing.cells) {
    const auto status = judge_status(pair);
    if (status) {
      GateItem item = make_item(*pair.baseline, "cell", "", Tier::critical, 0);
      item.decision = *status;
      items.push_back(std::move(item));
    } else if (!is_kernel(*pair.baseline)) {  // a benchmark keeps no ledger
      add_memory(pair, policy, items);
    }
    const bool is_scored = pair.baseline->kind == "accuracy" && is_answered(*pair.baseline) &&
                           is_answered(*pair.candidate);
    if (!is_scored) continue;
    PairedScores scores;
    append_scores(pair, scores);
    if (of_task != nullptr) {
      items.push_back(accuracy_item(*pair.baseline, *of_task, scores, policy.alpha));
    }
    if (pair.baseline->scorer == "perplexity") continue;  // a likelihood is no share of answers
    auto& [cell, all] = by_side[side_of(*pair.baseline)];
    cell = pair.baseline;
    append_scores(pair, all);
  }
  if (const PolicyItem* rule = find_metric(policy, "accuracy")) {
    for (const auto& [side, of_side] : by_side) {
      GateItem item = accuracy_item(*of_side.first, *rule, of_side.second, policy.alpha);
      item.task = "all tasks";
      item.length = 0;
      items.push_back(std::move(item));
    }
  }
  return items;
}

std::vector<GateItem> speed_items(const Pairing& pairing, const Policy& policy,
                                  const FloorLookup& floor) {
  std::vector<GateItem> items;
  for (const CellPair& pair : pairing.cells) {
    if (pair.baseline->kind != "perf" || judge_status(pair)) continue;
    const bool is_long = pair.baseline->context_len >= policy.long_from;
    for (const PolicyItem& rule : policy.items) {
      if (!is_time_of(*pair.baseline, rule.metric)) continue;
      std::vector<std::string> stages{"total"};
      if (!rule.stage.empty()) stages = stages_of(*pair.baseline, rule);
      for (const std::string& stage : stages) {
        GateItem item = make_item(*pair.baseline, rule.metric, stage, rule.tier, rule.tolerance);
        item.rule.absolute = rule.absolute;
        item.rule.alpha = policy.alpha;
        item.rule.looks = is_long ? policy.long_looks : policy.looks;
        item.rule.pooled = is_long;
        item.rule.floor = floor(item);
        items.push_back(std::move(item));
      }
    }
  }
  return items;
}

std::optional<std::string> append_pair(std::vector<GateItem>& items, const Pairing& pairing,
                                       PairBlock block) {
  std::map<std::pair<std::string, std::string>, CellPair> cells;
  for (const CellPair& pair : pairing.cells) {
    cells[{pair.baseline->compare_key, side_of(*pair.baseline)}] = pair;
  }
  std::vector<ValuePair> values;
  for (const GateItem& item : items) {
    const auto found = cells.find({item.compare_key, item.side});
    const std::string name = item.length == 0
                                 ? item.task
                                 : fmt::format("{} at {} ({})", item.task, item.length, item.side);
    if (found == cells.end()) return name + " has no result";
    if (const auto status = judge_status(found->second)) return name + ": " + status->reason;
    const auto a = run_value(*found->second.baseline, item.metric, item.stage);
    const auto b = run_value(*found->second.candidate, item.metric, item.stage);
    if (!a || !b || !(*a > 0) || !(*b > 0)) {
      return fmt::format("{} has no {} {} on one side", name, item.metric, item.stage);
    }
    values.push_back({*a, *b});
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    PairBlocks& blocks = items[i].blocks;
    (block == PairBlock::first ? blocks.first : blocks.confirmation).push_back(values[i]);
  }
  return std::nullopt;
}

void decide_all(std::vector<GateItem>& items, bool strict,
                const std::function<std::optional<std::string>(PairBlock)>& take_pair) {
  std::vector<bool> decided(items.size(), false);
  std::optional<std::string> stopped;
  while (!stopped) {
    std::size_t first = 0;
    std::size_t confirmation = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (decided[i]) continue;
      const SpeedProgress progress = decide_speed(items[i].blocks, items[i].rule);
      if (progress.decision) {
        items[i].decision = *progress.decision;
        decided[i] = true;
        continue;
      }
      const bool drives = items[i].tier == Tier::critical || strict || progress.confirmation > 0;
      if (drives) first = std::max(first, progress.first);
      confirmation = std::max(confirmation, progress.confirmation);
    }
    if (first == 0) break;
    // All items have the same pairs, those of one process a side.
    const PairBlocks& taken = items.front().blocks;
    while (!stopped && taken.first.size() < first) stopped = take_pair(PairBlock::first);
    while (!stopped && taken.confirmation.size() < confirmation) {
      stopped = take_pair(PairBlock::confirmation);
    }
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    GateItem& item = items[i];
    if (!decided[i] && stopped) {
      item.decision = failed(ItemVerdict::missing, *stopped);
    } else if (!decided[i]) {  // it did not drive: what the pairs taken for others say
      SpeedRule rule = item.rule;
      std::erase_if(rule.looks, [&](int look) {
        return static_cast<std::size_t>(look) > item.blocks.first.size();
      });
      item.decision = *decide_speed(item.blocks, rule).decision;
    }
    if (item.blocks.first.empty()) continue;
    std::vector<double> a;
    std::vector<double> b;
    for (const auto* block : {&item.blocks.first, &item.blocks.confirmation}) {
      for (const ValuePair& pair : *block) {
        a.push_back(pair.baseline);
        b.push_back(pair.candidate);
      }
    }
    item.baseline = median(std::move(a));
    item.candidate = median(std::move(b));
  }
}

GateReport gate_stored(const ComparedSide& baseline, const ComparedSide& candidate,
                       const Policy& policy, bool strict, const FloorLookup& floor) {
  const Pairing pairing = pair_cells(baseline, candidate);
  GateReport report;
  report.differences = pairing.differences;
  const bool has_speed =
      std::any_of(pairing.cells.begin(), pairing.cells.end(),
                  [](const CellPair& pair) { return pair.baseline->kind == "perf"; });
  if (has_speed) {
    report.differences.insert(report.differences.end(), pairing.surroundings.begin(),
                              pairing.surroundings.end());
    check_age(pairing, policy.max_age_days, report.differences);
  }
  if (!report.differences.empty()) {
    report.verdict = GateVerdict::not_comparable;
    report.reason = differences_text(report.differences);
    return report;
  }
  report.items = speed_items(pairing, policy, floor);
  for (GateItem& item : report.items) {
    item.rule.looks = {1};
    item.rule.pooled = true;
    item.rule.confirmable = false;
  }
  std::optional<std::string> lacking = append_pair(report.items, pairing, PairBlock::first);
  decide_all(report.items, strict, [&](PairBlock) { return lacking; });
  const std::vector<GateItem> settled = settled_items(pairing, policy);
  report.items.insert(report.items.end(), settled.begin(), settled.end());
  adjust_for_multiplicity(report.items, policy.alpha);
  report.verdict = joint_verdict(report.items, strict);
  return report;
}

}  // namespace sala
