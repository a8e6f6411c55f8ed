// Filling in slots, and putting a task between the two parts of a template.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/chat_template.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/text/chat_formats.h"

namespace sala {
namespace {

constexpr std::string_view kTask = "{task_template}";

}  // namespace

std::string fill(std::string_view text, std::initializer_list<Slot> slots) {
  std::string filled;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      const std::size_t end = std::min(text.find_first_of("{}", at), text.size());
      filled.append(text, at, end - at);
      at = end;
      continue;
    }
    if (at + 1 < text.size() && text[at + 1] == c) {
      filled += c;
      at += 2;
      continue;
    }
    const std::size_t close = c == '{' ? text.find('}', at) : std::string_view::npos;
    const std::string_view name =
        close == std::string_view::npos ? "" : text.substr(at + 1, close - at - 1);
    const auto* slot =
        std::find_if(slots.begin(), slots.end(), [&](const Slot& s) { return s.name == name; });
    if (slot == slots.end()) {
      throw Error("template", "'{}' at byte {} is no slot; write {{{{ and }}}} for braces",
                  text.substr(at, std::min<std::size_t>(close - at, 20) + 1), at);
    }
    filled += slot->value;
    at = close + 1;
  }
  return filled;
}

ChatTemplate::ChatTemplate(std::string_view name_or_text) {
  const std::string_view text = chat_template_text(name_or_text);
  const std::size_t at = text.find(kTask);
  before_ = fill(text.substr(0, at), {});
  after_ = fill(text.substr(at + kTask.size()), {});
}

Draft ChatTemplate::wrap(Draft draft, std::size_t prefix_bytes) const {
  draft.text.insert(draft.text.size() - prefix_bytes, after_);
  draft.text.insert(0, before_);
  for (ByteSpan& needle : draft.needles) {
    needle.begin += before_.size();
    needle.end += before_.size();
  }
  return draft;
}

}  // namespace sala
