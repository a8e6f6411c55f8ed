// Fidelity in the results database: what selection and logits of a prompt are, written and read.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace SQLite {
class Database;
}

namespace sala {

constexpr int kAllHeads = -1;  // the mean over the KV heads of a layer

/// How well one layer and KV head chose, means over the queries of one part of a prompt; numbers as
/// in SelectionSample, density: share of the visible blocks that were read.
struct SelectionRow {
  int layer = 0;
  int head = kAllHeads;
  std::string part;  // context, or question: its end and the answer
  std::int64_t n_queries = 0;
  double density = 0;
  std::optional<double> topk_recall;
  double mass_recall = 0;
  double mass_oracle = 0;
  std::optional<double> needle_hit;  // of the question
  double out_rel_l2 = 0;
  double out_cos = 0;
};

/// How far the model is from its own weights with dense layers in place of block-sparse ones.
struct DivergenceRow {
  std::int64_t n_positions = 0;
  double kld_mean = 0;  // nats a position
  double kld_p99 = 0;
  double kld_max = 0;
  double top1_agree = 0;
  std::optional<std::int64_t> first_position;  // of the answers, where they differ
  std::optional<double> top2_gap;              // of the dense model there, in nats
  std::string answer_class;                    // identical, near_tie, between, hard
  double dense_score = 0;                      // of the dense model's own answer
  /// Of the model's answer when every query has to read the needles' blocks; only of a wrong one.
  std::optional<double> forced_score;
};

/// Everything of one prompt; empty for cells of another kind.
struct PromptFidelity {
  std::vector<SelectionRow> selection;
  std::optional<DivergenceRow> divergence;
};

/// Adds the rows of a prompt to a run, inside a transaction of the caller.
void add_fidelity(SQLite::Database& db, std::int64_t run_id, std::int64_t prompt_id,
                  const PromptFidelity& fidelity);

/// The rows of a prompt in a run.
PromptFidelity read_fidelity(const SQLite::Database& db, std::int64_t run_id,
                             std::int64_t prompt_id);

}  // namespace sala
