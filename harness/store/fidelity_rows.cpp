// Fidelity in the results database: what selection and logits of a prompt are, written and read.
// SPDX-License-Identifier: Apache-2.0
#include "harness/store/fidelity_rows.h"

#include <SQLiteCpp/SQLiteCpp.h>

namespace sala {
namespace {

template <typename T>
void bind(SQLite::Statement& statement, int index, const T& value) {
  statement.bind(index, value);
}
template <typename T>
void bind(SQLite::Statement& statement, int index, const std::optional<T>& value) {
  if (value) statement.bind(index, *value);
}

/// Inserts one row; what is absent stays NULL.
template <typename... Values>
void insert(SQLite::Database& db, const char* sql, const Values&... values) {
  SQLite::Statement statement(db, sql);
  int index = 0;
  (bind(statement, ++index, values), ...);
  statement.exec();
}

std::optional<double> maybe_number(const SQLite::Column& column) {
  if (column.isNull()) return std::nullopt;
  return column.getDouble();
}

std::optional<DivergenceRow> read_divergence(const SQLite::Database& db, std::int64_t run_id,
                                             std::int64_t prompt_id) {
  SQLite::Statement row(
      db,
      "SELECT n_pos, kld_mean, kld_p99, kld_max, top1_agree, first_pos, top2_gap_nats, "
      "class, dense_score, forced_score FROM divergence WHERE run_id=? AND prompt_id=?");
  row.bind(1, run_id);
  row.bind(2, prompt_id);
  if (!row.executeStep()) return std::nullopt;
  DivergenceRow divergence{.n_positions = row.getColumn(0).getInt64(),
                           .kld_mean = row.getColumn(1).getDouble(),
                           .kld_p99 = row.getColumn(2).getDouble(),
                           .kld_max = row.getColumn(3).getDouble(),
                           .top1_agree = row.getColumn(4).getDouble(),
                           .first_position = std::nullopt,
                           .top2_gap = maybe_number(row.getColumn(6)),
                           .answer_class = row.getColumn(7).getString(),
                           .dense_score = row.getColumn(8).getDouble(),
                           .forced_score = maybe_number(row.getColumn(9))};
  if (!row.getColumn(5).isNull()) divergence.first_position = row.getColumn(5).getInt64();
  return divergence;
}

}  // namespace

void add_fidelity(SQLite::Database& db, std::int64_t run_id, std::int64_t prompt_id,
                  const PromptFidelity& fidelity) {
  for (const SelectionRow& row : fidelity.selection) {
    insert(db,
           "INSERT INTO fidelity(run_id,prompt_id,layer,head,part,n_queries,density,topk_recall,"
           "mass_recall,mass_oracle,needle_hit,out_rel_l2,out_cos) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,"
           "?)",
           run_id, prompt_id, row.layer, row.head, row.part, row.n_queries, row.density,
           row.topk_recall, row.mass_recall, row.mass_oracle, row.needle_hit, row.out_rel_l2,
           row.out_cos);
  }
  if (!fidelity.divergence) return;
  const DivergenceRow& row = *fidelity.divergence;
  insert(db,
         "INSERT INTO divergence(run_id,prompt_id,n_pos,kld_mean,kld_p99,kld_max,top1_agree,"
         "first_pos,top2_gap_nats,class,dense_score,forced_score) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
         run_id, prompt_id, row.n_positions, row.kld_mean, row.kld_p99, row.kld_max, row.top1_agree,
         row.first_position, row.top2_gap, row.answer_class, row.dense_score, row.forced_score);
}

PromptFidelity read_fidelity(const SQLite::Database& db, std::int64_t run_id,
                             std::int64_t prompt_id) {
  PromptFidelity fidelity;
  SQLite::Statement row(
      db,
      "SELECT layer, head, part, n_queries, density, topk_recall, mass_recall, mass_oracle, "
      "needle_hit, out_rel_l2, out_cos FROM fidelity WHERE run_id=? AND prompt_id=? "
      "ORDER BY layer, part, head");
  row.bind(1, run_id);
  row.bind(2, prompt_id);
  while (row.executeStep()) {
    fidelity.selection.push_back({.layer = row.getColumn(0).getInt(),
                                  .head = row.getColumn(1).getInt(),
                                  .part = row.getColumn(2).getString(),
                                  .n_queries = row.getColumn(3).getInt64(),
                                  .density = row.getColumn(4).getDouble(),
                                  .topk_recall = maybe_number(row.getColumn(5)),
                                  .mass_recall = row.getColumn(6).getDouble(),
                                  .mass_oracle = row.getColumn(7).getDouble(),
                                  .needle_hit = maybe_number(row.getColumn(8)),
                                  .out_rel_l2 = row.getColumn(9).getDouble(),
                                  .out_cos = row.getColumn(10).getDouble()});
  }
  fidelity.divergence = read_divergence(db, run_id, prompt_id);
  return fidelity;
}

}  // namespace sala
