// sala logits: logits of given tokens as a NumPy file, for checking against other implementations.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string_view>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/cli/options.h"
#include "harness/cli/output_file.h"

namespace sala {
namespace {

struct LogitsFlags {
  ModelFlags model;
  PromptFlags prompt;
  std::int64_t last = 0;
  std::string out;
};

/// Writes a float32 matrix in NumPy's format 1.0. The file appears only when it is complete.
/// Source: numpy.org, "numpy.lib.format".
void write_npy(const std::filesystem::path& path, const std::vector<float>& values,
               std::int64_t cols) {
  const std::int64_t rows = static_cast<std::int64_t>(values.size()) / cols;
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, cols);
  constexpr std::size_t kPreamble = 10;  // magic, version, header length
  header.resize((kPreamble + header.size() + 1 + 63) / 64 * 64 - kPreamble, ' ');
  header.back() = '\n';
  const char length[] = {static_cast<char>(header.size() & 0xff),
                         static_cast<char>(header.size() >> 8)};

  write_whole(path,
              {std::string_view("\x93NUMPY\x01\x00", 8),
               {length, 2},
               header,
               {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}});
}

int logits(const LogitsFlags& flags) {
  const auto engine = make_engine(flags.model.options());
  const std::vector<TokenId> ids = flags.prompt.read(*engine);
  const std::vector<float> values = engine->logits(ids, flags.last);
  const std::int64_t vocab = engine->info().vocab_size;
  write_npy(flags.out, values, vocab);
  fmt::print("{}: float32 ({}, {})\n", flags.out, static_cast<std::int64_t>(values.size()) / vocab,
             vocab);
  return 0;
}

}  // namespace

Action setup_logits(CLI::App& app) {
  const auto flags = std::make_shared<LogitsFlags>();
  flags->model.declare(app);
  flags->prompt.declare(app, false);
  app.add_option("--last", flags->last, "Only the last K positions; all of them without it")
      ->check(CLI::PositiveNumber);
  app.add_option("--out", flags->out, "File to write, FILE.npy")->required();
  return [flags] { return logits(*flags); };
}

}  // namespace sala
