// Reads engine options from KEY=VALUE pairs.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/settings.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <vector>

#include "engine/base/error.h"

namespace sala {
namespace {

struct Row {
  const char* key;
  std::vector<std::string> values;  // none: an integer
  std::function<void(Settings&, const std::string&)> set;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {"dense_rule",
       {"request", "row"},
       [](Settings& s, const std::string& v) { s.dense_rule = v; }},
      {"dense_len",
       {},
       [](Settings& s, const std::string& v) {
         std::int64_t number = 0;
         const auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), number);
         if (error != std::errc() || end != v.data() + v.size()) {
           throw Error("--set dense_len", "'{}' is not an integer; give tokens, e.g. 8192 or 0", v);
         }
         s.dense_len = number;
       }},
      {"sparse", {"on", "off"}, [](Settings& s, const std::string& v) { s.sparse = v == "on"; }},
      {"lse", {"approx", "exact"}, [](Settings& s, const std::string& v) { s.lse = v; }},
      {"select_score",
       {"bf16", "fp32"},
       [](Settings& s, const std::string& v) { s.select_score = v; }},
      {"rope_angle",
       {"ref32", "exact64"},
       [](Settings& s, const std::string& v) { s.rope_angle = v; }},
      {"logits_round",
       {"none", "bf16"},
       [](Settings& s, const std::string& v) { s.logits_round = v; }},
  };
  return table;
}

}  // namespace

Settings Settings::parse(const std::map<std::string, std::string>& values) {
  Settings settings;
  for (const auto& [key, value] : values) {
    const auto row = std::find_if(rows().begin(), rows().end(),
                                  [&](const Row& known) { return key == known.key; });
    if (row == rows().end()) {
      std::vector<std::string> keys;
      for (const Row& known : rows()) keys.emplace_back(known.key);
      throw Error("--set " + key, "no such engine option; there are {}", fmt::join(keys, ", "));
    }
    if (!row->values.empty() &&
        std::find(row->values.begin(), row->values.end(), value) == row->values.end()) {
      throw Error("--set " + key, "'{}' is not one of its values {}", value,
                  fmt::join(row->values, ", "));
    }
    row->set(settings, value);
  }
  return settings;
}

}  // namespace sala
