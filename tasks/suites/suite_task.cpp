// Where files are looked for, and how a text of any length becomes a sample.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/suites/suite_task.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "engine/base/data_dir.h"
#include "engine/base/error.h"
#include "engine/base/sha256.h"
#include "engine/base/utf8.h"
#include "tasks/chat_template.h"
#include "tasks/data_files.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

/// First and last half of the tokens, decoded apart.
std::string cut_middle(const std::vector<TokenId>& ids, std::int64_t budget,
                       const Tokenizer& tokenizer) {
  const auto half = static_cast<std::size_t>(budget / 2);
  const std::span all(ids);
  return repaired_utf8(tokenizer.decode(all.first(half))) +
         repaired_utf8(tokenizer.decode(all.last(half)));
}

}  // namespace

nlohmann::json read_templates(std::string_view name) {
  const fs::path path = data_dir() / "templates" / fmt::format("{}.json", name);
  try {
    return nlohmann::json::parse(read_text_file(path));
  } catch (const nlohmann::json::exception& error) {
    throw Error(path.string(), "is damaged: {}", error.what());
  }
}

std::vector<TaskSource> SuiteTask::sources(const TaskOptions& options) const {
  std::vector<TaskSource> sources;
  for (const std::string& name : files(options)) {
    const fs::path file = path(options, name);
    const auto hash = [&] { return sha256_file(file); };
    sources.push_back({name, hashes_.get({file.string()}, hash), false});
  }
  return sources;
}

fs::path SuiteTask::path(const TaskOptions& options, const std::string& name) const {
  if (auto found = find_data_file(options.data, name)) return *found;
  const std::string missing = options.data.empty()
                                  ? std::string("and there is no --data folder")
                                  : fmt::format("not in --data {}", fmt::join(options.data, ", "));
  throw Error(info_.name, "needs {}, {}; bring it from {}", name, missing, info_.needs_data);
}

const JsonLines& SuiteTask::rows(const TaskOptions& options, const std::string& name) const {
  const fs::path file = path(options, name);
  return rows_.get({file.string()}, [&] { return JsonLines(file); });
}

void SuiteTask::check_index(std::int64_t i, std::int64_t n) const {
  if (i >= 0 && i < n) return;
  throw Error(info_.name, "there is no sample {}; the data has {}", i, n);
}

Sample SuiteTask::complete(const TaskOptions& options, const Tokenizer& tokenizer, Draft draft,
                           Sample sample, TooLong too_long) const {
  const ChatTemplate chat(options.chat_template);
  const std::string empty_turn = chat.wrap({}, 0).text;
  const auto bos = tokenizer.bos();
  const std::int64_t budget =
      options.length - sample.max_new_tokens - tokenizer.count(empty_turn) - (bos ? 1 : 0);
  Encoding encoding = tokenizer.encode(draft.text);
  const auto n_tokens = static_cast<std::int64_t>(encoding.ids.size());
  if (n_tokens > budget && too_long != TooLong::allow) {
    if (too_long == TooLong::refuse || budget < 2) {
      throw Error(info_.name, "sample {} needs a length of {}, got {}", sample.index,
                  n_tokens - budget + options.length, options.length);
    }
    // What is decoded and encoded again may have more tokens at its seam.
    std::int64_t kept = budget;
    do {
      draft.text = cut_middle(encoding.ids, kept, tokenizer);
      --kept;
    } while (kept > 1 && tokenizer.count(draft.text) > budget);
    sample.n_left_out = n_tokens - tokenizer.count(draft.text);
  }
  // The published code puts the whole text into the user's turn.
  if (!empty_turn.empty()) sample.answer_prefix.clear();
  draft = chat.wrap(std::move(draft), 0);
  encoding = tokenizer.encode(draft.text);
  sample.prompt = std::move(draft.text);
  sample.prompt_ids = std::move(encoding.ids);
  const bool adds_bos = bos && (sample.prompt_ids.empty() || sample.prompt_ids.front() != *bos);
  if (adds_bos) sample.prompt_ids.insert(sample.prompt_ids.begin(), *bos);
  const auto token_at = [&](std::size_t byte) {
    const auto found = std::upper_bound(encoding.begin.begin(), encoding.begin.end(),
                                        static_cast<std::int64_t>(byte));
    return found - encoding.begin.begin() - 1 + (adds_bos ? 1 : 0);
  };
  for (const ByteSpan& needle : draft.needles) {
    sample.needles.push_back({token_at(needle.begin), token_at(needle.end - 1) + 1});
  }
  if (!sample.needles.empty()) {
    sample.depth_pct = 100.0 * static_cast<double>(sample.needles.front().begin) /
                       static_cast<double>(sample.prompt_ids.size());
  }
  return sample;
}

std::int64_t RowTask::count(const TaskOptions& options, const Tokenizer& /*tokenizer*/) const {
  return rows(options, file(options)).size();
}

Sample RowTask::make(const TaskOptions& options, std::int64_t i, const Tokenizer& tokenizer) const {
  const JsonLines& lines = rows(options, file(options));
  check_index(i, lines.size());
  Sample sample;
  sample.index = i;
  return from_row(options, lines[i], std::move(sample), tokenizer);
}

std::string answer_prefix_of(std::string_view prompt_template) {
  const std::size_t slot = prompt_template.rfind('}');
  std::string_view tail = prompt_template.substr(slot == std::string_view::npos ? 0 : slot + 1);
  if (const std::size_t line = tail.rfind('\n'); line != std::string_view::npos) {
    tail.remove_prefix(line + 1);
  }
  return std::string(tail);
}

std::string repaired_utf8(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t c = next_code_point(text, at);
    if (c == 0xFFFD) {
      out += "\uFFFD";
    } else {
      out += text.substr(begin, at - begin);
    }
  }
  return out;
}

std::string row_cluster(std::string_view task, std::int64_t length, std::int64_t i) {
  return fmt::format("{}-{}-{}", task, length, i);
}

}  // namespace sala
