// Puts the cells of two result sets side by side and names what forbids comparing them.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/pairing.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "engine/base/error.h"

namespace sala {
namespace {

using Json = nlohmann::json;
using Slot = std::tuple<std::string, std::string, std::int64_t, std::string>;

bool is_side(std::string_view text) {
  return text == "model" || text == "baseline";
}

/// Where a cell belongs in its sweep. When a side is named, the sides themselves are compared.
Slot slot_of(const CellRecord& cell, bool by_side) {
  return {cell.kind, work_name(cell), cell.context_len, by_side ? side_of(cell) : ""};
}

class Differences {
 public:
  /// Each field is named once, with the first two values that differ.
  void check(const std::string& field, const std::string& baseline, const std::string& candidate) {
    if (baseline != candidate && seen_.insert(field).second) {
      found_.push_back({field, baseline, candidate});
    }
  }
  void check_objects(const std::string& prefix, const Json& baseline, const Json& candidate) {
    std::set<std::string> keys;
    for (const Json* object : {&baseline, &candidate}) {
      for (const auto& [key, value] : object->items()) keys.insert(key);
    }
    for (const std::string& key : keys) {
      check(prefix + key, shown(baseline, key), shown(candidate, key));
    }
  }
  std::vector<FieldDifference> take() { return std::move(found_); }
  bool empty() const { return found_.empty(); }

 private:
  static std::string shown(const Json& object, const std::string& key) {
    const auto found = object.find(key);
    if (found == object.end()) return "(none)";
    return found->is_string() ? found->get<std::string>() : found->dump();
  }

  std::set<std::string> seen_;
  std::vector<FieldDifference> found_;
};

std::string versioned(const std::string& name, std::int64_t version) {
  return name.empty() ? "" : fmt::format("{} version {}", name, version);
}

std::string device_of(const CellRecord& cell) {
  return cell.backend + " " + Json::parse(cell.params).value("device_name", "");
}

/// Names the fields behind two unequal compare_keys.
void check_work(const ComparedSide& a, const CellRecord& baseline, const ComparedSide& b,
                const CellRecord& candidate, Differences& differences) {
  const ModelRecord& model_a = a.results.models[baseline.model];
  const ModelRecord& model_b = b.results.models[candidate.model];
  if (model_a.weights_sha256 != model_b.weights_sha256) {
    const auto shown = [](const ModelRecord& model) {
      return fmt::format("{} ({})", model.name, model.weights_sha256.substr(0, 12));
    };
    differences.check("model", shown(model_a), shown(model_b));
  }
  differences.check("tokenizer", model_a.tokenizer_sha256, model_b.tokenizer_sha256);
  differences.check("dtype", model_a.dtype, model_b.dtype);
  differences.check("backend", baseline.backend, candidate.backend);
  differences.check("task", versioned(baseline.task, baseline.task_version),
                    versioned(candidate.task, candidate.task_version));
  differences.check("scorer", versioned(baseline.scorer, baseline.scorer_version),
                    versioned(candidate.scorer, candidate.scorer_version));
  differences.check_objects("task.", Json::parse(baseline.task_params),
                            Json::parse(candidate.task_params));
  differences.check_objects("", Json::parse(baseline.params), Json::parse(candidate.params));
  if (differences.empty()) {
    differences.check("compare_key", baseline.compare_key, candidate.compare_key);
  }
}

Json surroundings_json(const EnvironmentRecord& environment) {
  Json json = Json::parse(environment.info);
  json["cpu"] = environment.cpu_model;
  json["cores"] = environment.n_cores;
  json["kernel"] = environment.kernel;
  json["os"] = environment.os;
  return json;
}

void check_surroundings(const ComparedSide& a, const CellRecord& baseline, const ComparedSide& b,
                        const CellRecord& candidate, Differences& differences) {
  differences.check_objects(
      "", surroundings_json(a.results.environments[baseline.runs.back().environment]),
      surroundings_json(b.results.environments[candidate.runs.back().environment]));
}

/// Cells with results of a subject by slot; of several with one slot (two sweeps of one name) the
/// later counts.
std::map<Slot, const CellRecord*> by_slot(const ComparedSide& subject, bool by_side) {
  std::map<Slot, const CellRecord*> cells;
  for (const CellRecord& cell : subject.results.cells) {
    if (!cell.runs.empty() && (subject.side.empty() || side_of(cell) == subject.side)) {
      cells[slot_of(cell, by_side)] = &cell;
    }
  }
  return cells;
}

/// Planned cells that were never begun leave no run behind, and so are known by the plan alone.
void add_never_begun(const ComparedSide& subject, const char* role,
                     std::vector<MissingCell>& missing) {
  if (!subject.is_whole) return;
  std::set<std::string> keys;
  std::set<std::size_t> sweeps;
  for (const CellRecord& cell : subject.results.cells) {
    if (!cell.runs.empty()) keys.insert(cell.cell_key);
    sweeps.insert(cell.sweep);
  }
  for (const std::size_t sweep : sweeps) {
    const Json spec = Json::parse(subject.results.sweeps[sweep].spec);
    for (const Json& cell : spec.value("cells", Json::array())) {
      const std::string side = cell.value("side", "");
      if (!subject.side.empty() && side != subject.side) continue;
      if (keys.contains(cell.value("key", ""))) continue;
      missing.push_back({cell.value("task", ""), cell.value("length", std::int64_t{0}), side,
                         fmt::format("planned and never run in the {}", role)});
    }
  }
}

void add_one_sided(const CellRecord& cell, const char* role, std::vector<MissingCell>& missing) {
  const auto is_listed = [&](const MissingCell& other) {
    return other.task == work_name(cell) && other.length == cell.context_len &&
           other.side == side_of(cell);
  };
  if (std::any_of(missing.begin(), missing.end(), is_listed)) return;
  missing.push_back({work_name(cell), cell.context_len, side_of(cell),
                     fmt::format("the {} has no such cell", role)});
}

}  // namespace

ComparedSide read_subject(const std::filesystem::path& database, const std::string& text) {
  const ResultReader reader(database);
  const std::size_t colon = text.rfind(':');
  if (is_side(text)) {
    ComparedSide subject{.results = reader.results(), .side = text};
    std::set<std::size_t> sweeps;
    for (const CellRecord& cell : subject.results.cells) sweeps.insert(cell.sweep);
    if (sweeps.size() > 1) {
      throw Error(text, "{} holds {} runs, so a side alone is ambiguous; name it as RUN:{}",
                  database.string(), sweeps.size(), text);
    }
    return subject;
  }
  ComparedSide subject;
  std::string id = text;
  if (colon != std::string::npos) {
    subject.side = text.substr(colon + 1);
    id = text.substr(0, colon);
    if (!is_side(subject.side)) {
      throw Error(text, "'{}' is not a side, expected RUN:model or RUN:baseline", subject.side);
    }
  }
  subject.results = reader.results({id});
  bool is_run = false;
  for (const CellRecord& cell : subject.results.cells) {
    for (const RunRecord& run : cell.runs) is_run |= run.uid.starts_with(id);
  }
  bool is_sweep = false;
  for (const SweepRecord& sweep : subject.results.sweeps) {
    is_sweep |= sweep.uid.starts_with(id) || sweep.name.starts_with(id);
  }
  subject.is_whole = is_sweep || !is_run;
  return subject;
}

Pairing pair_cells(const ComparedSide& baseline, const ComparedSide& candidate) {
  const bool by_side = baseline.side.empty() && candidate.side.empty();
  const auto a = by_slot(baseline, by_side);
  const auto b = by_slot(candidate, by_side);
  Pairing out;
  add_never_begun(baseline, "baseline", out.missing);
  add_never_begun(candidate, "candidate", out.missing);
  Differences work;
  Differences surroundings;
  for (const auto& [slot, cell] : a) {
    const auto other = b.find(slot);
    if (other == b.end()) {
      add_one_sided(*cell, "candidate", out.missing);
      continue;
    }
    out.cells.push_back({cell, other->second});
    if (cell->compare_key != other->second->compare_key) {
      check_work(baseline, *cell, candidate, *other->second, work);
    }
    work.check("device", device_of(*cell), device_of(*other->second));
    check_surroundings(baseline, *cell, candidate, *other->second, surroundings);
  }
  for (const auto& [slot, cell] : b) {
    if (!a.contains(slot)) add_one_sided(*cell, "baseline", out.missing);
  }
  if (out.cells.empty()) {
    const auto names = [](const auto& cells) {
      std::set<std::string> found;
      for (const auto& [slot, cell] : cells) {
        found.insert(fmt::format("{} {} at {}", cell->kind, work_name(*cell), cell->context_len));
      }
      return fmt::format("{}", fmt::join(found, ", "));
    };
    work.check("cells", names(a), names(b));
  }
  out.differences = work.take();
  out.surroundings = surroundings.take();
  return out;
}

std::string work_name(const CellRecord& cell) {
  if (!cell.task.empty()) return cell.task;
  const Json params = Json::parse(cell.params);
  return params.value(is_kernel(cell) ? "bench" : "prompt", "");
}

bool is_kernel(const CellRecord& cell) {
  return cell.kind == "perf" && Json::parse(cell.params).contains("bench");
}

std::string side_of(const CellRecord& cell) {
  return Json::parse(cell.params).value("side", "");
}

std::string surroundings_of(const EnvironmentRecord& environment) {
  return surroundings_json(environment).dump();
}

bool is_answered(const CellRecord& cell) {
  return cell.status == "ok" || cell.status == "oom";
}

std::string differences_text(const std::vector<FieldDifference>& differences) {
  std::string text;
  for (const FieldDifference& difference : differences) {
    text += fmt::format("{}{}: {} against {}", text.empty() ? "" : "; ", difference.field,
                        difference.baseline, difference.candidate);
  }
  return text;
}

}  // namespace sala
