// Options that several commands share: which model, on what, and how.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/App.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace sala {

/// Values of the shared options as typed.
struct EngineFlags {
  std::string device = "auto";
  std::string chunk;         // a size; empty: the engine's default
  std::string weights;       // empty: files; or random[:SEED]
  std::string memory_limit;  // a size; empty: what the device has
  int threads = 0;
  std::vector<std::string> settings;  // KEY=VALUE

  /// --device, --chunk, --weights, --memory-limit, --threads and --set.
  void declare(CLI::App& app);
  /// model: a folder or a name; attention: "model" or "dense". Throws Error for values that cannot
  /// be read.
  EngineOptions options(const std::string& model, const std::string& attention) const;
};

/// EngineFlags with --model and --attention, for commands that load one model.
struct ModelFlags : EngineFlags {
  std::string model;
  std::string attention = "model";

  void declare(CLI::App& app);
  EngineOptions options() const { return EngineFlags::options(model, attention); }
};

constexpr const char* kChatTemplateHelp =
    "auto: the model's own; base: none; a name such as chatml or meta-llama3; or a text with "
    "{task_template}";

/// A prompt as a file of token ids, a text file or, where declared, a text.
struct PromptFlags {
  std::string tokens_file;
  std::string prompt_file;
  std::string text;
  std::string chat_template = "base";

  /// Exactly one of --tokens, --prompt and (with_text) --text; with_text also --chat-template.
  void declare(CLI::App& app, bool with_text);
  /// The ids; text is put into a turn of the chat template, with BOS in front when the tokenizer
  /// has one.
  std::vector<TokenId> read(const Engine& engine) const;
};

/// A folder, or the folder of a name under data/models or data/configs. Throws Error listing the
/// names there are.
std::filesystem::path resolve_model(const std::string& name);

/// A JSON array of token ids. source: for messages.
std::vector<TokenId> parse_token_ids(const std::string& json, const std::string& source);

}  // namespace sala
