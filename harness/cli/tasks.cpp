// sala tasks: what tasks there are, their samples as text, and scores of predictions made
// elsewhere. SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/cli/options.h"
#include "harness/plan/sizes.h"
#include "harness/scorer.h"
#include "harness/task.h"

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
  std::string data;
  std::string format = "ruler-jsonl";
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

int list_tasks(bool as_json) {
  Json rows = Json::array();
  for (const std::string& name : task_names()) {
    const auto task = make_task(name);
    const TaskInfo& info = task->info();
    rows.push_back({{"name", info.name},
                    {"version", info.version},
                    {"scorer", info.scorer},
                    {"summary", info.summary},
                    {"source", info.source}});
  }
  if (as_json) {
    print_line(rows.dump(2));
    return 0;
  }
  print_line(fmt::format("{:<16} {:>7}  {:<10}  {}", "task", "version", "scorer", "summary"));
  for (const Json& row : rows) {
    print_line(fmt::format("{:<16} {:>7}  {:<10}  {}", row["name"].get<std::string>(),
                           row["version"].get<int>(), row["scorer"].get<std::string>(),
                           row["summary"].get<std::string>()));
  }
  return 0;
}

/// JSON as Python's json.dumps writes it: ASCII, a space after each comma and colon.
std::string python_json(const Json& value) {
  if (!value.is_structured()) return value.dump(-1, ' ', true);
  std::string out;
  for (const auto& [key, item] : value.items()) {
    if (!out.empty()) out += ", ";
    if (value.is_object()) out += Json(key).dump(-1, ' ', true) + ": ";
    out += python_json(item);
  }
  return value.is_object() ? "{" + out + "}" : "[" + out + "]";
}

/// A line of a RULER data set; `input` is the prompt without its answer prefix.
std::string ruler_line(const Sample& sample, const Tokenizer& tokenizer) {
  const std::string input =
      sample.prompt.substr(0, sample.prompt.size() - sample.answer_prefix.size());
  const auto length = static_cast<std::int64_t>(sample.prompt_ids.size()) + sample.max_new_tokens;
  Json line{{"index", sample.index},         {"input", input},
            {"outputs", sample.references},  {"length", length},
            {"length_w_model_temp", length}, {"answer_prefix", sample.answer_prefix}};
  if (!sample.needles.empty()) {
    const std::size_t at = input.find(sample.references.front());
    line["token_position_answer"] = tokenizer.count(std::string_view(input).substr(0, at));
  }
  return python_json(line);
}

std::string text_block(const Sample& sample) {
  std::string head = fmt::format("=== sample {}: {} prompt tokens, {} to generate", sample.index,
                                 sample.prompt_ids.size(), sample.max_new_tokens);
  if (sample.depth_pct) head += fmt::format(", depth {:.1f} %", *sample.depth_pct);
  for (const std::string& reference : sample.references) head += ", expects " + reference;
  return head + "\n" + sample.prompt;
}

int emit(const EmitFlags& flags) {
  if (flags.mode != "strict") {
    throw Error("--mode", "'{}' is not available, the only mode is strict", flags.mode);
  }
  if (flags.samples < 1) throw Error("--samples", "{} is not a positive number", flags.samples);
  const auto task = make_task(flags.task);
  const auto tokenizer = flags.tokenizer == "whitespace"
                             ? make_whitespace_tokenizer()
                             : load_tokenizer(resolve_model(flags.tokenizer));
  const TaskOptions options{parse_size(flags.length), flags.seed, flags.data};
  for (std::int64_t i = 0; i < flags.samples; ++i) {
    const Sample sample = task->make(options, i, *tokenizer);
    print_line(flags.format == "text" ? text_block(sample) : ruler_line(sample, *tokenizer));
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
  const auto list_json = std::make_shared<bool>(false);
  CLI::App* list = app.add_subcommand("list", "The tasks, their versions and scorers");
  list->add_flag("--json", *list_json, "Machine-readable output");

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
  emitted->add_option("--mode", emit_flags->mode, "strict")->capture_default_str();
  emitted->add_option("--data", emit_flags->data,
                      "Text file or folder for the haystack; the built-in prose without it");
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
    if (list->parsed()) return list_tasks(*list_json);
    if (emitted->parsed()) return emit(*emit_flags);
    return score(*score_flags);
  };
}

}  // namespace sala
