// Turns a fitted text into a sample, and finds the smallest length when none fits.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/sampled_task.h"

#include <algorithm>
#include <charconv>

#include "engine/base/error.h"
#include "engine/base/sha256.h"

namespace sala {
namespace {

/// Tokens that hold the bytes of a span, counted from `first`.
TokenSpan tokens_of(const Encoding& encoding, ByteSpan bytes, std::int64_t first) {
  const auto& begin = encoding.begin;
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
  const auto tokens_over = [&](std::int64_t sample) {
    const Attempt attempt = try_make(options, sample, tokenizer);
    const auto* too_short = std::get_if<TooShort>(&attempt);
    return too_short == nullptr ? 0 : too_short->needed - options.length;
  };
  for (;;) {
    ++options.length;
    std::int64_t over = tokens_over(i);
    for (std::int64_t other = 0; over == 0 && other < kSamplesTried; ++other) {
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

SampledTask::Attempt SampledTask::finish(const TaskOptions& options, const Tokenizer& tokenizer,
                                         Fit fitted, Sample sample) const {
  if (fitted.needed > text_tokens(options, tokenizer)) {
    return TooShort{fitted.needed + options.length - text_tokens(options, tokenizer)};
  }
  sample.prompt = std::move(fitted.draft.text);
  if (!sample.prompt.ends_with(sample.answer_prefix)) {
    throw Error(info_.name, "the prompt does not end with its answer prefix '{}'",
                sample.answer_prefix);
  }
  if (const auto bos = tokenizer.bos()) sample.prompt_ids.push_back(*bos);
  const auto n_before = static_cast<std::int64_t>(sample.prompt_ids.size());
  sample.prompt_ids.insert(sample.prompt_ids.end(), fitted.encoding.ids.begin(),
                           fitted.encoding.ids.end());
  sample.max_new_tokens = tokens_to_generate_;
  for (const ByteSpan& needle : fitted.draft.needles) {
    sample.needles.push_back(tokens_of(fitted.encoding, needle, n_before));
  }
  if (!sample.needles.empty()) {
    sample.depth_pct = 100.0 * static_cast<double>(sample.needles.front().begin) /
                       static_cast<double>(sample.prompt_ids.size());
  }
  return sample;
}

}  // namespace sala
