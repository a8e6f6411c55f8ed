// Each check stands for a mistake that has moved published scores.
// SPDX-License-Identifier: Apache-2.0
#include "harness/runner/guards.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/sha256.h"

namespace sala {
namespace {

constexpr std::size_t kEchoBytes = 64;
constexpr std::size_t kTailBytes = 200;
constexpr std::size_t kFirstIds = 8;

void check_bos(const TaskInfo& task, const std::vector<TokenId>& ids, const Tokenizer& tokenizer) {
  const auto bos = tokenizer.bos();
  if (!bos) return;
  const auto after = std::find_if(ids.begin(), ids.end(), [&](TokenId id) { return id != *bos; });
  const auto n_bos = after - ids.begin();
  if (n_bos == 1) return;
  throw Error(task.name, "the prompt begins with {} BOS tokens, expected exactly one (id {})",
              n_bos, *bos);
}

/// The ids are those of the text, which a BOS may precede that the text does not spell out. Where
/// the tokenizer normalises they cannot give the text back, and it is encoded again.
void check_text(const TaskInfo& task, const Sample& sample, const Tokenizer& tokenizer) {
  const std::string sent = tokenizer.decode(sample.prompt_ids);
  const auto bos = tokenizer.bos();
  const std::string begin = bos ? tokenizer.decode(std::span(&*bos, 1)) : "";
  if (sent != sample.prompt && sent != begin + sample.prompt) {
    std::vector<TokenId> ids = tokenizer.encode(sample.prompt).ids;
    if (bos && ids.size() + 1 == sample.prompt_ids.size()) ids.insert(ids.begin(), *bos);
    if (ids != sample.prompt_ids) {
      throw Error(task.name, "the ids to be sent are not those of the prompt of sample {}",
                  sample.index);
    }
  }
  if (!sent.ends_with(sample.answer_prefix)) {
    throw Error(task.name, "the prompt of sample {} does not end with its answer prefix '{}'",
                sample.index, sample.answer_prefix);
  }
}

void check_needles(const TaskInfo& task, const Sample& sample, const Tokenizer& tokenizer) {
  if (sample.needles.size() != sample.references.size()) return;
  for (std::size_t i = 0; i < sample.needles.size(); ++i) {
    const TokenSpan span = sample.needles[i];
    const auto n = static_cast<std::int64_t>(sample.prompt_ids.size());
    const bool is_inside = 0 <= span.begin && span.begin < span.end && span.end <= n;
    const std::string text =
        is_inside ? tokenizer.decode(std::span(sample.prompt_ids)
                                         .subspan(static_cast<std::size_t>(span.begin),
                                                  static_cast<std::size_t>(span.end - span.begin)))
                  : "";
    if (text.find(sample.references[i]) == std::string::npos) {
      throw Error(task.name,
                  "the needle of sample {} at tokens {} to {} does not hold its reference '{}'",
                  sample.index, span.begin, span.end, sample.references[i]);
    }
  }
}

}  // namespace

void check_prompt(const TaskInfo& task, const Sample& sample, std::int64_t length,
                  const Tokenizer& tokenizer) {
  check_bos(task, sample.prompt_ids, tokenizer);
  check_text(task, sample, tokenizer);
  const auto needed = static_cast<std::int64_t>(sample.prompt_ids.size()) + sample.max_new_tokens;
  if (needed > length && !task.nominal_length) {
    throw Error(task.name, "sample {} needs {} tokens with its answer, over the length of {}",
                sample.index, needed, length);
  }
  check_needles(task, sample, tokenizer);
}

void check_answer(const Sample& sample, const Output& output, const std::string& text) {
  if (static_cast<std::int64_t>(output.tokens.size()) > sample.max_new_tokens) {
    throw Error("answer", "{} tokens came back of at most {}: the prompt may be among them",
                output.tokens.size(), sample.max_new_tokens);
  }
  if (sample.prompt.size() >= kEchoBytes && text.starts_with(sample.prompt.substr(0, kEchoBytes))) {
    throw Error("answer", "sample {} was answered with the beginning of its own prompt",
                sample.index);
  }
}

PromptTrace trace_prompt(const Sample& sample) {
  const auto& ids = sample.prompt_ids;
  const auto n_first = static_cast<std::ptrdiff_t>(std::min(ids.size(), kFirstIds));
  std::string_view tail = sample.prompt;
  tail.remove_prefix(tail.size() - std::min(tail.size(), kTailBytes));
  return {{ids.begin(), ids.begin() + n_first},
          std::string(tail),
          sha256_hex(std::as_bytes(std::span(ids)))};
}

}  // namespace sala
