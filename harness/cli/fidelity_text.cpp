// What `sala fidelity` prints: a table a question, or JSON.
// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/fidelity_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "harness/compare/fidelity_summary.h"
#include "harness/plan/sizes.h"

namespace sala {
namespace {

using Json = nlohmann::ordered_json;

std::string shown(std::optional<double> value) {
  return value ? fmt::format("{:.4f}", *value) : "-";
}

std::string selection_line(const FidelitySummary& summary) {
  if (!summary.whole.question) return fmt::format("{:>8}", "-");
  const SelectionMeans& means = *summary.whole.question;
  return fmt::format("{:>8.4f} {:>8} {:>8.4f} {:>8.4f} {:>8} {:>9.5f}", means.density,
                     shown(means.topk_recall), means.mass_recall, means.efficiency,
                     shown(means.needle_hit), means.out_rel_l2);
}

std::string divergence_line(const FidelitySummary& summary) {
  if (!summary.divergence) return fmt::format("{:>10}", "-");
  const DivergenceSummary& d = *summary.divergence;
  return fmt::format(
      "{:>10.2e} {:>10.2e} {:>10.2e} {:>7.4f} {:>10} {:>9} {:>8} {:>5} {:>6.3f} "
      "{:>6.3f}",
      d.kld_mean, d.kld_p99, d.kld_max, d.top1_agree, d.classes[0], d.classes[1], d.classes[2],
      d.classes[3], d.accuracy, d.dense_accuracy);
}

std::string attribution_line(const FidelitySummary& summary) {
  const Attribution& a = summary.whole.attribution;
  return fmt::format("{:>6} {:>17} {:>15} {:>6} {:>18}", a.fine, a.selected_unused,
                     a.selection_miss, a.lucky,
                     fmt::format("{} of {}", summary.n_forced_right, summary.n_forced));
}

/// Cells without a result, and why.
std::string failure_text(const Results& results) {
  std::string text;
  for (const CellRecord& cell : results.cells) {
    if (cell.status == "ok" || cell.runs.empty()) continue;
    text += fmt::format("\n{} at {}: {}: {}\n", cell.task, format_size(cell.context_len),
                        cell.status, cell.runs.back().reason);
  }
  return text;
}

/// Lengths at which nothing was left out.
std::string dense_note(const Results& results) {
  std::string lengths;
  for (const CellRecord& cell : results.cells) {
    const auto means = summarize_fidelity({&cell}).whole.question;
    if (!means || means->density < 1) continue;
    lengths += fmt::format("{}{} at {}", lengths.empty() ? "" : ", ", cell.task,
                           format_size(cell.context_len));
  }
  if (lengths.empty()) return "";
  return fmt::format("every block is read, so nothing is selected (density 1): {}\n", lengths);
}

Json number(std::optional<double> value) {
  return value ? Json(*value) : Json();
}

Json means_json(const std::optional<SelectionMeans>& means) {
  if (!means) return nullptr;
  return {{"density", means->density},
          {"topk_recall", number(means->topk_recall)},
          {"mass_recall", means->mass_recall},
          {"efficiency", means->efficiency},
          {"needle_hit", number(means->needle_hit)},
          {"out_rel_l2", means->out_rel_l2},
          {"out_cos", means->out_cos}};
}

Json attribution_json(const Attribution& a) {
  if (a.n() == 0) return nullptr;
  return {{"fine", a.fine},
          {"selected_unused", a.selected_unused},
          {"selection_miss", a.selection_miss},
          {"lucky", a.lucky}};
}

Json layer_json(const LayerFidelity& layer) {
  return {{"layer", layer.layer},
          {"question", means_json(layer.question)},
          {"context", means_json(layer.context)},
          {"attribution", attribution_json(layer.attribution)}};
}

Json divergence_json(const std::optional<DivergenceSummary>& d) {
  if (!d) return nullptr;
  Json classes;
  for (std::size_t i = 0; i < kDivergenceClasses.size(); ++i) {
    classes[kDivergenceClasses[i]] = d->classes[i];
  }
  return {{"n", d->n},
          {"positions", d->n_positions},
          {"kld_mean", d->kld_mean},
          {"kld_interval", {d->kld_interval.low, d->kld_interval.high}},
          {"kld_p99", d->kld_p99},
          {"kld_max", d->kld_max},
          {"top1_agree", d->top1_agree},
          {"classes", classes},
          {"score", d->accuracy},
          {"dense_score", d->dense_accuracy}};
}

Json cell_json(const CellRecord& cell) {
  const FidelitySummary summary = summarize_fidelity({&cell});
  Json whole = layer_json(summary.whole);
  whole.erase("layer");
  Json json{{"task", cell.task},
            {"length", cell.context_len},
            {"status", cell.status},
            {"reason", cell.runs.empty() ? "" : cell.runs.back().reason},
            {"n", summary.n},
            {"forced", {{"n", summary.n_forced}, {"right", summary.n_forced_right}}},
            {"whole", whole},
            {"layers", Json::array()},
            {"heads", Json::array()},
            {"divergence", divergence_json(summary.divergence)}};
  for (const LayerFidelity& layer : summary.layers) json["layers"].push_back(layer_json(layer));
  for (const LayerFidelity& head : summary.heads) {
    Json of_head = layer_json(head);
    of_head.erase("attribution");
    of_head["head"] = head.head;
    json["heads"].push_back(of_head);
  }
  return json;
}

}  // namespace

std::string self_test_text(const SelfTest& test) {
  return fmt::format(
      "self-test, sparse against dense at {} tokens, where every block may be read: {} (largest "
      "difference of logits {:.2g} of the largest logit, tolerance {:.2g})\n",
      test.n_tokens, test.passed ? "passed" : "FAILED", test.difference, test.tolerance);
}

std::string fidelity_text(const Results& results) {
  std::size_t width = 4;
  for (const CellRecord& cell : results.cells) width = std::max(width, cell.task.size());
  const auto lines = [&](const std::string& title, const auto& line) {
    std::string text =
        fmt::format("\n{:<{}} {:>6} {:>4} {}\n", "task", width, "length", "n", title);
    for (const CellRecord& cell : results.cells) {
      if (cell.status != "ok") continue;
      const FidelitySummary summary = summarize_fidelity({&cell});
      text += fmt::format("{:<{}} {:>6} {:>4} {}\n", cell.task, width,
                          format_size(cell.context_len), summary.n, line(summary));
    }
    return text;
  };
  std::string text = "selection at the question and the answer, mean over layers";
  text += lines(fmt::format("{:>8} {:>8} {:>8} {:>8} {:>8} {:>9}", "density", "top-k", "mass",
                            "of best", "needle", "out error"),
                selection_line);
  text += dense_note(results);
  text += "\nthe model against its weights with dense layers; KLD in nats, answers by class";
  text += lines(fmt::format("{:>10} {:>10} {:>10} {:>7} {:>10} {:>9} {:>8} {:>5} {:>6} {:>6}",
                            "KLD mean", "p99", "max", "top-1", "identical", "near tie", "between",
                            "hard", "score", "dense"),
                divergence_line);
  text += "\nwas the needle's block selected by any layer, and was the answer right?";
  text += lines(fmt::format("{:>6} {:>17} {:>15} {:>6} {:>18}", "fine", "selected, unused",
                            "selection miss", "lucky", "right when forced"),
                attribution_line);
  return text + failure_text(results);
}

std::string fidelity_json(const SelfTest& test, const Results* results, const std::string& db) {
  Json json{{"db", db},
            {"sweep", nullptr},
            {"self_test",
             {{"tokens", test.n_tokens},
              {"difference", test.difference},
              {"tolerance", test.tolerance},
              {"passed", test.passed},
              {"reason", test.reason}}},
            {"cells", Json::array()}};
  if (results != nullptr) {
    json["sweep"] = results->sweeps[results->cells.front().sweep].uid;
    for (const CellRecord& cell : results->cells) json["cells"].push_back(cell_json(cell));
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace sala
