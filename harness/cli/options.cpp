// Reads the options that several commands share.
// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/options.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/text/chat_formats.h"
#include "harness/plan/sizes.h"
#include "harness/plan/suite.h"
#include "tasks/chat_template.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

std::uint64_t parse_random_seed(const std::string& weights) {
  std::uint64_t seed = 0;
  if (weights == "random") return seed;
  const std::string prefix = "random:";
  const char* end = weights.data() + weights.size();
  if (weights.starts_with(prefix)) {
    const auto [stop, error] = std::from_chars(weights.data() + prefix.size(), end, seed);
    if (error == std::errc() && stop == end) return seed;
  }
  throw Error("--weights", "'{}' is not random or random:SEED with a whole number as SEED",
              weights);
}

}  // namespace

void EngineFlags::declare(CLI::App& app) {
  app.add_option("--device", device, "auto, cpu, cuda or cuda:I")->capture_default_str();
  app.add_option("--chunk", chunk, "Tokens per prefill chunk, a multiple of 64");
  app.add_option("--weights", weights, "random[:SEED]: random numbers instead of weight files");
  app.add_option("--memory-limit", memory_limit, "Refuse what would need more bytes, e.g. 16G");
  app.add_option("--threads", threads, "CPU threads; 0 = all cores")->capture_default_str();
  app.add_option("--set", settings,
                 "KEY=VALUE of an engine option: dense_rule, dense_len, sparse, lse, select_score, "
                 "rope_angle, logits_round; may be repeated")
      ->take_all();
}

EngineOptions EngineFlags::options(const std::string& model, const std::string& attention) const {
  EngineOptions options;
  options.model = resolve_model(model);
  options.device = device;
  options.attention = attention;
  options.threads = threads;
  if (!chunk.empty()) options.chunk = parse_size(chunk);
  if (!weights.empty()) options.random_seed = parse_random_seed(weights);
  if (!memory_limit.empty()) options.memory_limit_bytes = parse_size(memory_limit);
  for (const std::string& setting : settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos) {
      throw Error("--set", "'{}' is not KEY=VALUE; e.g. --set dense_rule=row", setting);
    }
    const std::string key = setting.substr(0, equals);
    if (!options.settings.emplace(key, setting.substr(equals + 1)).second) {
      throw Error("--set", "'{}' is given twice", key);
    }
  }
  return options;
}

void ModelFlags::declare(CLI::App& app) {
  app.add_option("--model", model, "Model folder, or a name under data/models or data/configs")
      ->required();
  app.add_option("--attention", attention,
                 "model, or dense: every sparse layer as full softmax attention")
      ->capture_default_str();
  EngineFlags::declare(app);
}

void PromptFlags::declare(CLI::App& app, bool with_text) {
  CLI::Option_group* group = app.add_option_group("prompt", "What the model reads");
  group->add_option("--tokens", tokens_file, "File with a JSON array of token ids");
  group->add_option("--prompt", prompt_file, "Text file");
  if (with_text) group->add_option("--text", text, "The text itself");
  group->require_option(1);
  if (!with_text) return;
  chat_template = "auto";
  app.add_option("--chat-template", chat_template, kChatTemplateHelp)->capture_default_str();
}

std::vector<TokenId> PromptFlags::read(const Engine& engine) const {
  if (!tokens_file.empty()) return parse_token_ids(read_text_file(tokens_file), tokens_file);
  const std::string prompt = prompt_file.empty() ? text : read_text_file(prompt_file);
  if (prompt.empty()) {
    throw Error(prompt_file.empty() ? "--text" : prompt_file, "is empty; give a text to read");
  }
  const Tokenizer& tokenizer = engine.tokenizer();
  const std::string chat = choose_chat_template(chat_template, engine.info());
  std::vector<TokenId> ids =
      tokenizer.encode(fill(chat_template_text(chat), {{"task_template", prompt}})).ids;
  // A template may spell the BOS out.
  const auto bos = tokenizer.bos();
  if (bos && (ids.empty() || ids.front() != *bos)) ids.insert(ids.begin(), *bos);
  return ids;
}

fs::path resolve_model(const std::string& name) {
  std::error_code ignored;
  if (fs::is_directory(name, ignored)) return name;
  const fs::path data = data_dir();
  std::set<std::string> known;
  for (const char* folder : {"models", "configs"}) {
    if (!fs::is_directory(data / folder)) continue;
    for (const auto& entry : fs::directory_iterator(data / folder)) {
      if (!fs::exists(entry.path() / "config.json")) continue;
      if (entry.path().filename() == name) return entry.path();
      known.insert(entry.path().filename().string());
    }
  }
  throw Error("model", "'{}' is neither a folder nor a known name; there are {}", name,
              fmt::join(known, ", "));
}

std::vector<TokenId> parse_token_ids(const std::string& json, const std::string& source) {
  try {
    const auto parsed = nlohmann::json::parse(json);
    bool ok = parsed.is_array();
    std::vector<TokenId> ids;
    for (const auto& id : parsed) {
      if (!ok) break;
      ok = id.is_number_integer() && id >= 0 && id <= std::numeric_limits<TokenId>::max();
      if (ok) ids.push_back(id.get<TokenId>());
    }
    if (ok) return ids;
  } catch (const nlohmann::json::exception& error) {
    throw Error(source, "is not valid JSON: {}", error.what());
  }
  throw Error(source, "is not a JSON array of token ids, such as [1, 529, 30]");
}

}  // namespace sala
