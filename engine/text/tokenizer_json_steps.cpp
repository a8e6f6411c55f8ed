// Each kind of step that is supported; every other is refused by name.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer_json_steps.h"

#include "engine/base/error.h"

namespace sala {
namespace {

using nlohmann::json;

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string nonempty(const JsonFile& file, const json& value, const std::string& field) {
  std::string text = file.text(value, field);
  if (text.empty()) throw Error(file.where, "{} is empty", field);
  return text;
}

Replace read_replace(const JsonFile& file, const json& step, const std::string& field) {
  const json& pattern = file.member(step, field, "pattern");
  const json& literal = file.member(pattern, field + ".pattern", "String");
  if (literal.is_null()) file.refuse(field + ".pattern", pattern, "a String");
  return {nonempty(file, literal, field + ".pattern.String"),
          file.text(file.member(step, field, "content"), field + ".content")};
}

/// Metaspace: spaces become a mark, one is put in front, and each begins a piece.
void read_metaspace(const JsonFile& file, const json& step, const std::string& field,
                    PreTokenizerSteps& steps) {
  const std::string mark =
      nonempty(file, file.member(step, field, "replacement"), field + ".replacement");
  const bool adds_space = file.flag(step, field, "add_prefix_space", true);
  const json& scheme = file.member(step, field, "prepend_scheme");
  const bool is_first = scheme == "first";
  const bool is_never = scheme == "never" || (scheme.is_null() && !adds_space);
  if (!is_first && !is_never && !scheme.is_null() && scheme != "always") {
    file.refuse(field + ".prepend_scheme", scheme, "always, first or never");
  }
  steps.prefixes.emplace_back(Replace{" ", mark});
  if (!is_never) steps.prefixes.emplace_back(Prepend{mark, true, is_first});
  if (file.flag(step, field, "split", true)) steps.splits.cut_before(mark);
}

void read_split(const JsonFile& file, const json& step, const std::string& field,
                PreTokenizer& splits) {
  const json& behavior = file.member(step, field, "behavior");
  if (behavior != "Isolated") file.refuse(field + ".behavior", behavior, "Isolated");
  if (file.flag(step, field, "invert", false)) file.refuse(field + ".invert", true, "false");
  const json& pattern = file.member(step, field, "pattern");
  const json& regex = file.member(pattern, field + ".pattern", "Regex");
  if (!regex.is_null()) {
    splits.isolate(Regex(file.where, file.text(regex, field + ".pattern.Regex")));
  } else {
    splits.isolate(nonempty(file, file.member(pattern, field + ".pattern", "String"),
                            field + ".pattern.String"));
  }
}

}  // namespace

std::vector<Rewrite> read_normalizer(const JsonFile& file) {
  std::vector<Rewrite> steps;
  file.for_each_step(
      file.member("normalizer"), "normalizer", "normalizers",
      [&](const json& step, const std::string& field) {
        const json& type = file.member(step, field, "type");
        if (type == "NFC") {
          steps.emplace_back(Nfc{});
        } else if (type == "Prepend") {
          steps.emplace_back(Prepend{
              .content = file.text(file.member(step, field, "prepend"), field + ".prepend")});
        } else if (type == "Replace") {
          steps.emplace_back(read_replace(file, step, field));
        } else {
          file.refuse(field + ".type", type, "NFC, Prepend, Replace or Sequence");
        }
      });
  return steps;
}

PreTokenizerSteps read_pre_tokenizer(const JsonFile& file) {
  PreTokenizerSteps steps;
  const auto before_splits = [&](const std::string& field) {
    if (steps.splits.is_empty()) return;
    throw Error(file.where,
                "{} puts a space in front of pieces that another step has cut, which is "
                "not supported",
                field);
  };
  file.for_each_step(
      file.member("pre_tokenizer"), "pre_tokenizer", "pretokenizers",
      [&](const json& step, const std::string& field) {
        const json& type = file.member(step, field, "type");
        if (type == "ByteLevel") {
          steps.byte_level = true;
          if (file.flag(step, field, "add_prefix_space", true)) {
            before_splits(field);
            steps.prefixes.emplace_back(Prepend{.content = " ", .unless_there = true});
          }
          if (file.flag(step, field, "use_regex", true)) {
            steps.splits.isolate(Regex(file.where, kGpt2Pattern));
          }
        } else if (type == "Metaspace") {
          before_splits(field);
          read_metaspace(file, step, field, steps);
        } else if (type == "Digits") {
          const bool individual = file.flag(step, field, "individual_digits", false);
          steps.splits.isolate(Regex(file.where, individual ? R"(\p{N})" : R"(\p{N}+)"));
        } else if (type == "Split") {
          read_split(file, step, field, steps.splits);
        } else {
          file.refuse(field + ".type", type, "ByteLevel, Metaspace, Split, Digits or Sequence");
        }
      });
  return steps;
}

DecoderSteps read_decoder(const JsonFile& file) {
  DecoderSteps steps;
  bool is_fused = false;
  const json& decoder = file.member("decoder");
  if (decoder.is_null()) {
    file.refuse("decoder", decoder, "ByteLevel, or a Sequence with ByteFallback");
  }
  file.for_each_step(
      decoder, "decoder", "decoders", [&](const json& step, const std::string& field) {
        const json& type = file.member(step, field, "type");
        if (type == "ByteLevel") {
          steps.byte_level = true;
        } else if (type == "ByteFallback") {
          steps.byte_fallback = true;
        } else if (type == "Fuse") {
          is_fused = true;
        } else if (type == "Replace" && !steps.replace) {
          steps.replace = read_replace(file, step, field);
        } else if (type == "Metaspace" && !steps.replace) {
          steps.replace = Replace{
              nonempty(file, file.member(step, field, "replacement"), field + ".replacement"), " "};
          const bool adds_space = file.flag(step, field, "add_prefix_space", true);
          const json& scheme = file.member(step, field, "prepend_scheme");
          const bool is_never = scheme == "never" || (scheme.is_null() && !adds_space);
          if (!is_never) steps.leading = LeadingSpace::drop_all_of_token;
        } else if (type == "Strip") {
          const bool is_one_space = is_fused && file.member(step, field, "content") == " " &&
                                    file.member(step, field, "start") == 1 &&
                                    file.member(step, field, "stop") == 0;
          if (!is_one_space) file.refuse(field, step, "one space at the start, behind Fuse");
          steps.leading = LeadingSpace::drop_one;
        } else {
          file.refuse(field + ".type", type,
                      "ByteLevel, ByteFallback, Fuse, Strip and one of Replace or Metaspace");
        }
      });
  return steps;
}

}  // namespace sala
