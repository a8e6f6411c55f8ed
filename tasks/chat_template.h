// Texts with slots, and the turn of a chat that a task is put into.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>

#include "tasks/fit.h"

namespace sala {

struct Slot {
  std::string_view name;
  std::string_view value;
};

/// Python's str.format for texts: each {name} is replaced once, {{ and }} are braces, what was
/// filled in is not looked at again. Throws Error for any other brace.
std::string fill(std::string_view text, std::initializer_list<Slot> slots);

/// A user's turn around a task; the answer prefix begins the assistant's.
class ChatTemplate {
 public:
  /// As chat_template_text() takes it. Throws Error as that does.
  explicit ChatTemplate(std::string_view name_or_text);

  /// Puts the draft, whose last prefix_bytes bytes are the answer prefix, into the turn.
  Draft wrap(Draft draft, std::size_t prefix_bytes) const;
  const std::string& before() const { return before_; }

 private:
  std::string before_;
  std::string after_;
};

}  // namespace sala
