// sala tasks: the tasks, their samples as text, and scores of predictions made elsewhere.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/cli/options.h"
#include "harness/plan/sizes.h"
#include "harness/scorer.h"
#include "harness/task.h"
#include "tasks/ruler/jsonl.h"

namespace sala {
namespace {

using Json = nlohmann::ordered_json;

struct EmitFlags {
  std::string task;
  std::string length;
  std::int64_t samples = 1;
  std::uint64_t seed = 42;
  std::string tokenizer;
  std::string mode = "strict";
  std::string chat_template = "base";
  std::vector<std::string> data;
  std::string format = "ruler-jsonl";
};

struct ListFlags {
  std::vector<std::string> data;
  bool json = false;
};

struct ScoreFlags {
  std::string task;
  std::string predictions;
  bool json = false;
};

void print_line(const std::string& line) {
  fmt::print("{}\n", line);
  if (std::ferror(stdout) != 0) throw Error("standard output", "cannot be written");
}

std::vector<std::string> standins_of(const Task& task, const TaskOptions& options) {
  std::vector<std::string> names;
  for (const TaskSource& source : task.sources(options)) {
    if (source.standin) names.push_back(source.name);
  }
  return names;
}

/// What a strict prompt would be made of: original, standin, missing, or - for no data at all.
std::string data_label(const Task& task, const std::vector<std::string>& data) {
  const TaskOptions options{.length = 4096, .data = data};
  if (data.empty() && !task.info().needs_data.empty()) return "missing";
  try {
    if (!standins_of(task, options).empty()) return "standin";
    return task.sources(options).empty() ? "-" : "original";
  } catch (const Error&) {
    return "missing";
  }
}

int list_tasks(const ListFlags& flags) {
  Json rows = Json::array();
  for (const std::string& name : task_names()) {
    const auto task = make_task(name);
    const TaskInfo& info = task->info();
    rows.push_back({{"name", info.name},
                    {"version", info.version},
                    {"scorer", info.scorer},
                    {"data", data_label(*task, flags.data)},
                    {"summary", info.summary},
                    {"source", info.source}});
  }
  if (flags.json) {
    print_line(rows.dump(2));
    return 0;
  }
  constexpr const char* kRow = "{:<31} {:>7}  {:<28} {:<8} {}";
  print_line(fmt::format(kRow, "task", "version", "scorer", "data", "summary"));
  for (const Json& row : rows) {
    print_line(fmt::format(kRow, row["name"].get<std::string>(), row["version"].get<int>(),
                           row["scorer"].get<std::string>(), row["data"].get<std::string>(),
                           row["summary"].get<std::string>()));
  }
  return 0;
}

std::string text_block(const Sample& sample) {
  std::string head = fmt::format("=== sample {}: {} prompt tokens, {} to generate", sample.index,
                                 sample.prompt_ids.size(), sample.max_new_tokens);
  if (sample.depth_pct) head += fmt::format(", depth {:.1f} %", *sample.depth_pct);
  for (const std::string& reference : sample.references) head += ", expects " + reference;
  return head + "\n" + sample.prompt;
}

int emit(const EmitFlags& flags) {
  if (flags.samples < 1) throw Error("--samples", "{} is not a positive number", flags.samples);
  const auto task = make_task(flags.task);
  const auto tokenizer = flags.tokenizer == "whitespace"
                             ? make_whitespace_tokenizer()
                             : load_tokenizer(resolve_model(flags.tokenizer));
  const TaskOptions options{.length = parse_size(flags.length),
                            .seed = flags.seed,
                            .data = flags.data,
                            .mode = flags.mode,
                            .chat_template = flags.chat_template};
  if (const auto standins = standins_of(*task, options); !standins.empty()) {
    fmt::print(stderr, "note: label standin, not comparable with published scores: {}\n",
               fmt::join(standins, ", "));
  }
  const auto line_of = [&](std::int64_t i) {
    const Sample sample = task->make(options, i, *tokenizer);
    return flags.format == "text" ? text_block(sample)
                                  : ruler_jsonl(sample, task->info(), options, *tokenizer);
  };
  // As many at once as there are cores, printed in order; no more than those are in memory.
  const std::int64_t n_at_once = std::max(1U, std::thread::hardware_concurrency());
  for (std::int64_t i = 0; i < flags.samples; i += n_at_once) {
    std::vector<std::future<std::string>> lines;
    for (std::int64_t j = i; j < std::min(i + n_at_once, flags.samples); ++j) {
      lines.push_back(std::async(std::launch::async, line_of, j));
    }
    for (auto& line : lines) print_line(line.get());
  }
  return 0;
}

struct Prediction {
  std::int64_t index;
  std::vector<std::string> references;
  std::string text;
};

std::vector<Prediction> read_predictions(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path, "cannot be opened; expected a JSON lines file of predictions");
  std::vector<Prediction> predictions;
  std::int64_t number = 0;
  for (std::string text; std::getline(file, text);) {
    ++number;
    if (text.empty()) continue;
    try {
      const Json line = Json::parse(text);
      predictions.push_back({line.value("index", number - 1),
                             line.at("outputs").get<std::vector<std::string>>(),
                             line.at("pred").get<std::string>()});
    } catch (const Json::exception& error) {
      throw Error(path, "line {} is no prediction: {}; expected {}", number, error.what(),
                  R"({"index": 0, "outputs": ["..."], "pred": "..."})");
    }
  }
  if (predictions.empty()) throw Error(path, "holds no predictions; an empty task has no score");
  return predictions;
}

/// Percent with two decimals, rounded as Python's round() does.
double percent(double share) {
  return std::strtod(fmt::format("{:.2f}", share * 100).c_str(), nullptr);
}

int score(const ScoreFlags& flags) {
  const Scorer& scorer = find_scorer(make_task(flags.task)->info().scorer);
  double total = 0;
  Json samples = Json::array();
  const std::vector<Prediction> predictions = read_predictions(flags.predictions);
  for (const Prediction& prediction : predictions) {
    const Score scored = scorer.score(prediction.references, {prediction.text, false, {}});
    total += scored.value;
    samples.push_back({{"index", prediction.index}, {"score", percent(scored.value)}});
    if (!scored.error_class.empty()) samples.back()["error_class"] = scored.error_class;
  }
  const double mean = percent(total / static_cast<double>(predictions.size()));
  if (flags.json) {
    print_line(Json{{"score", mean}, {"samples", samples}}.dump());
  } else {
    print_line(fmt::format("{}: {:.2f} ({} samples, scorer {})", flags.task, mean,
                           predictions.size(), scorer.name));
  }
  return 0;
}

}  // namespace

Action setup_tasks(CLI::App& app) {
  app.require_subcommand(1);
  const auto list_flags = std::make_shared<ListFlags>();
  CLI::App* list = app.add_subcommand("list", "The tasks, their versions and scorers");
  list->add_option("--data", list_flags->data, "Say of these folders what they have of the tasks");
  list->add_flag("--json", list_flags->json, "Machine-readable output");

  const auto emit_flags = std::make_shared<EmitFlags>();
  CLI::App* emitted = app.add_subcommand("emit", "Samples of a task, one a line");
  emitted->add_option("--task", emit_flags->task, "Name as `sala tasks list` prints it")
      ->required();
  emitted
      ->add_option("--length", emit_flags->length,
                   "Limit in tokens for prompt and answer together, e.g. 4k")
      ->required();
  emitted->add_option("--samples", emit_flags->samples, "How many")->capture_default_str();
  emitted->add_option("--seed", emit_flags->seed, "Seed of all draws")->capture_default_str();
  emitted
      ->add_option("--tokenizer", emit_flags->tokenizer,
                   "Model folder, a name under data/models, or whitespace")
      ->required();
  emitted
      ->add_option("--mode", emit_flags->mode,
                   "strict, or official: the published code's prompts, mistakes included")
      ->check(CLI::IsMember({"strict", "official"}))
      ->capture_default_str();
  emitted
      ->add_option("--chat-template", emit_flags->chat_template,
                   "Name such as meta-llama3, or a text with {task_template}")
      ->capture_default_str();
  emitted->add_option("--data", emit_flags->data,
                      "Folder of benchmark data (docs/ruler.md), or a text file to hide needles "
                      "in; may be given several times, the first that has a file wins");
  emitted->add_option("--format", emit_flags->format, "ruler-jsonl or text")
      ->check(CLI::IsMember({"ruler-jsonl", "text"}))
      ->capture_default_str();

  const auto score_flags = std::make_shared<ScoreFlags>();
  CLI::App* scored = app.add_subcommand("score", "Score predictions made by any engine");
  scored->add_option("--task", score_flags->task, "Name as `sala tasks list` prints it")
      ->required();
  scored
      ->add_option("--predictions", score_flags->predictions,
                   "JSON lines with index, outputs and pred")
      ->required();
  scored->add_flag("--json", score_flags->json, "Machine-readable output");

  return [=] {
    if (list->parsed()) return list_tasks(*list_flags);
    if (emitted->parsed()) return emit(*emit_flags);
    return score(*score_flags);
  };
}

}  // namespace sala
