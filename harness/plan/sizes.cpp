// Reads and prints token counts and bytes.
// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/sizes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/base/error.h"

namespace sala {
namespace {

constexpr std::array<std::pair<char, std::int64_t>, 3> kSuffixes{
    {{'k', 1LL << 10}, {'M', 1LL << 20}, {'G', 1LL << 30}}};

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

void append_range(std::string_view item, std::vector<std::int64_t>& sizes) {
  const auto dash = item.find('-');
  const auto star = item.find('*', dash);
  if (star == std::string_view::npos) {
    throw Error("size", "range '{}' has no factor, expected FIRST-LAST*FACTOR such as 4k-1M*4",
                item);
  }
  const std::int64_t first = parse_size(item.substr(0, dash));
  const std::int64_t last = parse_size(item.substr(dash + 1, star - dash - 1));
  const std::int64_t factor = parse_size(item.substr(star + 1));
  if (factor < 2) throw Error("size", "range '{}' has factor {}, expected 2 or more", item, factor);
  if (last < first) {
    throw Error("size", "range '{}' ends before it begins, expected FIRST-LAST*FACTOR", item);
  }
  for (std::int64_t value = first;; value *= factor) {
    sizes.push_back(value);
    if (value > last / factor) break;
  }
}

}  // namespace

std::int64_t parse_size(std::string_view text) {
  const std::string_view trimmed = trim(text);
  std::string_view digits = trimmed;
  std::int64_t unit = 1;
  for (const auto& [letter, factor] : kSuffixes) {
    if (!digits.empty() && (digits.back() == letter || digits.back() == (letter ^ 0x20))) {
      unit = factor;
      digits.remove_suffix(1);
      break;
    }
  }
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_number = status == std::errc{} && end == digits.data() + digits.size();
  if (!is_number || value < 1 || value > std::numeric_limits<std::int64_t>::max() / unit) {
    throw Error("size", "cannot read '{}', expected a whole number from 1, such as 512, 4k or 1M",
                trimmed);
  }
  return value * unit;
}

std::vector<std::int64_t> parse_sizes(std::string_view text) {
  std::vector<std::int64_t> sizes;
  for (std::string_view rest = text;;) {
    const auto comma = rest.find(',');
    const std::string_view item = trim(rest.substr(0, comma));
    if (item.find('-', 1) != std::string_view::npos) {
      append_range(item, sizes);
    } else {
      sizes.push_back(parse_size(item));
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

std::string format_size(std::int64_t tokens) {
  for (auto suffix = kSuffixes.rbegin(); suffix != kSuffixes.rend(); ++suffix) {
    if (tokens != 0 && tokens % suffix->second == 0) {
      return fmt::format("{}{}", tokens / suffix->second, suffix->first);
    }
  }
  return std::to_string(tokens);
}

std::string format_bytes(std::int64_t bytes) {
  constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  const double size = std::abs(value);
  return fmt::format("{:.{}f} {}", value, size < 9.995 ? 2 : size < 99.95 ? 1 : 0, kUnits[unit]);
}

}  // namespace sala
