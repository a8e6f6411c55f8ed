// Which queries of a prompt are looked at, and what their samples say of each layer.
// SPDX-License-Identifier: Apache-2.0
#include "harness/fidelity/selection.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <tuple>

namespace sala {
namespace {

constexpr std::int64_t kContextQueries = 32;
constexpr std::int64_t kQuestionQueries = 32;
constexpr double kContextSpan = 64;  // last context query over the first

/// Mean of what there is; nothing when there is nothing.
struct Mean {
  double sum = 0;
  std::int64_t n = 0;

  void add(double value) {
    sum += value;
    ++n;
  }
  void add(std::optional<double> value) {
    if (value) add(*value);
  }
  std::optional<double> maybe() const {
    if (n == 0) return std::nullopt;
    return sum / static_cast<double>(n);
  }
  double value() const { return sum / static_cast<double>(n); }
};

struct Means {
  Mean density, topk_recall, mass_recall, mass_oracle, needle_hit, out_rel_l2, out_cos;

  void add(const SelectionSample& sample) {
    density.add(static_cast<double>(sample.blocks_read) /
                static_cast<double>(sample.blocks_visible));
    topk_recall.add(sample.topk_recall);
    mass_recall.add(sample.mass_recall);
    mass_oracle.add(sample.mass_oracle);
    needle_hit.add(sample.needle_hit);
    out_rel_l2.add(sample.out_rel_l2);
    out_cos.add(sample.out_cos);
  }
};

}  // namespace

SelectionRequest make_selection_request(const Sample& sample) {
  const auto n_prompt = static_cast<std::int64_t>(sample.prompt_ids.size());
  const std::int64_t question = std::max<std::int64_t>(n_prompt - kQuestionQueries, 0);
  SelectionRequest request;
  for (std::int64_t i = 0; i < kContextQueries; ++i) {
    const double share = static_cast<double>(i) / kContextQueries;
    const double position = static_cast<double>(question) * std::pow(kContextSpan, share - 1);
    request.positions.push_back(static_cast<std::int64_t>(position));
  }
  // The last token of an answer is never read.
  for (std::int64_t p = question; p < n_prompt + sample.max_new_tokens - 1; ++p) {
    request.positions.push_back(p);
  }
  const auto repeated = std::unique(request.positions.begin(), request.positions.end());
  request.positions.erase(repeated, request.positions.end());
  for (const TokenSpan& needle : sample.needles) {
    request.needles.push_back({needle.begin, needle.end});
  }
  return request;
}

std::vector<SelectionRow> selection_rows(const std::vector<SelectionSample>& samples,
                                         std::int64_t n_prompt) {
  std::map<std::tuple<int, std::string, int>, Means> means;  // by layer, part and head
  for (const SelectionSample& sample : samples) {
    const bool is_question = sample.position >= n_prompt - kQuestionQueries;
    SelectionSample counted = sample;
    if (!is_question) counted.needle_hit.reset();
    for (const int head : {kAllHeads, sample.kv_head}) {
      means[{sample.layer, is_question ? "question" : "context", head}].add(counted);
    }
  }
  std::vector<SelectionRow> rows;
  rows.reserve(means.size());
  for (const auto& [key, mean] : means) {
    const auto& [layer, part, head] = key;
    rows.push_back({.layer = layer,
                    .head = head,
                    .part = part,
                    .n_queries = mean.density.n,
                    .density = mean.density.value(),
                    .topk_recall = mean.topk_recall.maybe(),
                    .mass_recall = mean.mass_recall.value(),
                    .mass_oracle = mean.mass_oracle.value(),
                    .needle_hit = mean.needle_hit.maybe(),
                    .out_rel_l2 = mean.out_rel_l2.value(),
                    .out_cos = mean.out_cos.value()});
  }
  return rows;
}

}  // namespace sala
