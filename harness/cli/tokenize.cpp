// sala tokenize: text to ids and back, through standard input and output.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/text/tokenizer.h"
#include "harness/cli/command.h"
#include "harness/cli/options.h"

namespace sala {
namespace {

struct TokenizeFlags {
  std::string model;
  bool decode = false;
};

int tokenize(const TokenizeFlags& flags) {
  const auto tokenizer = load_tokenizer(resolve_model(flags.model));
  const std::string input(std::istreambuf_iterator<char>(std::cin), {});
  if (flags.decode) {
    const std::string text = tokenizer->decode(parse_token_ids(input, "standard input"));
    std::fwrite(text.data(), 1, text.size(), stdout);
  } else {
    fmt::print("{}\n", nlohmann::json(tokenizer->encode(input).ids).dump());
  }
  return 0;
}

}  // namespace

Action setup_tokenize(CLI::App& app) {
  const auto flags = std::make_shared<TokenizeFlags>();
  app.add_option("--model", flags->model,
                 "Folder with a tokenizer.json or tokenizer.model, or a name under data/models")
      ->required();
  app.add_flag("--decode", flags->decode, "Read a JSON array of ids and print their text");
  return [flags] { return tokenize(*flags); };
}

}  // namespace sala
