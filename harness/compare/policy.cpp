// What a gate tolerates, and how the verdicts of its items become one.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/policy.h"

#include <toml++/toml.h>
#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/base/error.h"

namespace sala {
namespace {

class PolicyReader {
 public:
  PolicyReader(const toml::table& table, std::string where)
      : table_(table), where_(std::move(where)) {}

  Policy read() const {
    Policy policy;
    check_keys(table_, {"alpha", "item", "pairs", "baseline"}, "");
    policy.alpha = number(table_, "alpha", policy.alpha, 1e-6, 0.5);
    if (const toml::table* pairs = table_["pairs"].as_table()) {
      check_keys(*pairs, {"looks", "long_from", "long_looks"}, "pairs.");
      policy.looks = looks(*pairs, "looks", policy.looks);
      policy.long_looks = looks(*pairs, "long_looks", policy.long_looks);
      policy.long_from = static_cast<std::int64_t>(
          number(*pairs, "long_from", static_cast<double>(policy.long_from), 1, 1e15));
    }
    if (const toml::table* baseline = table_["baseline"].as_table()) {
      check_keys(*baseline, {"max_age_days"}, "baseline.");
      policy.max_age_days = number(*baseline, "max_age_days", policy.max_age_days, 0, 1e6);
    }
    const toml::array* items = table_["item"].as_array();
    if (items == nullptr || items->empty()) {
      throw Error(where_, "has no [[item]], expected one for every number to be judged");
    }
    for (const toml::node& node : *items) {
      if (!node.is_table()) throw Error(where_, "item is no table, expected [[item]]");
      policy.items.push_back(item(*node.as_table()));
    }
    return policy;
  }

 private:
  PolicyItem item(const toml::table& table) const {
    check_keys(table, {"metric", "stage", "tier", "rel", "abs", "max_drop", "least_share"},
               "item.");
    PolicyItem item;
    item.metric = table["metric"].value_or(std::string());
    if (item.metric.empty()) throw Error(where_, "item.metric is missing, expected e.g. ttft_ns");
    item.stage = table["stage"].value_or(std::string());
    const std::string tier = table["tier"].value_or(std::string("critical"));
    const auto known = {Tier::critical, Tier::supporting, Tier::advisory};
    const auto found =
        std::find_if(known.begin(), known.end(), [&](Tier t) { return tier_name(t) == tier; });
    if (found == known.end()) {
      throw Error(where_, "item.tier is '{}', expected critical, supporting or advisory", tier);
    }
    item.tier = *found;
    const bool is_accuracy = item.metric.ends_with("accuracy");
    const char* tolerance = is_accuracy ? "max_drop" : "rel";
    if (!table.contains(tolerance)) {
      throw Error(where_, "item {} has no {}, expected the change it may have, e.g. 0.03",
                  item.metric, tolerance);
    }
    item.tolerance = number(table, tolerance, 0, 0, 10);
    item.absolute = number(table, "abs", 0, 0, 1e18);
    item.least_share = number(table, "least_share", 0, 0, 1);
    return item;
  }

  void check_keys(const toml::table& table, std::initializer_list<std::string_view> known,
                  const char* prefix) const {
    for (const auto& [key, value] : table) {
      if (std::find(known.begin(), known.end(), key.str()) == known.end()) {
        throw Error(where_, "unknown key {}{}", prefix, key.str());
      }
    }
  }

  double number(const toml::table& table, const char* key, double otherwise, double least,
                double most) const {
    if (!table.contains(key)) return otherwise;
    const auto value = table[key].value<double>();
    if (!value || !(*value >= least && *value <= most)) {
      throw Error(where_, "{} is not a number from {} to {}", key, least, most);
    }
    return *value;
  }

  std::vector<int> looks(const toml::table& table, const char* key,
                         const std::vector<int>& otherwise) const {
    if (!table.contains(key)) return otherwise;
    std::vector<int> values;
    const toml::array* array = table[key].as_array();
    bool ok = array != nullptr && !array->empty();
    for (std::size_t i = 0; ok && i < array->size(); ++i) {
      values.push_back(array->get(i)->value_or(0));
      ok = values.back() >= 2 && values.back() <= 1000 && (i == 0 || values[i] > values[i - 1]);
    }
    if (!ok) throw Error(where_, "{} is not an ascending list of pairs, such as [6, 10, 16]", key);
    return values;
  }

  const toml::table& table_;
  std::string where_;
};

}  // namespace

const char* tier_name(Tier tier) {
  switch (tier) {
    case Tier::critical:
      return "critical";
    case Tier::supporting:
      return "supporting";
    case Tier::advisory:
      return "advisory";
  }
  return "critical";
}

Policy load_policy(const std::filesystem::path& path) {
  try {
    return PolicyReader(toml::parse_file(path.string()), path.string()).read();
  } catch (const toml::parse_error& error) {
    throw Error(path.string(), "cannot be read as a policy: {} (line {})", error.description(),
                error.source().begin.line);
  }
}

std::string Policy::json() const {
  nlohmann::json json{{"alpha", alpha},
                      {"looks", looks},
                      {"long_from", long_from},
                      {"long_looks", long_looks},
                      {"max_age_days", max_age_days},
                      {"items", nlohmann::json::array()}};
  for (const PolicyItem& item : items) {
    json["items"].push_back({{"metric", item.metric},
                             {"stage", item.stage},
                             {"tier", tier_name(item.tier)},
                             {"tolerance", item.tolerance},
                             {"absolute", item.absolute},
                             {"least_share", item.least_share}});
  }
  return json.dump();
}

const char* verdict_name(GateVerdict verdict) {
  switch (verdict) {
    case GateVerdict::pass:
      return "pass";
    case GateVerdict::warn:
      return "warn";
    case GateVerdict::inconclusive:
      return "inconclusive";
    case GateVerdict::incomplete:
      return "incomplete";
    case GateVerdict::block:
      return "block";
    case GateVerdict::not_comparable:
      return "not_comparable";
  }
  return "incomplete";
}

int exit_code(GateVerdict verdict) {
  switch (verdict) {
    case GateVerdict::pass:
      return 0;
    case GateVerdict::block:
      return 1;
    case GateVerdict::warn:
    case GateVerdict::inconclusive:
      return 2;
    case GateVerdict::incomplete:
      return 3;
    case GateVerdict::not_comparable:
      return 4;
  }
  return 3;
}

GateVerdict consequence(const GateItem& item, bool strict) {
  if (item.tier == Tier::advisory) return GateVerdict::pass;
  const bool critical = item.tier == Tier::critical;
  const bool heavy = critical || strict;
  switch (item.decision.verdict) {
    case ItemVerdict::worse:
      if (item.decision.beyond_tolerance) return heavy ? GateVerdict::block : GateVerdict::warn;
      if (!critical) return GateVerdict::pass;
      return strict ? GateVerdict::block : GateVerdict::warn;
    case ItemVerdict::ambiguous:
      return critical ? GateVerdict::inconclusive : GateVerdict::pass;
    case ItemVerdict::missing:
    case ItemVerdict::invalid:
      return heavy ? GateVerdict::incomplete : GateVerdict::warn;
    case ItemVerdict::same:
    case ItemVerdict::better:
      return GateVerdict::pass;
  }
  return GateVerdict::incomplete;
}

void adjust_for_multiplicity(std::vector<GateItem>& items, double alpha) {
  for (const Tier tier : {Tier::critical, Tier::supporting}) {
    std::vector<GateItem*> tested;
    std::vector<double> p;
    for (GateItem& item : items) {
      if (item.tier != tier || !item.decision.p) continue;
      tested.push_back(&item);
      p.push_back(item.decision.verdict == ItemVerdict::worse ? *item.decision.p : 1);
    }
    const std::vector<double> adjusted =
        tier == Tier::critical ? holm_adjusted(p) : benjamini_hochberg_adjusted(p);
    for (std::size_t i = 0; i < tested.size(); ++i) {
      Decision& decision = tested[i]->decision;
      if (decision.verdict != ItemVerdict::worse || adjusted[i] < alpha) continue;
      decision.verdict = ItemVerdict::ambiguous;
      decision.reason += fmt::format("; among {} numbers that may be chance", tested.size());
    }
  }
}

GateVerdict joint_verdict(const std::vector<GateItem>& items, bool strict) {
  // In the order of gravity.
  constexpr GateVerdict kOrder[] = {GateVerdict::block, GateVerdict::incomplete,
                                    GateVerdict::inconclusive, GateVerdict::warn};
  if (items.empty()) return GateVerdict::incomplete;
  for (const GateVerdict verdict : kOrder) {
    for (const GateItem& item : items) {
      if (consequence(item, strict) == verdict) return verdict;
    }
  }
  return GateVerdict::pass;
}

}  // namespace sala
