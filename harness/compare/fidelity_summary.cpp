// What cells of kind fidelity say as a whole and of each block-sparse layer.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/fidelity_summary.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "harness/compare/resampling.h"

namespace sala {
namespace {

constexpr double kSelected = 0.5;  // share of the queries from which a needle counts as selected

using Answers = std::vector<const AnswerRecord*>;
using Rows = std::vector<const SelectionRow*>;

template <typename Get>
std::optional<double> mean_of(const Rows& rows, const Get& get) {
  std::vector<double> values;
  for (const SelectionRow* row : rows) {
    const std::optional<double> value = get(*row);
    if (value) values.push_back(*value);
  }
  if (values.empty()) return std::nullopt;
  return mean(values);
}

std::optional<SelectionMeans> means_of(const Rows& rows) {
  if (rows.empty()) return std::nullopt;
  const auto of = [&](double SelectionRow::* member) {
    return *mean_of(rows, [&](const SelectionRow& row) { return std::optional(row.*member); });
  };
  const auto maybe = [&](std::optional<double> SelectionRow::* member) {
    return mean_of(rows, [&](const SelectionRow& row) { return row.*member; });
  };
  return SelectionMeans{
      .density = of(&SelectionRow::density),
      .topk_recall = maybe(&SelectionRow::topk_recall),
      .mass_recall = of(&SelectionRow::mass_recall),
      .efficiency = of(&SelectionRow::mass_recall) / of(&SelectionRow::mass_oracle),
      .needle_hit = maybe(&SelectionRow::needle_hit),
      .out_rel_l2 = of(&SelectionRow::out_rel_l2),
      .out_cos = of(&SelectionRow::out_cos)};
}

Answers answers_of(const CellList& cells) {
  Answers answers;
  for (const CellRecord* cell : cells) {
    if (cell->status != "ok") continue;
    for (const AnswerRecord& answer : cell->answers) answers.push_back(&answer);
  }
  return answers;
}

/// Rows that `is_wanted`, summed up by part.
template <typename Wanted>
LayerFidelity layer_of(const Answers& answers, int layer, int head, const Wanted& is_wanted) {
  Rows context;
  Rows question;
  for (const AnswerRecord* answer : answers) {
    for (const SelectionRow& row : answer->fidelity.selection) {
      if (is_wanted(row)) (row.part == "context" ? context : question).push_back(&row);
    }
  }
  return {.layer = layer,
          .head = head,
          .context = means_of(context),
          .question = means_of(question),
          .attribution = {}};
}

void attribute(double needle_hit, bool is_right, Attribution& into) {
  const bool is_selected = needle_hit >= kSelected;
  if (is_selected) {
    ++(is_right ? into.fine : into.selected_unused);
  } else {
    ++(is_right ? into.lucky : into.selection_miss);
  }
}

/// Of one layer, or of the best one of every prompt.
Attribution attribution_of(const Answers& answers, std::optional<int> layer) {
  Attribution attribution;
  for (const AnswerRecord* answer : answers) {
    std::optional<double> best;
    for (const SelectionRow& row : answer->fidelity.selection) {
      if (row.head != kAllHeads || row.part != "question" || (layer && row.layer != *layer)) {
        continue;
      }
      best = std::max(best, row.needle_hit);
    }
    if (best) attribute(*best, answer->correct, attribution);
  }
  return attribution;
}

std::optional<DivergenceSummary> divergence_of(const Answers& answers) {
  DivergenceSummary summary;
  std::vector<double> kld;
  std::vector<double> agree;
  std::vector<double> scores;
  std::vector<double> dense_scores;
  std::vector<std::string> clusters;
  for (const AnswerRecord* answer : answers) {
    if (!answer->fidelity.divergence) continue;
    const DivergenceRow& row = *answer->fidelity.divergence;
    summary.n_positions += row.n_positions;
    kld.push_back(row.kld_mean);
    agree.push_back(row.top1_agree);
    scores.push_back(answer->score);
    dense_scores.push_back(row.dense_score);
    clusters.push_back(answer->cluster);
    summary.kld_p99 = std::max(summary.kld_p99, row.kld_p99);
    summary.kld_max = std::max(summary.kld_max, row.kld_max);
    const auto known =
        std::find(kDivergenceClasses.begin(), kDivergenceClasses.end(), row.answer_class);
    ++summary.classes.at(static_cast<std::size_t>(known - kDivergenceClasses.begin()));
  }
  if (kld.empty()) return std::nullopt;
  summary.n = static_cast<std::int64_t>(kld.size());
  summary.kld_mean = mean(kld);
  summary.kld_interval = bootstrap_mean_interval(kld, clusters);
  summary.top1_agree = mean(agree);
  summary.accuracy = mean(scores);
  summary.dense_accuracy = mean(dense_scores);
  return summary;
}

}  // namespace

FidelitySummary summarize_fidelity(const CellList& cells) {
  const Answers answers = answers_of(cells);
  FidelitySummary summary;
  summary.n = static_cast<std::int64_t>(answers.size());
  summary.whole = layer_of(answers, -1, kAllHeads,
                           [](const SelectionRow& row) { return row.head == kAllHeads; });
  summary.whole.attribution = attribution_of(answers, std::nullopt);
  std::set<std::pair<int, int>> layer_heads;
  for (const AnswerRecord* answer : answers) {
    const auto& divergence = answer->fidelity.divergence;
    if (divergence && divergence->forced_score) {
      ++summary.n_forced;
      summary.n_forced_right += *divergence->forced_score == 1 ? 1 : 0;
    }
    for (const SelectionRow& row : answer->fidelity.selection) {
      layer_heads.insert({row.layer, row.head});
    }
  }
  const bool has_one_head =
      std::none_of(layer_heads.begin(), layer_heads.end(), [](auto key) { return key.second > 0; });
  for (const auto& [layer, head] : layer_heads) {
    if (head != kAllHeads && has_one_head) continue;
    LayerFidelity of_layer = layer_of(answers, layer, head, [&](const SelectionRow& row) {
      return row.layer == layer && row.head == head;
    });
    if (head == kAllHeads) of_layer.attribution = attribution_of(answers, layer);
    (head == kAllHeads ? summary.layers : summary.heads).push_back(of_layer);
  }
  summary.divergence = divergence_of(answers);
  return summary;
}

}  // namespace sala
