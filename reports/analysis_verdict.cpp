// The one or two sentences a reader takes away.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "harness/compare/ruler_summary.h"
#include "reports/analysis.h"
#include "reports/format.h"

namespace sala {

namespace {

std::string conclusion(const Analysis& analysis, const PairedDifference& paired) {
  const std::string& first = analysis.subjects[analysis.pair->first].label;
  switch (verdict_of(paired)) {
    case Verdict::better:
      return fmt::format("{} is better", first);
    case Verdict::worse:
      return fmt::format("{} is worse", first);
    case Verdict::same:
      return fmt::format("the same within {:.0f} points", 100 * kSameMargin);
    case Verdict::none:
    case Verdict::undecided:
      break;
  }
  return fmt::format(
      "undecided: {} prompts can show a difference of {:.1f} points, about {} would be needed "
      "for {:.0f}",
      paired.n, 100 * paired.detectable(), paired.samples_needed(), 100 * kSameMargin);
}

std::string difference_text(const Analysis& analysis, const PairedDifference& paired) {
  return fmt::format("difference {} points, 95\u00a0% interval {} to {}: {}",
                     points_text(paired.difference), points_text(paired.interval.low),
                     points_text(paired.interval.high), conclusion(analysis, paired));
}

/// Failed prompts stay in the count as misses, and the sentence says how many there are.
std::string accuracy_sentence(const Analysis& analysis) {
  const PairedDifference& paired = *analysis.overall.paired;
  const auto& answered = analysis.overall_answered.paired;
  const std::int64_t failed = paired.n - (answered ? answered->n : 0);
  return fmt::format(
      "Accuracy: {} scores {}\u00a0% and {} {}\u00a0% on the same {} prompts{}; {}.",
      analysis.subjects[analysis.pair->first].label, percent_text(analysis.overall.first),
      analysis.subjects[analysis.pair->second].label, percent_text(analysis.overall.second),
      paired.n,
      failed == 0 ? "" : fmt::format(", of which {} that could not run count as misses", failed),
      difference_text(analysis, paired));
}

/// The second figure beside the one that counts failed prompts as misses.
std::string answered_sentence(const Analysis& analysis) {
  const Overall& overall = analysis.overall_answered;
  return fmt::format("On the {} prompts that both could run: {}\u00a0% and {}\u00a0%; {}.",
                     overall.paired->n, percent_text(overall.first), percent_text(overall.second),
                     difference_text(analysis, *overall.paired));
}

std::string where_sentence(const Analysis& analysis) {
  std::vector<const AccuracyRow*> rows;
  for (const AccuracyRow& row : analysis.accuracy) {
    const bool both_ran =
        row.status[analysis.pair->first] == "ok" && row.status[analysis.pair->second] == "ok";
    if (both_ran && row.paired && row.paired->p_holm < 0.05) rows.push_back(&row);
  }
  if (rows.empty()) {
    return "No single task and length that both ran differs beyond chance (exact McNemar or "
           "sign-flip "
           "test, Holm-adjusted).";
  }
  std::sort(rows.begin(), rows.end(), [](const AccuracyRow* a, const AccuracyRow* b) {
    const auto size = [](const AccuracyRow* row) { return -std::fabs(row->paired->difference); };
    return std::pair(size(a), a) < std::pair(size(b), b);  // rows of one vector: order of the table
  });
  std::string list;
  for (std::size_t i = 0; i < std::min<std::size_t>(rows.size(), 4); ++i) {
    list += fmt::format("{}{} at {} ({} points)", i == 0 ? "" : ", ", rows[i]->task,
                        length_text(rows[i]->length), points_text(rows[i]->paired->difference));
  }
  const std::size_t more = rows.size() - std::min<std::size_t>(rows.size(), 4);
  return fmt::format(
      "They differ beyond chance on {}{} (exact McNemar or sign-flip test, Holm-adjusted).", list,
      more == 0 ? "" : fmt::format(" and {} more", more));
}

std::string ratio_text(double a, double b) {
  return number_text(a / b) + "\u00d7";
}

/// Speed and memory at the longest length that both measured; empty when there is none.
std::string cost_sentence(const Analysis& analysis) {
  const auto [first, second] = *analysis.pair;
  for (auto it = analysis.lengths.rbegin(); it != analysis.lengths.rend(); ++it) {
    const SpeedRow* a = analysis.speed_at(first, *it);
    const SpeedRow* b = analysis.speed_at(second, *it);
    if (a == nullptr || b == nullptr || !a->ttft_ns || !b->ttft_ns) continue;
    std::string text = fmt::format(
        "Cost at {} tokens, the longest length both ran: {} needs {} the time of {} to the first "
        "token ({} against {})",
        length_text(*it), analysis.subjects[first].label,
        ratio_text(a->ttft_ns->value, b->ttft_ns->value), analysis.subjects[second].label,
        duration_text(a->ttft_ns->value), duration_text(b->ttft_ns->value));
    if (a->decode_ns && b->decode_ns) {
      text += fmt::format(", {} for each token after it ({} against {})",
                          ratio_text(a->decode_ns->value, b->decode_ns->value),
                          duration_text(a->decode_ns->value), duration_text(b->decode_ns->value));
    }
    if (a->peak_bytes && b->peak_bytes) {
      text += fmt::format(" and {} the peak memory ({} against {})",
                          ratio_text(*a->peak_bytes, *b->peak_bytes), bytes_text(*a->peak_bytes),
                          bytes_text(*b->peak_bytes));
    }
    return text + ".";
  }
  return "";
}

/// What each subject scored where there is no pair to compare.
std::string single_sentence(const Analysis& analysis, std::size_t subject) {
  std::int64_t n = 0;
  double sum = 0;
  for (const AccuracyRow& row : analysis.accuracy) {
    const auto& accuracy = row.accuracy[subject];
    if (!accuracy) continue;
    n += accuracy->n;
    sum += accuracy->mean * static_cast<double>(accuracy->n);
  }
  const std::string& label = analysis.subjects[subject].label;
  if (n == 0) {
    const bool has_fidelity =
        std::any_of(analysis.cells.begin(), analysis.cells.end(), [&](std::size_t i) {
          return analysis.subject_of_cell[i] == subject &&
                 analysis.results->cells[i].kind == "fidelity";
        });
    return fmt::format("{}: {}.", label,
                       has_fidelity
                           ? "compared with its own weights with dense layers, see Fidelity"
                           : "no answers were scored");
  }
  return fmt::format("{} scores {}\u00a0% on {} prompts.", label,
                     percent_text(sum / static_cast<double>(n)), n);
}

/// How far the mean over tasks holds RULER's threshold, and how sure that is.
std::vector<std::string> effective_sentences(const Analysis& analysis) {
  std::vector<std::string> sentences;
  const std::vector<LengthRow>& rows = analysis.length_scores;
  for (std::size_t first = 0; first < rows.size();) {
    std::size_t end = first;  // of the lengths of one subject in one mode
    const LengthRow* longest = nullptr;
    bool all_pass = true;
    for (; end < rows.size() && rows[end].subject == rows[first].subject &&
           rows[end].mode == rows[first].mode;
         ++end) {
      all_pass = all_pass && 100 * rows[end].score.mean >= kRulerThreshold;
      if (all_pass) longest = &rows[end];
    }
    const std::string& label = analysis.subjects[rows[first].subject].label;
    const std::string prompts =
        rows[first].mode == "strict" ? "" : fmt::format(" ({} prompts)", rows[first].mode);
    if (longest == nullptr) {
      sentences.push_back(
          fmt::format("{} stays below {}\u00a0% on average over its tasks{} at the "
                      "shortest length measured, {}.",
                      label, kRulerThreshold, prompts, length_text(rows[first].length)));
    } else {
      sentences.push_back(fmt::format(
          "{} holds {}\u00a0% on average over its tasks{} up to {}{}; the probability that this is "
          "so is {}\u00a0%.",
          label, kRulerThreshold, prompts, length_text(longest->length),
          longest == &rows[end - 1] ? ", the longest length measured" : "",
          percent_text(longest->p_effective)));
    }
    first = end;
  }
  return sentences;
}

/// Tasks whose prompts are not made of the benchmark's own data.
std::string standin_sentence(const Analysis& analysis) {
  std::set<std::string> tasks;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (nlohmann::json::parse(cell.task_params).value("label", "") == "standin") {
      tasks.insert(task_label(cell));
    }
  }
  if (tasks.empty()) return "";
  return fmt::format(
      "Made with built-in or stand-in data, so not comparable with published scores: {}.",
      fmt::join(tasks, ", "));
}

/// Tasks that tell nobody apart, and prompts that cannot be compared.
std::string caution_sentence(const Analysis& analysis) {
  std::string text;
  if (analysis.overall.n_unpaired > 0) {
    text = fmt::format("{} prompts were answered by one of the two alone and are not compared. ",
                       analysis.overall.n_unpaired);
  }
  if (!analysis.pair) return text;
  std::set<std::string> easy;
  for (const AccuracyRow& row : analysis.accuracy) easy.insert(row.task);
  for (const AccuracyRow& row : analysis.accuracy) {
    const auto& baseline = row.accuracy[analysis.pair->second];
    if (!baseline || baseline->mean < 0.99) easy.erase(row.task);
  }
  if (easy.empty()) return text;
  return text +
         fmt::format("Not discriminating, because {} scores 99\u00a0% or more at every length: {}.",
                     analysis.subjects[analysis.pair->second].label, fmt::join(easy, ", "));
}

std::string coverage_sentence(const Analysis& analysis) {
  if (analysis.failures.empty()) {
    return fmt::format("All {} planned cells were measured.", analysis.cells.size());
  }
  std::map<std::string, int> by_status;
  for (const std::size_t cell : analysis.failures) {
    ++by_status[analysis.results->cells[cell].status];
  }
  std::string list;
  for (const auto& [status, count] : by_status) {
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", count, status);
  }
  return fmt::format("{} of {} planned cells did not finish ({}): see Failures.",
                     analysis.failures.size(), analysis.cells.size(), list);
}

}  // namespace

void write_verdict(Analysis& analysis) {
  std::vector<std::string>& out = analysis.verdict_sentences;
  if (analysis.overall.paired) {
    analysis.verdict = verdict_of(*analysis.overall.paired);
    out.push_back(accuracy_sentence(analysis));
    if (analysis.overall_answered.paired &&
        analysis.overall_answered.paired->n < analysis.overall.paired->n) {
      out.push_back(answered_sentence(analysis));
    }
    out.push_back(where_sentence(analysis));
  } else {
    for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
      out.push_back(single_sentence(analysis, s));
    }
  }
  for (std::string& sentence : effective_sentences(analysis)) out.push_back(std::move(sentence));
  std::string caution = caution_sentence(analysis);
  if (!caution.empty()) out.push_back(std::move(caution));
  std::string standin = standin_sentence(analysis);
  if (!standin.empty()) out.push_back(std::move(standin));
  if (analysis.pair) {
    std::string cost = cost_sentence(analysis);
    if (!cost.empty()) out.push_back(std::move(cost));
    std::string crossovers = crossover_sentence(analysis);
    if (!crossovers.empty()) out.push_back(std::move(crossovers));
  }
  out.push_back(coverage_sentence(analysis));
}

}  // namespace sala
