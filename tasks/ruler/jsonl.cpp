// The fields of a line and Python's way of writing JSON.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/jsonl.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sala {
namespace {

using Json = nlohmann::ordered_json;

/// ASCII, a space after each comma and colon.
std::string python_json(const Json& value) {
  if (!value.is_structured()) return value.dump(-1, ' ', true);
  std::string out;
  for (const auto& [key, item] : value.items()) {
    if (!out.empty()) out += ", ";
    if (value.is_object()) out += Json(key).dump(-1, ' ', true) + ": ";
    out += python_json(item);
  }
  return value.is_object() ? "{" + out + "}" : "[" + out + "]";
}

bool begins_code_point(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
}

/// Code point where `part` begins in the text, -1 when it is not there.
std::int64_t find_code_point(std::string_view text, std::string_view part) {
  const std::size_t at = text.find(part);
  if (at == std::string_view::npos) return -1;
  return std::count_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at),
                       begins_code_point);
}

/// What Python makes of text[:text.find(part)]: all but the last character when there is none.
std::string_view before(std::string_view text, std::string_view part) {
  std::size_t end = text.find(part);
  if (end == std::string_view::npos && !text.empty()) {
    end = text.size() - 1;
    while (end > 0 && !begins_code_point(text[end])) --end;
  }
  return text.substr(0, end);
}

}  // namespace

std::string ruler_jsonl(const Sample& sample, const TaskInfo& info, const TaskOptions& options,
                        const Tokenizer& tokenizer) {
  const std::string_view input =
      std::string_view(sample.prompt).substr(0, sample.prompt.size() - sample.answer_prefix.size());
  const bool is_niah = info.name.starts_with("niah_");
  const bool is_official = options.mode == "official";
  auto length = static_cast<std::int64_t>(sample.prompt_ids.size()) + sample.max_new_tokens;
  // Upstream does not count the BOS that a server adds.
  if (is_official) length = tokenizer.count(sample.prompt) + sample.max_new_tokens;
  const std::int64_t index =
      is_niah && is_official ? find_code_point(input, sample.references.front()) : sample.index;
  Json line{{"index", index},
            {"input", input},
            {"outputs", sample.references},
            {"length", length},
            {"length_w_model_temp", length},
            {"answer_prefix", sample.answer_prefix}};
  if (is_niah) {
    line["token_position_answer"] = tokenizer.count(before(input, sample.references.front()));
  }
  return python_json(line);
}

}  // namespace sala
