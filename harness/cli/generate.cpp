// sala generate: a prompt in, greedy text out, with timings.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/base/error.h"
#include "harness/cli/command.h"
#include "harness/cli/options.h"
#include "harness/plan/sizes.h"

namespace sala {
namespace {

struct GenerateFlags {
  ModelFlags model;
  PromptFlags prompt;
  std::int64_t max_tokens = 0;
  bool json = false;
};

/// Mean time between outputs; nothing when there was only one.
std::optional<double> decode_ms_per_token(const Timing& timing) {
  if (timing.itl_ns.empty()) return std::nullopt;
  const auto sum = std::accumulate(timing.itl_ns.begin(), timing.itl_ns.end(), std::int64_t{0});
  return static_cast<double>(sum) / 1e6 / static_cast<double>(timing.itl_ns.size());
}

/// Median time between outputs: without the weight of the first steps, which may prepare others.
std::optional<double> median_decode_ms(const Timing& timing) {
  if (timing.itl_ns.empty()) return std::nullopt;
  std::vector<std::int64_t> times = timing.itl_ns;
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return static_cast<double>(*middle) / 1e6;
}

nlohmann::ordered_json stages_json(const std::vector<StageTime>& stages) {
  auto json = nlohmann::ordered_json::array();
  for (const StageTime& stage : stages) {
    const auto ns = static_cast<double>(stage.ns);
    json.push_back({{"name", stage.name},
                    {"ms", ns / 1e6},
                    {"calls", stage.calls},
                    {"tflops", ns > 0 ? stage.flops / ns / 1e3 : 0}});
  }
  return json;
}

int generate(const GenerateFlags& flags) {
  const auto engine = make_engine(flags.model.options());
  Request request;
  request.prompt = flags.prompt.read(*engine);
  request.max_new_tokens = flags.max_tokens;
  const Output output = engine->run(request);
  // Token ids need no tokenizer; without one there is no text.
  std::optional<std::string> text;
  if (!engine->info().tokenizer_sha256.empty()) text = engine->tokenizer().decode(output.tokens);
  const auto decode_ms = decode_ms_per_token(output.timing);
  const double ttft_s = static_cast<double>(output.timing.ttft_ns) / 1e9;

  if (flags.json) {
    using Json = nlohmann::ordered_json;
    Json result;
    result["prompt_tokens"] = request.prompt.size();
    result["tokens"] = output.tokens;
    result["text"] = text ? Json(*text) : Json();
    result["ttft_s"] = ttft_s;
    result["decode_ms_per_token"] = decode_ms ? Json(*decode_ms) : Json();
    const auto median_ms = median_decode_ms(output.timing);
    result["decode_ms_median"] = median_ms ? Json(*median_ms) : Json();
    result["peak_bytes"] = output.peak_bytes;
    result["load_bytes"] = engine->info().load_bytes;
    result["load_s"] = static_cast<double>(engine->info().load_ns) / 1e9;
    result["stages"] = stages_json(output.stages);
    // A token may end inside a character: JSON gets U+FFFD there, "tokens" stay exact.
    fmt::print("{}\n", result.dump(-1, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  const std::string shown = text ? *text : nlohmann::json(output.tokens).dump();
  std::fwrite(shown.data(), 1, shown.size(), stdout);
  std::fputc('\n', stdout);
  if (engine->info().load_ns > 0) {
    const auto bytes = static_cast<double>(engine->info().load_bytes);
    const auto ns = static_cast<double>(engine->info().load_ns);
    fmt::print(stderr, "{} of weights loaded in {:.3f} s, {:.2f} GB/s\n",
               format_bytes(engine->info().load_bytes), ns / 1e9, bytes / ns);
  }
  fmt::print(stderr, "{} prompt tokens, {} generated ({}), TTFT {:.3f} s, {}peak {}\n",
             request.prompt.size(), output.tokens.size(),
             output.finish == Finish::eos ? "ended by itself" : "token limit", ttft_s,
             decode_ms ? fmt::format("{:.2f} ms per token, ", *decode_ms) : "",
             format_bytes(output.peak_bytes));
  return 0;
}

}  // namespace

Action setup_generate(CLI::App& app) {
  const auto flags = std::make_shared<GenerateFlags>();
  flags->model.declare(app);
  flags->prompt.declare(app, true);
  app.add_option("--max-tokens", flags->max_tokens, "Tokens to generate at most")
      ->required()
      ->check(CLI::PositiveNumber);
  app.add_flag("--json", flags->json, "Print one JSON object");
  return [flags] { return generate(*flags); };
}

}  // namespace sala
