// PCRE2 with JIT behind Regex.
// SPDX-License-Identifier: Apache-2.0
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/text/regex.h"

#include <pcre2.h>

#include <array>
#include <cstdint>

#include "engine/base/error.h"

namespace sala {
namespace {

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

// PCRE2 counts U+180E as \s; the Unicode property that other engines use does not.
std::string with_unicode_white_space(std::string_view pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const bool escape = pattern[i] == '\\' && i + 1 < pattern.size();
    if (!escape) {
      out += pattern[i];
      continue;
    }
    ++i;
    if (pattern[i] == 's') {
      out += "\\p{White_Space}";
    } else if (pattern[i] == 'S') {
      out += "\\P{White_Space}";
    } else {
      out += '\\';
      out += pattern[i];
    }
  }
  return out;
}

}  // namespace

void RegexScratch::Free::operator()(pcre2_real_match_data_8* data) const {
  pcre2_match_data_free(data);
}
void RegexScratch::Free::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}
void RegexScratch::Free::operator()(pcre2_real_jit_stack_8* stack) const {
  pcre2_jit_stack_free(stack);
}
void Regex::Free::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

RegexScratch::RegexScratch()
    : data_(pcre2_match_data_create(1, nullptr)),
      stack_(pcre2_jit_stack_create(std::size_t{32} << 10, std::size_t{64} << 20, nullptr)),
      context_(pcre2_match_context_create(nullptr)) {
  pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  // A run of one kind of character is one match, however long.
  pcre2_set_match_limit(context_.get(), UINT32_MAX);
}
RegexScratch::RegexScratch(RegexScratch&&) noexcept = default;
RegexScratch& RegexScratch::operator=(RegexScratch&&) noexcept = default;
RegexScratch::~RegexScratch() = default;

Regex::Regex(std::string_view where, std::string_view pattern) : pattern_(pattern) {
  if (pattern.find("&&[") != std::string_view::npos) {
    throw Error(where, "regex '{}' intersects character classes (&&), which is not supported",
                pattern);
  }
  const std::string translated = with_unicode_white_space(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                            PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
  if (!code_) {
    throw Error(where, "regex '{}' does not compile: {} at offset {}", translated,
                message_of(error), offset);
  }
  has_jit_ = pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE) == 0;
}

std::optional<std::pair<std::size_t, std::size_t>> Regex::find(std::string_view text,
                                                               std::size_t from,
                                                               RegexScratch& scratch) const {
  const auto match = has_jit_ ? pcre2_jit_match : pcre2_match;
  const int result = match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                           from, PCRE2_NO_UTF_CHECK, scratch.data_.get(), scratch.context_.get());
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    throw Error("tokenizer", "regex '{}' failed at byte {} of {}: {}", pattern_, from, text.size(),
                message_of(result));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data_.get());
  return std::pair{bounds[0], bounds[1]};
}

}  // namespace sala
