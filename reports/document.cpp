// Puts a report together: title, verdict, and the sections on failures, routes and reproduction.
// SPDX-License-Identifier: Apache-2.0
#include "reports/document.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "reports/format.h"

namespace sala {
namespace {

std::string badge_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::better:
      return "accuracy \u25B2 better";
    case Verdict::worse:
      return "accuracy \u25BC worse";
    case Verdict::same:
      return "accuracy = same";
    case Verdict::undecided:
      return "accuracy ? undecided";
    case Verdict::none:
      break;
  }
  return "";
}

/// Attempts of the reported cells.
template <typename Visit>
void for_each_run(const Analysis& analysis, Visit visit) {
  for (const std::size_t i : analysis.cells) {
    for (const RunRecord& run : analysis.results->cells[i].runs) visit(i, run);
  }
}

/// "hybrid against full" for a pair.
std::string modes_of(const Analysis& analysis) {
  if (!analysis.pair) return "";
  const auto name = [&](std::size_t subject) {
    const std::string& mode = analysis.subjects[subject].mode;
    return mode == "full" || mode == "dense" ? mode + " attention" : mode;
  };
  return fmt::format("{} against {} \u00b7 ", name(analysis.pair->first),
                     name(analysis.pair->second));
}

std::string subtitle_of(const Analysis& analysis) {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::set<std::string> machines;
  for_each_run(analysis, [&](std::size_t, const RunRecord& run) {
    first = first == 0 ? run.started_us : std::min(first, run.started_us);
    last = std::max(last, run.started_us);
    machines.insert(analysis.results->environments[run.environment].cpu_model);
  });
  if (machines.empty()) return "Nothing was run yet.";
  for (const Subject& subject : analysis.subjects) {
    if (!subject.device.empty()) machines.insert(subject.device);
  }
  std::set<std::string> sweeps;
  for (const std::size_t i : analysis.cells) {
    sweeps.insert(analysis.results->sweeps[analysis.results->cells[i].sweep].name);
  }
  const std::string range =
      analysis.lengths.front() == analysis.lengths.back()
          ? length_text(analysis.lengths.front())
          : length_text(analysis.lengths.front()) + "\u2013" + length_text(analysis.lengths.back());
  return fmt::format("{}suite {} \u00b7 {} tokens \u00b7 {} \u00b7 {}", modes_of(analysis),
                     fmt::join(sweeps, ", "), range, fmt::join(machines, ", "),
                     utc_text(first) == utc_text(last) ? utc_text(first)
                                                       : utc_text(first) + " to " + utc_text(last));
}

/// Nested JSON as "a.b" -> text rows; a long list of objects as their number.
void flatten(const nlohmann::json& value, const std::string& prefix, Table& table) {
  const bool of_objects = value.is_array() && !value.empty() && value.front().is_object();
  if (of_objects && value.size() > 4) {
    table.rows.push_back({prefix, fmt::format("{} entries", value.size())});
  } else if (value.is_object() || of_objects) {
    int i = 0;
    for (const auto& [key, item] : value.items()) {
      const std::string name = of_objects ? std::to_string(++i) : key;
      flatten(item, prefix.empty() ? name : fmt::format("{}.{}", prefix, name), table);
    }
  } else {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    table.rows.push_back({prefix, text.empty() ? "\u2014" : plain_text(text, 400)});
  }
}

std::string pattern_text(const ModelRecord& model) {
  std::map<std::string, int> counts;
  for (const std::string& kind : model.layer_pattern) ++counts[kind];
  std::string text;
  for (const auto& [kind, count] : counts) {
    text += fmt::format("{}{}\u00d7{}", text.empty() ? "" : ", ", count, kind);
  }
  return text;
}

}  // namespace

Section failures_section(const Analysis& analysis) {
  Section section{"failures", "Failures and typed results", {}, {}, {}, {}};
  if (analysis.failures.empty()) {
    section.paragraphs.emplace_back("None: every planned cell finished.");
  } else {
    section.paragraphs.emplace_back(
        "Cells without a full score. Running out of memory is a result: it is stored with what was "
        "asked for and what was free.");
    Table table;
    table.caption = "Cells that did not finish";
    table.columns = {{"subject", false}, {"task", false},     {"length", true},
                     {"status", false},  {"attempts", true},  {"samples", true},
                     {"needed", true},   {"available", true}, {"reason", false}};
    for (const std::size_t i : analysis.failures) {
      const CellRecord& cell = analysis.results->cells[i];
      const RunRecord* run = cell.runs.empty() ? nullptr : &cell.runs.back();
      const OomRecord* oom = run != nullptr && run->oom ? &*run->oom : nullptr;
      const auto bytes = [](std::int64_t n) { return bytes_text(static_cast<double>(n)); };
      table.rows.push_back(
          {analysis.subjects[analysis.subject_of_cell[i]].label, cell.task,
           length_text(cell.context_len),
           cell.status + (oom != nullptr && oom->predicted ? " (predicted)" : ""),
           fmt::format("{}", cell.runs.size()), fmt::format("{}", cell.answers.size()),
           oom == nullptr ? ""
                          : fmt::format("{} for {}", bytes(oom->requested_bytes), oom->category),
           oom == nullptr || !oom->free_bytes ? "" : bytes(*oom->free_bytes),
           run == nullptr ? "not started" : plain_text(run->reason, 200)});
    }
    section.tables.push_back(std::move(table));
  }
  if (analysis.superseded > 0) {
    section.paragraphs.push_back(
        fmt::format("{} cells of earlier runs were measured again later and are left out; name a "
                    "run with --run to see it.",
                    analysis.superseded));
  }
  return section;
}

Section routes_section(const Analysis& analysis) {
  Section section{"routes", "Proof of activity", {}, {}, {}, {}};
  Table table;
  table.caption = "Paths that the layers really took, counted where the work is launched";
  table.columns = {
      {"subject", false}, {"length", true}, {"phase", false}, {"path", false},
      {"kernel", false},  {"layers", true}, {"calls", true},  {"blocks read of visible", true}};
  table.folded = true;
  for (std::size_t s = 0; s < analysis.subjects.size(); ++s) {
    std::set<std::string> paths;
    for (const SpeedRow& row : analysis.speed) {
      if (row.subject != s) continue;
      for (const RouteRecord& route : row.routes) {
        paths.insert(route.path);
        table.rows.push_back(
            {analysis.subjects[s].label, length_text(row.length), route.phase, route.path,
             route.kernel, fmt::format("{}", route.n_layers), fmt::format("{}", route.n_calls),
             route.blocks_visible == 0 ? "\u2014"
                                       : percent_text(static_cast<double>(route.blocks_read) /
                                                      static_cast<double>(route.blocks_visible)) +
                                             " %"});
      }
    }
    if (paths.empty()) continue;
    section.paragraphs.push_back(fmt::format("{} ran on these paths: {}.",
                                             analysis.subjects[s].label, fmt::join(paths, ", ")));
  }
  if (!table.rows.empty()) section.tables.push_back(std::move(table));
  return section;
}

Section environment_section(const Analysis& analysis) {
  Section section{"environment", "Models and environment", {}, {}, {}, {}};
  Table models;
  models.caption = "Models";
  models.columns = {{"subject", false}, {"mode", false},     {"dtype", false},
                    {"layers", false},  {"backend", false},  {"options", false},
                    {"weights", false}, {"tokenizer", false}};
  for (const Subject& subject : analysis.subjects) {
    const ModelRecord& model = analysis.results->models[subject.model];
    const std::string device = subject.device.empty() ? "" : ", " + subject.device;
    models.rows.push_back({subject.label, subject.mode, model.dtype, pattern_text(model),
                           subject.backend + device, subject.options,
                           model.weights_sha256.substr(0, 16),
                           model.tokenizer_sha256.substr(0, 16)});
  }
  section.tables.push_back(std::move(models));
  std::set<std::size_t> used;
  for_each_run(analysis, [&](std::size_t, const RunRecord& run) { used.insert(run.environment); });
  if (used.size() > 1) {
    section.paragraphs.push_back(fmt::format(
        "Results come from {} different environments: times of one must not be compared "
        "with times of another.",
        used.size()));
  }
  for (const std::size_t i : used) {
    const EnvironmentRecord& env = analysis.results->environments[i];
    section.paragraphs.push_back(
        fmt::format("Measured on {} ({} cores, {} of memory) under {}, by sala {} of commit {}{}, "
                    "built with {}.",
                    env.cpu_model, env.n_cores, bytes_text(static_cast<double>(env.ram_bytes)),
                    env.os, env.version, env.git_commit.substr(0, 12),
                    env.git_dirty ? " with uncommitted changes" : "", env.compiler));
    Table table;
    table.caption = fmt::format("Environment {}", env.env_hash.substr(0, 12));
    table.columns = {{"what", false}, {"value", false}};
    table.rows = {{"sala", fmt::format("{} ({}{})", env.version, env.git_commit.substr(0, 12),
                                       env.git_dirty ? ", with uncommitted changes" : "")},
                  {"compiler", env.compiler + " " + env.flags},
                  {"processor", fmt::format("{}, {} cores", env.cpu_model, env.n_cores)},
                  {"memory", bytes_text(static_cast<double>(env.ram_bytes))},
                  {"system", env.os + ", kernel " + env.kernel},
                  {"host", env.hostname}};
    flatten(nlohmann::json::parse(env.info), "", table);
    table.folded = true;
    section.tables.push_back(std::move(table));
  }
  return section;
}

Section reproduce_section(const Analysis& analysis) {
  Section section{"reproduce", "How to reproduce", {}, {}, {}, {}};
  section.paragraphs.emplace_back(
      "The commands that made these results, in order. sala run again resumes what is missing; "
      "another database file (--db) measures everything anew.");
  std::set<std::string> known;
  for_each_run(analysis, [&](std::size_t, const RunRecord& run) {
    std::string line;
    for (const std::string& argument : run.argv) {
      line += fmt::format("{}{}", line.empty() ? "" : " ", shell_quote(plain_text(argument)));
    }
    if (known.insert(line).second) section.commands.push_back(line);
  });
  std::set<std::size_t> sweeps;
  for (const std::size_t i : analysis.cells) sweeps.insert(analysis.results->cells[i].sweep);
  for (const std::size_t i : sweeps) {
    const SweepRecord& sweep = analysis.results->sweeps[i];
    Table table;
    table.caption = fmt::format("Specification of run {} ({})", sweep.uid, sweep.name);
    table.columns = {{"key", false}, {"value", false}};
    flatten(nlohmann::json::parse(sweep.spec), "", table);
    table.folded = true;
    section.tables.push_back(std::move(table));
  }
  return section;
}

Document make_document(const Analysis& analysis) {
  Document document;
  document.title = "sala: long-context evaluation";
  if (analysis.pair) {
    document.title = fmt::format("{} against {}", analysis.subjects[analysis.pair->first].label,
                                 analysis.subjects[analysis.pair->second].label);
  } else if (analysis.subjects.size() == 1) {
    document.title = analysis.subjects.front().label;
  }
  document.subtitle = subtitle_of(analysis);
  for (const Subject& subject : analysis.subjects) document.subjects.push_back(subject.label);
  document.badge = badge_of(analysis.verdict);
  const auto& answered = analysis.overall_answered.paired;
  if (answered && verdict_of(*answered) != analysis.verdict) {
    document.badge += ", counting prompts that could not run";
  }
  document.verdict = analysis.verdict_sentences;
  for (Section (*make)(const Analysis&) :
       {needle_section, lengths_section, accuracy_section, perplexity_section, speed_section,
        latency_section, stages_section, roofline_section, kernels_section, profile_section,
        memory_section, fidelity_section, pareto_section, sensors_section, history_section,
        failures_section, routes_section, environment_section, reproduce_section}) {
    Section section = make(analysis);
    if (section.paragraphs.empty() && section.tables.empty()) continue;
    document.sections.push_back(std::move(section));
  }
  return document;
}

}  // namespace sala
