// One sample through an engine: the request, the answer and the numbers, as rows to store.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/measure.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "engine/base/sha256.h"
#include "harness/runner/manifest.h"

namespace sala {
namespace {

using Json = nlohmann::json;

std::string tokens_sha256(const std::vector<TokenId>& tokens) {
  return sha256_hex(std::as_bytes(std::span(tokens)));
}

/// The text with U+FFFD for every byte that is not UTF-8: a model may stop inside a character.
std::string valid_utf8(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace))
      .get<std::string>();
}

/// The scorer's detail, with the sample's groups and how much of its prompt was cut out.
std::string with_sample(const std::string& detail, const Sample& sample) {
  if (sample.n_left_out == 0 && sample.groups.empty()) return detail;
  Json json = detail.empty() ? Json::object() : Json::parse(detail);
  if (sample.n_left_out > 0) json["prompt_tokens_left_out"] = sample.n_left_out;
  if (!sample.groups.empty()) json["groups"] = sample.groups;
  return json.dump();
}

/// Every stage, and what lies between them: with a phase's stages its gap makes its time.
void add_stages(const Output& output, std::int64_t rep, std::vector<ValueRow>& values) {
  if (output.stages.empty()) return;
  const auto add = [&](const char* metric, const std::string& stage, double value) {
    values.push_back({.metric = metric, .stage = stage, .rep = rep, .value = value});
  };
  const Timing& timing = output.timing;
  const auto total_ns = static_cast<double>(timing.total_ns);
  const auto ttft_ns = timing.ttft_ns > 0 ? static_cast<double>(timing.ttft_ns) : total_ns;
  double prefill_gap = ttft_ns;
  double decode_gap = total_ns - ttft_ns;
  for (const StageTime& stage : output.stages) {
    const auto ns = static_cast<double>(stage.ns);
    add("stage_ns", stage.name, ns);
    add("stage_calls", stage.name, static_cast<double>(stage.calls));
    add("stage_flops", stage.name, stage.flops);
    add("stage_bytes", stage.name, stage.bytes);
    (stage.name.starts_with("prefill.") ? prefill_gap : decode_gap) -= ns;
  }
  add("gap_ns", "prefill", prefill_gap);
  add("gap_ns", "decode", decode_gap);
  add("gap_ns", "total", prefill_gap + decode_gap);
  if (timing.stage_overhead_ns > 0 && total_ns > 0) {
    add("timing_overhead", "total", timing.stage_overhead_ns / total_ns);
  }
}

}  // namespace

Request make_request(const Sample& sample) {
  return {.prompt = sample.prompt_ids,
          .max_new_tokens = sample.max_new_tokens,
          .prompt_logprobs = sample.prompt_logprobs,
          .forced = {}};
}

Request make_forced_request(const Sample& sample) {
  Request request = make_request(sample);
  for (std::int64_t i = 0; i < sample.max_new_tokens; ++i) {
    request.forced.push_back(
        sample.prompt_ids[static_cast<std::size_t>(i) % sample.prompt_ids.size()]);
  }
  return request;
}

Request make_rehearsal(const Request& request, std::int64_t chunk) {
  const auto n_prompt = static_cast<std::int64_t>(request.prompt.size());
  const std::int64_t n_left_out = std::max<std::int64_t>((n_prompt - 1) / chunk - 1, 0) * chunk;
  Request rehearsal = request;
  rehearsal.prompt.resize(static_cast<std::size_t>(n_prompt - n_left_out));
  rehearsal.room = n_prompt + request.max_new_tokens;
  return rehearsal;
}

PromptRow make_prompt_row(const Sample& sample, std::int64_t length, std::uint64_t seed) {
  const auto n_tokens = static_cast<std::int64_t>(sample.prompt_ids.size());
  PromptRow row{.tokens_sha256 = tokens_sha256(sample.prompt_ids),
                .target_len = std::max(length, n_tokens + sample.max_new_tokens),
                .n_tokens = n_tokens,
                .gen_budget = sample.max_new_tokens,
                .depth_pct = sample.depth_pct,
                .cluster = sample.cluster,
                .seed = static_cast<std::int64_t>(seed),
                .answer = Json(sample.references).dump(),
                .sample_index = sample.index,
                .needles = {}};
  for (const TokenSpan& needle : sample.needles) row.needles.emplace_back(needle.begin, needle.end);
  return row;
}

AnswerRow make_answer_row(const Sample& sample, const Output& output, const Tokenizer& tokenizer,
                          const Scorer& scorer) {
  const Answer answer{.text = valid_utf8(tokenizer.decode(output.tokens)),
                      .hit_token_limit = output.finish == Finish::length,
                      .prompt_logprobs = output.prompt_logprobs};
  const Score score = scorer.score(sample.references, answer);
  AnswerRow row{.output = answer.text,
                .output_tokens_sha256 = tokens_sha256(output.tokens),
                .n_out = static_cast<std::int64_t>(output.tokens.size()),
                .finish = output.finish == Finish::eos ? "eos" : "length",
                .score = score.value,
                .error_class = score.error_class,
                .scorer_detail = with_sample(score.detail, sample),
                .ttft_ns = std::nullopt,
                .total_ns = output.timing.total_ns};
  // A fractional score without a class of its own, such as a likelihood, is no full answer either.
  if (row.score < 1 && row.error_class.empty()) row.error_class = "miss";
  if (sample.max_new_tokens > 0) row.ttft_ns = output.timing.ttft_ns;
  return row;
}

AnswerRow make_failed_answer(const std::string& why) {
  return {
      .output = "",
      .output_tokens_sha256 = tokens_sha256({}),
      .n_out = 0,
      .finish = "error",
      .score = 0,
      .error_class = "run_failed",
      .scorer_detail = Json{{"error", why}}.dump(-1, ' ', false, Json::error_handler_t::replace),
      .ttft_ns = std::nullopt,
      .total_ns = std::nullopt};
}

std::vector<ValueRow> make_values(const Output& output, std::int64_t n_prompt, std::int64_t chunk,
                                  std::int64_t rep) {
  std::vector<ValueRow> values;
  const auto add = [&](const char* metric, double value, std::int64_t pos = -1) {
    values.push_back({.metric = metric, .rep = rep, .pos = pos, .value = value});
  };
  const Timing& timing = output.timing;
  add("prompt_tokens", static_cast<double>(n_prompt));
  if (timing.ttft_ns > 0) add("ttft_ns", static_cast<double>(timing.ttft_ns));
  add("prefill_ns", static_cast<double>(timing.prefill_ns));
  if (timing.prefill_ns > 0) {
    add("prefill_tok_s",
        static_cast<double>(n_prompt) * 1e9 / static_cast<double>(timing.prefill_ns));
  }
  add("e2e_ns", static_cast<double>(timing.total_ns));
  double decode_ns = 0;
  for (std::size_t i = 0; i < timing.itl_ns.size(); ++i) {
    add("itl_ns", static_cast<double>(timing.itl_ns[i]), static_cast<std::int64_t>(i) + 1);
    decode_ns += static_cast<double>(timing.itl_ns[i]);
  }
  if (!timing.itl_ns.empty()) {
    add("tpot_ns", decode_ns / static_cast<double>(timing.itl_ns.size()));
  }
  add_stages(output, rep, values);
  for (std::size_t i = 0; i < timing.chunk_ns.size(); ++i) {
    const auto end = static_cast<std::int64_t>(i + 1) * chunk;
    add("prefill_chunk_ns", static_cast<double>(timing.chunk_ns[i]), std::min(end, n_prompt));
  }
  add("device_peak_bytes", static_cast<double>(output.peak_bytes));
  if (const std::int64_t peak = host_peak_bytes()) {
    add("host_peak_bytes", static_cast<double>(peak));
  }
  return values;
}

}  // namespace sala
