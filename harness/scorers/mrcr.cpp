// How near an answer comes to the one asked-for turn of a long conversation.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "harness/scorers/difflib.h"
#include "harness/scorers/scorers.h"
#include "harness/scorers/text.h"

namespace sala {
namespace {

constexpr std::size_t kHashCodePoints = 12;

/// Bytes of the first code points.
std::size_t bytes_of(std::string_view text, std::size_t n_code_points) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < n_code_points && at < text.size(); ++i) next_code_point(text, at);
  return at;
}

Score graded(double value, const Answer& answer) {
  if (value == 1) return {1, "", ""};
  if (strip(answer.text).empty()) return {value, "empty", ""};
  if (value == 0) return {0, "format", ""};
  return {value, answer.hit_token_limit ? "truncated" : "garbled", ""};
}

}  // namespace

Score score_mrcr(const std::vector<std::string>& references, const Answer& answer) {
  if (references.size() != 2) {
    throw Error("mrcr", "a sample has {} references, expected the answer and its random prefix",
                references.size());
  }
  const std::string& prefix = references[1];
  std::string_view got = answer.text;
  std::string_view wanted = references[0];
  if (!got.starts_with(prefix)) return graded(0, answer);
  got.remove_prefix(prefix.size());
  if (wanted.starts_with(prefix)) wanted.remove_prefix(prefix.size());
  return graded(sequence_ratio(got, wanted), answer);
}

Score score_mrcr_v2(const std::vector<std::string>& references, const Answer& answer) {
  if (references.size() != 1) {
    throw Error("mrcr_v2", "a sample has {} references, expected 1", references.size());
  }
  const std::string_view wanted = strip(references[0]);
  const std::size_t hash_bytes = bytes_of(wanted, kHashCodePoints);
  if (answer.text.empty() || code_points(wanted).size() < kHashCodePoints) return graded(0, answer);
  const std::string_view got = strip(answer.text);
  const std::string_view hash = wanted.substr(0, hash_bytes);
  const std::size_t at = got.rfind(hash);
  if (at == std::string_view::npos) return graded(0, answer);
  return graded(
      sequence_ratio(strip(wanted.substr(hash_bytes)), strip(got.substr(at + hash_bytes))), answer);
}

}  // namespace sala
