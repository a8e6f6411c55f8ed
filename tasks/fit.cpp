// A bracket around the answer, narrowed by predictions that each real count corrects.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/fit.h"

#include <algorithm>
#include <limits>

namespace sala {

void Units::draw() {
  std::string unit = haystack_.next();
  // Noise repeats itself: no need to tokenise the same line again.
  const std::int64_t tokens = !units_.empty() && unit == units_.back()
                                  ? sums_.back() - sums_[sums_.size() - 2]
                                  : tokenizer_.count(haystack_.separator + unit);
  sums_.push_back(sums_.back() + tokens);
  units_.push_back(std::move(unit));
}

double Units::tokens_of(std::int64_t n_units) {
  while (static_cast<std::int64_t>(units_.size()) < n_units) draw();
  return static_cast<double>(sums_[static_cast<std::size_t>(n_units)]);
}

std::int64_t Units::units_within(double tokens) {
  while (static_cast<double>(sums_.back()) <= tokens) draw();
  const auto past = std::upper_bound(
      sums_.begin(), sums_.end(), tokens,
      [](double limit, std::int64_t sum) { return limit < static_cast<double>(sum); });
  return std::max<std::int64_t>(0, past - sums_.begin() - 1);
}

Fit fit(const Tokenizer& tokenizer, std::int64_t max_tokens, std::int64_t min_units,
        SizeModel& sizes, const std::function<Draft(std::int64_t)>& build) {
  const auto measure = [&](std::int64_t n) {
    Fit made{build(n), {}, n, 0};
    made.encoding = tokenizer.encode(made.draft.text);
    made.needed = static_cast<std::int64_t>(made.encoding.ids.size());
    return made;
  };
  Fit best = measure(min_units);
  if (best.needed >= max_tokens) return best;

  const auto limit = static_cast<double>(max_tokens);
  std::int64_t too_many = std::numeric_limits<std::int64_t>::max();
  double fixed = static_cast<double>(best.needed) - sizes.tokens_of(min_units);
  while (best.n_units + 1 < too_many) {
    const std::int64_t n =
        std::clamp(sizes.units_within(limit - fixed), best.n_units + 1, too_many - 1);
    Fit tried = measure(n);
    fixed = static_cast<double>(tried.needed) - sizes.tokens_of(n);
    if (tried.needed > max_tokens) {
      too_many = n;
      continue;
    }
    best = std::move(tried);
    if (best.needed == max_tokens) break;
  }
  return best;
}

}  // namespace sala
