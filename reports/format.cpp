// How numbers and foreign text are written in reports.
// SPDX-License-Identifier: Apache-2.0
#include "reports/format.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

namespace sala {
namespace {

constexpr const char* kMinus = "\u2212";

/// Bytes of the UTF-8 sequence that starts at text[at], or 0 when it is not valid there.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(at);
  std::size_t length = 0;
  std::uint32_t code = 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
    code = first & 0x1F;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    code = first & 0x0F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    code = first & 0x07;
  } else {
    return 0;
  }
  if (at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
    code = (code << 6) | (byte(at + i) & 0x3F);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return overlong || surrogate || code > 0x10FFFF ? 0 : length;
}

}  // namespace

std::string length_text(std::int64_t tokens) {
  constexpr std::int64_t k = 1024;
  if (tokens >= k * k && tokens % (k * k) == 0) return fmt::format("{}M", tokens / (k * k));
  if (tokens >= k && tokens % k == 0) return fmt::format("{}k", tokens / k);
  return fmt::format("{}", tokens);
}

std::string number_text(double value) {
  if (value == 0) return "0";
  const int digits = static_cast<int>(std::floor(std::log10(std::fabs(value))));
  return fmt::format("{:.{}f}", value, std::clamp(2 - digits, 0, 12));
}

std::string percent_text(double share) {
  return fmt::format("{:.1f}", 100 * share);
}

std::string percent_interval_text(Interval shares) {
  return fmt::format("{:.1f}\u2013{:.1f}", 100 * shares.low, 100 * shares.high);
}

std::string points_text(double difference) {
  std::string text = fmt::format("{:.1f}", std::fabs(100 * difference));
  if (text != "0.0") text.insert(0, difference < 0 ? kMinus : "+");
  return text;
}

std::string p_text(double p) {
  return p < 0.001 ? "<0.001" : fmt::format("{:.3f}", p);
}

std::string duration_text(double ns) {
  if (ns >= 1e9) return number_text(ns / 1e9) + "\u00a0s";
  if (ns >= 1e6) return number_text(ns / 1e6) + "\u00a0ms";
  return number_text(ns / 1e3) + "\u00a0\u00b5s";
}

std::string bytes_text(double bytes) {
  constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (std::fabs(bytes) >= 1024 && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  return number_text(bytes) + "\u00a0" + units[unit];
}

std::string utc_text(std::int64_t us) {
  const auto seconds = static_cast<std::time_t>(us / 1'000'000);
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(seconds));
}

std::string plain_text(std::string_view text, std::size_t limit) {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = utf8_length(text, at);
    if (out.size() + std::max<std::size_t>(length, 3) > limit) return out + "\u2026";
    if (length == 0) {
      out += "\uFFFD";
      ++at;
      continue;
    }
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte == '\n') {
      out += "\u21B5";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += byte == '\t' ? " " : "\uFFFD";
    } else {
      out += text.substr(at, length);
    }
    at += length;
  }
  return out;
}

std::string html_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string shell_quote(std::string_view argument) {
  constexpr std::string_view safe =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./,:=+@%";
  if (!argument.empty() && argument.find_first_not_of(safe) == std::string_view::npos) {
    return std::string(argument);
  }
  std::string out = "'";
  for (const char c : argument) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace sala
