// RULER's two string metrics.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "harness/scorers/scorers.h"

namespace sala {
namespace {

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

/// What the references have in common with the answer.
struct Hits {
  std::size_t n = 0;
  std::string first_missing;
  std::string post;
};

Hits find_hits(const std::vector<std::string>& references, const Answer& answer) {
  if (references.empty()) throw Error("ruler", "a sample has no reference to look for");
  Hits hits;
  hits.post = ruler_post_process(answer.text);
  const std::string text = lower(hits.post);
  bool missing = false;
  for (const std::string& reference : references) {
    if (text.find(lower(reference)) != std::string::npos) {
      ++hits.n;
    } else if (!missing) {
      missing = true;
      hits.first_missing = reference;
    }
  }
  return hits;
}

Score scored(double value, const Hits& hits, const Answer& answer) {
  if (value == 1) return {1, "", ""};
  return {value, error_class(hits.post, hits.first_missing, answer.hit_token_limit), ""};
}

}  // namespace

std::string ruler_post_process(std::string_view text) {
  std::string post(strip(text));
  for (char& c : post) {
    if (static_cast<unsigned char>(c) < 0x20) c = '\n';
  }
  return std::string(strip(post));
}

Score score_ruler_all(const std::vector<std::string>& references, const Answer& answer) {
  const Hits hits = find_hits(references, answer);
  return scored(static_cast<double>(hits.n) / static_cast<double>(references.size()), hits, answer);
}

Score score_ruler_part(const std::vector<std::string>& references, const Answer& answer) {
  const Hits hits = find_hits(references, answer);
  return scored(hits.n > 0 ? 1 : 0, hits, answer);
}

}  // namespace sala
