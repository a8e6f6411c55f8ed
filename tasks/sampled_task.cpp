// Turns a fitted text into a sample, and finds the smallest length when none fits.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/sampled_task.h"

#include <algorithm>
#include <charconv>

#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "tasks/chat_template.h"

namespace sala {
namespace {

/// Tokens that hold the bytes of a span, counted from `first`.
TokenSpan tokens_of(const std::vector<std::int64_t>& begin, ByteSpan bytes, std::int64_t first) {
  const auto from =
      std::upper_bound(begin.begin(), begin.end(), static_cast<std::int64_t>(bytes.begin)) - 1;
  const auto to =
      std::lower_bound(begin.begin(), begin.end(), static_cast<std::int64_t>(bytes.end));
  return {first + (from - begin.begin()), first + (to - begin.begin())};
}

}  // namespace

PythonRandom strict_random(std::string_view task, std::int64_t length, std::uint64_t seed,
                           std::int64_t i) {
  const std::string hash =
      sha256_hex(fmt::format("sala-strict-1\n{}\n{}\n{}\n{}", task, length, seed, i));
  std::uint64_t start = 0;
  std::from_chars(hash.data(), hash.data() + 16, start, 16);
  return PythonRandom(start);
}

std::string cluster_name(std::uint64_t haystack_seed) {
  return fmt::format("{:016x}", haystack_seed);
}

Sample SampledTask::make(const TaskOptions& options, std::int64_t i,
                         const Tokenizer& tokenizer) const {
  if (options.mode != "strict") {
    throw Error("--mode", "task {} has no mode '{}', only strict", info_.name, options.mode);
  }
  if (i < 0) throw Error(info_.name, "sample {} does not exist; the first one is 0", i);
  Attempt attempt = try_make(options, i, tokenizer);
  if (auto* sample = std::get_if<Sample>(&attempt)) {
    sample->index = i;
    return std::move(*sample);
  }
  throw Error(info_.name,
              "length {} is too short for the smallest prompt and {} tokens of answer; the "
              "smallest length that works is {}",
              options.length, tokens_to_generate_, smallest_length(options, i, tokenizer));
}

std::int64_t SampledTask::smallest_length(TaskOptions options, std::int64_t i,
                                          const Tokenizer& tokenizer) const {
  constexpr std::int64_t kSamplesTried = 100;
  // A sample draws other words at another length, so its smallest prompt varies: by far less than
  // kVariation tokens.
  constexpr std::int64_t kVariation = 256;
  options.length = std::max(options.length, tokens_to_generate_);
  const std::int64_t n_tried = std::min(kSamplesTried, count(options, tokenizer));
  const auto tokens_over = [&](std::int64_t sample) {
    const Attempt attempt = try_make(options, sample, tokenizer);
    const auto* too_short = std::get_if<TooShort>(&attempt);
    return too_short == nullptr ? 0 : too_short->needed - options.length;
  };
  for (;;) {
    ++options.length;
    std::int64_t over = tokens_over(i);
    for (std::int64_t other = 0; over == 0 && other < n_tried; ++other) {
      over = tokens_over(other);
    }
    if (over == 0) return options.length;
    options.length += std::max<std::int64_t>(0, over - kVariation);
  }
}

std::int64_t SampledTask::text_tokens(const TaskOptions& options,
                                      const Tokenizer& tokenizer) const {
  return options.length - tokens_to_generate_ - (tokenizer.bos() ? 1 : 0);
}

Fit SampledTask::fit_text(const TaskOptions& options, const Tokenizer& tokenizer,
                          std::string_view answer_prefix, std::int64_t min_units, SizeModel& sizes,
                          const std::function<Draft(std::int64_t)>& build) const {
  const ChatTemplate chat(options.chat_template);
  return fit(tokenizer, text_tokens(options, tokenizer), min_units, sizes,
             [&](std::int64_t n) { return chat.wrap(build(n), answer_prefix.size()); });
}

Sample SampledTask::complete(Sample sample, Draft draft, Encoding encoding,
                             const Tokenizer& tokenizer) const {
  sample.prompt = std::move(draft.text);
  if (!sample.prompt.ends_with(sample.answer_prefix)) {
    throw Error(info_.name, "the prompt does not end with its answer prefix '{}'",
                sample.answer_prefix);
  }
  sample.prompt_ids = std::move(encoding.ids);
  // A chat template may spell the BOS out.
  const auto bos = tokenizer.bos();
  const bool has_bos = !bos || (!sample.prompt_ids.empty() && sample.prompt_ids.front() == *bos);
  if (!has_bos) sample.prompt_ids.insert(sample.prompt_ids.begin(), *bos);
  sample.max_new_tokens = tokens_to_generate_;
  for (const ByteSpan& needle : draft.needles) {
    sample.needles.push_back(tokens_of(encoding.begin, needle, has_bos ? 0 : 1));
  }
  if (!sample.needles.empty()) {
    sample.depth_pct = 100.0 * static_cast<double>(sample.needles.front().begin) /
                       static_cast<double>(sample.prompt_ids.size());
  }
  return sample;
}

SampledTask::Attempt SampledTask::finish(const TaskOptions& options, const Tokenizer& tokenizer,
                                         Fit fitted, Sample sample) const {
  const std::int64_t limit = text_tokens(options, tokenizer);
  if (fitted.needed > limit) return TooShort{fitted.needed + options.length - limit};
  return complete(std::move(sample), std::move(fitted.draft), std::move(fitted.encoding),
                  tokenizer);
}

}  // namespace sala
