// Index of commands. To add one: write cli/<name>.cpp, declare its setup here, add a row.
// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

namespace sala {

Action setup_bench(CLI::App& app);
Action setup_compare(CLI::App& app);
Action setup_doctor(CLI::App& app);
Action setup_fidelity(CLI::App& app);
Action setup_gate(CLI::App& app);
Action setup_generate(CLI::App& app);
Action setup_inspect(CLI::App& app);
Action setup_logits(CLI::App& app);
Action setup_profile(CLI::App& app);
Action setup_report(CLI::App& app);
Action setup_run(CLI::App& app);
Action setup_tasks(CLI::App& app);
Action setup_tokenize(CLI::App& app);

std::span<const Command> commands() {
  static constexpr Command kCommands[] = {
      {"bench", "Kernel micro-benchmarks with bytes, FLOPs and fractions of measured ceilings",
       setup_bench},
      {"compare", "Two runs, two builds or the two models of one run side by side", setup_compare},
      {"doctor", "What this machine offers and what is missing", setup_doctor},
      {"fidelity", "How near a block-sparse model stays to its own weights with dense layers",
       setup_fidelity},
      {"gate", "The regression verdict after a change, by exit code and for a pull request",
       setup_gate, 64},
      {"generate", "Prompt in, greedy text out, with timings", setup_generate},
      {"inspect", "A model's architecture, parameter count and predicted memory per length",
       setup_inspect},
      {"logits", "Logits for given token ids, for checking against other implementations",
       setup_logits},
      {"profile", "One prefill and some decode steps stage by stage, as a table and for Perfetto",
       setup_profile},
      {"report", "HTML, Markdown, CSV or JSONL from a results database", setup_report},
      {"run", "Run a suite over lengths with a model and a baseline, store every sample",
       setup_run},
      {"tasks", "List the tasks, emit their samples, score predictions", setup_tasks},
      {"tokenize", "Text to token ids and back", setup_tokenize},
  };
  return kCommands;
}

}  // namespace sala
