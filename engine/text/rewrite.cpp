// Text and alignment are rebuilt together, step by step.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/rewrite.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/utf8.h"

namespace sala {
namespace {

struct Free {
  void operator()(utf8proc_uint8_t* text) const { std::free(text); }
};

/// Whether a character may change, or be changed by, the one before it: marks, and the vowels and
/// final consonants of Hangul. All others begin a stretch that normalises on its own.
bool attaches(char32_t c) {
  if (c < 0x300) return false;
  if (c >= 0x1160 && c <= 0x11FF) return true;
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_ME;
}

/// Whether a character that stands alone may not be its own normal form.
bool decomposes(char32_t c) {
  return c >= 0xC0 &&
         utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->decomp_seqindex != UINT16_MAX;
}

std::string compose(std::string_view text) {
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, Free> owned(composed);
  if (size < 0) throw Error("tokenizer", "NFC failed: {}", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(composed), static_cast<std::size_t>(size)};
}

class Rewriter {
 public:
  explicit Rewriter(const AlignedView& view) {
    from_.text = view.text;
    from_.source.reserve(view.text.size());
    for (std::size_t i = 0; i < view.text.size(); ++i) {
      from_.source.push_back(static_cast<std::uint32_t>(view.source_of(i)));
    }
  }

  void operator()(const Nfc& /*step*/) {
    const std::string_view text = from_.text;
    for (std::size_t begin = 0; begin < text.size();) {
      std::size_t end = begin;
      const char32_t first = next_code_point(text, end);
      const std::size_t alone = end;
      for (std::size_t next = end; end < text.size(); end = next) {
        if (!attaches(next_code_point(text, next))) break;
      }
      const std::string_view stretch = text.substr(begin, end - begin);
      const bool may_change = end != alone || decomposes(first);
      const std::string composed = may_change ? compose(stretch) : std::string();
      if (!may_change || composed == stretch) {
        keep(begin, end);
      } else {
        insert(composed, from_.source[begin]);
      }
      begin = end;
    }
    done();
  }

  void operator()(const Prepend& step) {
    if (step.unless_there && from_.text.starts_with(step.content)) return;
    if (step.at_start_only && from_.source.front() != 0) return;
    insert(step.content, from_.source.front());
    keep(0, from_.text.size());
    done();
  }

  void operator()(const Replace& step) {
    const std::string_view text = from_.text;
    std::size_t begin = 0;
    for (;;) {
      const std::size_t found = text.find(step.from, begin);
      if (found == std::string_view::npos) break;
      keep(begin, found);
      insert(step.to, from_.source[found]);
      begin = found + step.from.size();
    }
    keep(begin, text.size());
    done();
  }

  bool is_empty() const { return from_.text.empty(); }
  AlignedText take() { return std::move(from_); }

 private:
  void keep(std::size_t begin, std::size_t end) {
    to_.text.append(from_.text, begin, end - begin);
    to_.source.insert(to_.source.end(), from_.source.begin() + static_cast<std::ptrdiff_t>(begin),
                      from_.source.begin() + static_cast<std::ptrdiff_t>(end));
  }
  void insert(std::string_view text, std::uint32_t source) {
    to_.text += text;
    to_.source.insert(to_.source.end(), text.size(), source);
  }
  void done() {
    std::swap(from_, to_);
    to_.text.clear();
    to_.source.clear();
  }

  AlignedText from_;
  AlignedText to_;
};

}  // namespace

AlignedText rewrite(const std::vector<Rewrite>& steps, const AlignedView& view) {
  Rewriter rewriter(view);
  for (const Rewrite& step : steps) {
    if (rewriter.is_empty()) break;
    std::visit(rewriter, step);
  }
  return rewriter.take();
}

}  // namespace sala
