// Reads suite files.
// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/suite.h"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <limits>

#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "harness/plan/sizes.h"

namespace sala {
namespace {

void refuse_unknown_keys(const toml::table& table, std::initializer_list<std::string_view> known,
                         std::string_view where) {
  for (const auto& [key, value] : table) {
    if (std::find(known.begin(), known.end(), key.str()) == known.end()) {
      throw Error(where, "line {}: unknown key '{}', expected one of: {}",
                  value.source().begin.line, key.str(), fmt::join(known, ", "));
    }
  }
}

template <typename T>
T value_of(const toml::table& table, std::string_view key, const char* expected,
           std::string_view where) {
  const toml::node* node = table.get(key);
  if (node == nullptr) throw Error(where, "'{}' is missing, expected {}", key, expected);
  const auto value = node->value_exact<T>();
  if (!value) {
    throw Error(where, "line {}: '{}' has the wrong type, expected {}", node->source().begin.line,
                key, expected);
  }
  return *value;
}

std::int64_t positive(const toml::table& table, std::string_view key, std::string_view where) {
  const auto value = value_of<std::int64_t>(table, key, "a whole number from 1", where);
  if (value < 1) throw Error(where, "'{}' is {}, expected a whole number from 1", key, value);
  return value;
}

void check_mode(std::string_view mode, std::string_view where) {
  if (mode == "strict" || mode == "official") return;
  throw Error(where, "'mode' is '{}', expected strict or official", mode);
}

/// One path or several.
std::vector<std::string> data_of(const toml::table& table, std::string_view where) {
  const toml::array* paths = table["data"].as_array();
  if (paths == nullptr) return {value_of<std::string>(table, "data", "a path or a list", where)};
  std::vector<std::string> data;
  for (const toml::node& node : *paths) {
    const auto path = node.value_exact<std::string>();
    if (!path) {
      throw Error(where, "line {}: 'data' holds something else than paths",
                  node.source().begin.line);
    }
    data.push_back(*path);
  }
  return data;
}

void append_cells(const toml::table& group, std::string_view where, Suite& suite) {
  refuse_unknown_keys(group, {"tasks", "lengths", "samples"}, where);
  const std::int64_t samples = positive(group, "samples", where);
  const auto lengths =
      parse_sizes(value_of<std::string>(group, "lengths", "a text such as \"1k,4k\"", where));
  const toml::array* tasks = group["tasks"].as_array();
  if (tasks == nullptr || tasks->empty() || !tasks->is_homogeneous(toml::node_type::string)) {
    throw Error(where, "'tasks' of a [[cells]] group is missing or no list of names");
  }
  for (const std::int64_t length : lengths) {
    for (const toml::node& node : *tasks) {
      const std::string task = node.value_or(std::string());
      const auto same = [&](const SuiteCell& cell) {
        return cell.task == task && cell.length == length;
      };
      if (std::any_of(suite.cells.begin(), suite.cells.end(), same)) {
        throw Error(where, "line {}: task '{}' at {} is there twice, expected once",
                    node.source().begin.line, task, format_size(length));
      }
      suite.cells.push_back({.task = task, .length = length, .samples = samples});
    }
  }
}

bool has_length(const std::vector<SuiteCell>& cells, std::int64_t length) {
  return std::any_of(cells.begin(), cells.end(),
                     [&](const SuiteCell& cell) { return cell.length == length; });
}

/// Cells of one task, else those of the suite's first task.
std::vector<SuiteCell> cells_like(const Suite& suite, const std::string& task) {
  const auto cells_of = [&](const std::string& name) {
    std::vector<SuiteCell> cells;
    for (const SuiteCell& cell : suite.cells) {
      if (cell.task == name) cells.push_back(cell);
    }
    return cells;
  };
  std::vector<SuiteCell> cells = cells_of(task);
  if (cells.empty()) cells = cells_of(suite.cells.front().task);
  return cells;
}

std::int64_t samples_at(const std::vector<SuiteCell>& cells, std::int64_t length) {
  const SuiteCell* below = nullptr;
  const SuiteCell* shortest = &cells.front();
  for (const SuiteCell& cell : cells) {
    if (cell.length <= length && (below == nullptr || cell.length > below->length)) below = &cell;
    if (cell.length < shortest->length) shortest = &cell;
  }
  return below != nullptr ? below->samples : shortest->samples;
}

}  // namespace

Suite parse_suite(std::string_view text, std::string_view where) {
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    throw Error(where, "line {}: {}; expected a TOML file", error.source().begin.line,
                error.description());
  }
  refuse_unknown_keys(
      table, {"name", "kind", "seed", "mode", "data", "chat_template", "new_tokens", "cells"},
      where);
  Suite suite;
  suite.name = value_of<std::string>(table, "name", "a text", where);
  if (table.contains("kind")) suite.kind = value_of<std::string>(table, "kind", "a text", where);
  if (suite.kind != "accuracy" && suite.kind != "perf") {
    throw Error(where, "'kind' is '{}', expected accuracy or perf", suite.kind);
  }
  if (table.contains("seed")) {
    const auto seed = value_of<std::int64_t>(table, "seed", "a whole number from 0", where);
    if (seed < 0) throw Error(where, "'seed' is {}, expected a whole number from 0", seed);
    suite.seed = static_cast<std::uint64_t>(seed);
  }
  if (table.contains("mode")) suite.mode = value_of<std::string>(table, "mode", "a text", where);
  check_mode(suite.mode, where);
  if (table.contains("data")) suite.data = data_of(table, where);
  if (table.contains("chat_template")) {
    suite.chat_template = value_of<std::string>(table, "chat_template", "a text", where);
  }
  const bool is_perf = suite.kind == "perf";
  if (is_perf) suite.new_tokens = positive(table, "new_tokens", where);
  if (!is_perf && table.contains("new_tokens")) {
    throw Error(where, "'new_tokens' is for kind = \"perf\"; a task says how long its answer is");
  }
  const toml::array* groups = table["cells"].as_array();
  if (groups == nullptr || groups->empty() || !groups->is_array_of_tables()) {
    throw Error(where,
                "has no [[cells]] group, expected tasks, lengths and samples in one or more");
  }
  for (const toml::node& group : *groups) append_cells(*group.as_table(), where, suite);
  return suite;
}

Suite load_suite(std::string_view name) {
  if (name.ends_with(".toml")) return parse_suite(read_text_file(name), name);
  const auto folder = data_dir() / "suites";
  const auto path = folder / (std::string(name) + ".toml");
  if (!std::filesystem::exists(path)) {
    std::vector<std::string> known;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".toml") known.push_back(entry.path().stem().string());
    }
    std::sort(known.begin(), known.end());
    throw Error("--suite", "there is no suite '{}'; try one of {} or a file ending in .toml", name,
                fmt::join(known, ", "));
  }
  return parse_suite(read_text_file(path), path.string());
}

std::string choose_chat_template(const std::string& asked, const EngineInfo& model) {
  if (asked != "auto") return asked;
  if (!model.chat_template.empty()) return model.chat_template;
  throw Error(
      "--chat-template",
      "{} brings a chat template that is none of the known ones; give its name, a text with "
      "{{task_template}}, or base for none",
      model.name);
}

TaskOptions task_options(const Suite& suite, const EngineInfo& model, std::int64_t length) {
  return {.length = length,
          .seed = suite.seed,
          .data = suite.data,
          .mode = suite.mode,
          .chat_template = choose_chat_template(suite.chat_template, model)};
}

std::int64_t token_limit(const Suite& suite, std::int64_t length) {
  return suite.mode == "official" ? length + 1 : length;
}

std::int64_t minimum_repetitions(std::int64_t length) {
  if (length <= 128 << 10) return 5;
  return length <= 512 << 10 ? 3 : 1;
}

void override_suite(Suite& suite, const SuiteOverrides& overrides) {
  if (!overrides.mode.empty()) {
    check_mode(overrides.mode, "--mode");
    suite.mode = overrides.mode;
  }
  if (!overrides.data.empty()) suite.data = overrides.data;
  if (!overrides.chat_template.empty()) suite.chat_template = overrides.chat_template;
  if (overrides.seed) suite.seed = *overrides.seed;
  if (overrides.samples && *overrides.samples < 1) {
    throw Error("--samples", "is {}, expected a whole number from 1", *overrides.samples);
  }
  if (suite.seed > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    throw Error("--seed", "is {}, expected at most 2^63 - 1", suite.seed);
  }
  std::vector<std::string> tasks = overrides.tasks;
  if (tasks.empty()) {
    for (const SuiteCell& cell : suite.cells) {
      if (std::find(tasks.begin(), tasks.end(), cell.task) == tasks.end()) {
        tasks.push_back(cell.task);
      }
    }
  }
  std::vector<SuiteCell> cells;
  for (const std::string& task : tasks) {
    const std::vector<SuiteCell> like = cells_like(suite, task);
    std::vector<std::int64_t> lengths = overrides.lengths;
    if (lengths.empty()) {
      for (const SuiteCell& cell : like) lengths.push_back(cell.length);
    }
    for (const std::int64_t length : lengths) {
      std::int64_t samples = samples_at(like, length);
      if (suite.kind == "perf" && !has_length(like, length)) {
        samples = std::min(samples, minimum_repetitions(length));
      }
      cells.push_back(
          {.task = task, .length = length, .samples = overrides.samples.value_or(samples)});
    }
  }
  suite.cells = std::move(cells);
}

}  // namespace sala
