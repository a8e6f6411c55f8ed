// Likelihood of plain text by position: the figures and their section.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "reports/charts.h"
#include "reports/document.h"
#include "reports/format.h"

namespace sala {

void analyse_perplexity(Analysis& analysis) {
  struct Bucket {
    std::int64_t to = 0;
    std::vector<double> nll;
    std::vector<std::string> clusters;
  };
  std::map<std::tuple<std::size_t, std::int64_t, std::int64_t>, Bucket> buckets;
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    if (!is_perplexity(cell)) continue;
    for (const AnswerRecord& answer : cell.answers) {
      if (answer.detail.empty()) continue;
      const auto detail = nlohmann::json::parse(answer.detail);
      if (!detail.contains("buckets")) continue;
      for (const auto& item : detail["buckets"]) {
        const auto from = item.at("from").get<std::int64_t>();
        Bucket& bucket = buckets[{analysis.subject_of_cell[i], cell.context_len, from}];
        // The last range ends with the prompt, whose length varies a little.
        bucket.to = std::max(bucket.to, item.at("to").get<std::int64_t>());
        bucket.nll.push_back(item.at("nll").get<double>());
        bucket.clusters.push_back(answer.cluster);
      }
    }
  }
  for (const auto& [key, bucket] : buckets) {
    const auto& [subject, length, from] = key;
    analysis.perplexity.push_back({subject,
                                   length,
                                   from,
                                   bucket.to,
                                   {static_cast<std::int64_t>(bucket.nll.size()), mean(bucket.nll),
                                    bootstrap_mean_interval(bucket.nll, bucket.clusters)}});
  }
}

Section perplexity_section(const Analysis& analysis) {
  Section section{"perplexity", "Likelihood of plain text by position", {}, {}, {}, {}};
  if (analysis.perplexity.empty()) return section;
  std::map<std::int64_t, std::set<std::size_t>> subjects;  // by length
  std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t>> ranges;
  for (const PerplexityRow& row : analysis.perplexity) {
    subjects[row.length].insert(row.subject);
    ranges.insert({row.length, row.from, row.to});
  }
  // The longest length that most subjects have.
  std::int64_t longest = 0;
  for (const auto& [length, have] : subjects) {
    if (longest == 0 || have.size() >= subjects[longest].size()) longest = length;
  }
  section.paragraphs.emplace_back(
      "Mean negative log-likelihood of the text's own tokens in nats a token, by how far into the "
      "text they stand; a model that uses its context falls with position. Lower is better. "
      "Intervals: bootstrap over texts, 95 %.");
  section.figures.push_back({fmt::format("Texts of {} tokens", length_text(longest)), "",
                             perplexity_chart(analysis, longest), 1, true});
  Table table;
  table.caption = "Nats a token by position";
  table.columns = {{"length", true}, {"positions", true}};
  for (const Subject& subject : analysis.subjects) table.columns.push_back({subject.label, true});
  table.folded = true;
  for (const auto& [length, from, to] : ranges) {
    std::vector<std::string>& cells = table.rows.emplace_back();
    cells.push_back(length_text(length));
    cells.push_back(fmt::format("{}\u2013{}", from, to - 1));
    for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
      std::string text = "\u2014";
      for (const PerplexityRow& row : analysis.perplexity) {
        if (std::tuple{row.length, row.from, row.to} != std::tuple{length, from, to}) continue;
        if (row.subject != s) continue;
        text = fmt::format("{:.3f} [{:.3f}\u2013{:.3f}] n={}", row.nll.value, row.nll.interval.low,
                           row.nll.interval.high, row.nll.n);
      }
      cells.push_back(std::move(text));
    }
  }
  section.tables.push_back(std::move(table));
  return section;
}

}  // namespace sala
