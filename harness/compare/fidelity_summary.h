// What cells of kind fidelity say as a whole and of each block-sparse layer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/compare/statistics.h"
#include "harness/store/reader.h"

namespace sala {

/// Means over prompts and, for a whole model, over layers; each over those that have the number.
struct SelectionMeans {
  double density = 0;
  std::optional<double> topk_recall;
  double mass_recall = 0;
  double efficiency = 0;  // mass_recall over the mass of as many blocks chosen best
  std::optional<double> needle_hit;
  double out_rel_l2 = 0;
  double out_cos = 0;
};

/// Prompts by two questions: was the needle's block selected at half of the queries or more, and
/// was the answer right?
struct Attribution {
  std::int64_t fine = 0;             // selected, right
  std::int64_t selected_unused = 0;  // selected, wrong
  std::int64_t selection_miss = 0;   // not selected, wrong
  std::int64_t lucky = 0;            // not selected, right

  std::int64_t n() const { return fine + selected_unused + selection_miss + lucky; }
};

struct LayerFidelity {
  int layer = 0;
  int head = kAllHeads;
  std::optional<SelectionMeans> context;   // queries spread over the prompt
  std::optional<SelectionMeans> question;  // those of its end and of the answer
  Attribution attribution;                 // of the question; empty without needles
};

inline constexpr std::array<const char*, 4> kDivergenceClasses{"identical", "near_tie", "between",
                                                               "hard"};

/// The model against its own weights with dense layers.
struct DivergenceSummary {
  std::int64_t n = 0;            // prompts
  std::int64_t n_positions = 0;  // of all prompts
  double kld_mean = 0;           // nats a position, mean over prompts
  Interval kld_interval;         // 95 %, of the mean
  double kld_p99 = 0;            // the largest of a prompt
  double kld_max = 0;
  double top1_agree = 0;
  double accuracy = 0;  // mean scores of the same prompts
  double dense_accuracy = 0;
  std::array<std::int64_t, kDivergenceClasses.size()> classes{};
};

struct FidelitySummary {
  std::int64_t n = 0;
  std::int64_t n_forced = 0;  // wrong answers, asked for again with the needles' blocks read
  std::int64_t n_forced_right = 0;
  LayerFidelity whole;                // over all layers; attribution: selected by any of them
  std::vector<LayerFidelity> layers;  // means over KV heads
  std::vector<LayerFidelity> heads;   // without attribution; empty where a layer has one head
  std::optional<DivergenceSummary> divergence;
};

using CellList = std::vector<const CellRecord*>;

/// Of every answer of those cells, of one model, that are ok.
FidelitySummary summarize_fidelity(const CellList& cells);

}  // namespace sala
