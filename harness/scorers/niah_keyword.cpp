// The sandwich in Dolores Park by its two key phrases, because there is no judge model here.
// SPDX-License-Identifier: Apache-2.0
#include "engine/base/lower.h"
#include "engine/base/utf8.h"
#include "harness/scorers/scorers.h"
#include "harness/scorers/text.h"

namespace sala {

Score score_niah_keyword(const std::vector<std::string>& references, const Answer& answer) {
  const std::string text = lower(answer.text);
  double found = 0;
  for (const std::string& phrase : references) found += contains(text, lower(phrase)) ? 1 : 0;
  const double value = found / static_cast<double>(references.size());
  if (value == 1) return {1, "", ""};
  return {value, strip(text).empty() ? "empty" : "miss", ""};
}

}  // namespace sala
