// Who is compared with whom: models in a mode, and which two of them make the pair.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "reports/analysis.h"

namespace sala {
namespace {

/// Engine settings of a cell by name; they are part of what is measured.
std::map<std::string, std::string> settings_of(const nlohmann::json& params) {
  std::map<std::string, std::string> settings;
  if (!params.contains("settings")) return settings;
  for (const auto& [key, value] : params["settings"].items()) {
    settings[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return settings;
}

Subject subject_of(const CellRecord& cell) {
  const auto params = nlohmann::json::parse(cell.params);
  Subject subject;
  subject.mode = cell.mode;
  subject.backend = cell.backend;
  subject.device = params.value("device_name", "");
  subject.model = cell.model;
  for (const auto& [key, value] : settings_of(params)) {
    subject.options += fmt::format("{}{}={}", subject.options.empty() ? "" : ", ", key, value);
    // The same weights with softmax attention in place of every sparse layer.
    if (key == "attention" && value == "dense" && cell.mode != "full") subject.mode = "dense";
  }
  const std::string side = params.value("side", "");
  subject.is_baseline = side.empty() ? cell.mode == "full" : side == "baseline";
  return subject;
}

/// Two cells of one subject have equal keys.
auto key_of(const Subject& subject) {
  return std::tuple(subject.model, subject.mode, subject.backend, subject.options);
}

/// The model's name and whatever else tells it from the other subjects.
std::string label_of(const Analysis& analysis, const Subject& subject) {
  const std::vector<ModelRecord>& models = analysis.results->models;
  const ModelRecord& model = models[subject.model];
  std::string label = model.name;
  const auto differs = [&](auto member) {
    return std::any_of(analysis.subjects.begin(), analysis.subjects.end(), [&](const Subject& s) {
      return models[s.model].name == model.name && s.*member != subject.*member;
    });
  };
  if (differs(&Subject::mode)) label += fmt::format(" ({})", subject.mode);
  if (differs(&Subject::model)) label += fmt::format(" {}", model.weights_sha256.substr(0, 8));
  if (differs(&Subject::backend)) label += fmt::format(" on {}", subject.backend);
  const bool same_model =
      std::any_of(analysis.subjects.begin(), analysis.subjects.end(), [&](const Subject& s) {
        return s.model == subject.model && s.mode == subject.mode && s.options != subject.options;
      });
  if (same_model) label += fmt::format(" {}", subject.options);
  return label;
}

/// Drops cells that a later sweep measured again for the same subject, task and length.
void drop_superseded(Analysis& analysis) {
  const Results& results = *analysis.results;
  using Key = std::tuple<std::size_t, std::string, std::string, std::int64_t>;
  std::map<Key, std::size_t> newest;  // sweep
  const auto key = [&](std::size_t i) {
    const CellRecord& cell = results.cells[i];
    return Key{analysis.subject_of_cell[i], cell.kind, task_label(cell), cell.context_len};
  };
  for (std::size_t i = 0; i < results.cells.size(); ++i) {
    if (results.cells[i].runs.empty()) continue;
    std::size_t& sweep = newest[key(i)];
    sweep = std::max(sweep, results.cells[i].sweep);
  }
  for (std::size_t i = 0; i < results.cells.size(); ++i) {
    const auto it = newest.find(key(i));
    if (it != newest.end() && results.cells[i].sweep != it->second) {
      ++analysis.superseded;
    } else {
      analysis.cells.push_back(i);
    }
  }
}

}  // namespace

void find_subjects(Analysis& analysis) {
  const Results& results = *analysis.results;
  std::vector<Subject>& subjects = analysis.subjects;
  const auto find = [&](const Subject& wanted) {
    return std::find_if(subjects.begin(), subjects.end(),
                        [&](const Subject& known) { return key_of(known) == key_of(wanted); });
  };
  for (const CellRecord& cell : results.cells) {
    const Subject subject = subject_of(cell);
    if (find(subject) == subjects.end()) subjects.push_back(subject);
  }
  std::sort(subjects.begin(), subjects.end(), [](const Subject& a, const Subject& b) {
    return std::tuple(a.is_baseline, key_of(a)) < std::tuple(b.is_baseline, key_of(b));
  });
  for (const CellRecord& cell : results.cells) {
    const auto at = find(subject_of(cell)) - subjects.begin();
    analysis.subject_of_cell.push_back(static_cast<std::size_t>(at));
  }
  for (Subject& subject : subjects) subject.label = label_of(analysis, subject);
  const auto baseline = std::find_if(subjects.begin(), subjects.end(),
                                     [](const Subject& s) { return s.is_baseline; });
  if (baseline != subjects.begin() && baseline != subjects.end()) {
    analysis.pair = {0, static_cast<std::size_t>(baseline - subjects.begin())};
  }
  drop_superseded(analysis);
  std::set<std::int64_t> lengths;
  for (const std::size_t i : analysis.cells) lengths.insert(results.cells[i].context_len);
  analysis.lengths.assign(lengths.begin(), lengths.end());
}

}  // namespace sala
