// Text as the benchmarks' Python code sees it: code points, words, replacements.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace sala {

std::u32string code_points(std::string_view text);

/// Runs of non-white-space, as Python's str.split() gives them.
std::vector<std::string> split_words(std::string_view text);

/// At every occurrence of the separator; empty pieces are kept.
std::vector<std::string> split_at(std::string_view text, std::string_view separator);

/// All non-overlapping occurrences, left to right, in one pass.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

/// A space for every occurrence of each string, one string after the other.
std::string blank_out(std::string_view text, std::initializer_list<std::string_view> strings);

/// Maximal runs of ASCII digits.
std::vector<std::string> digit_runs(std::string_view text);

/// The first line, after leading line feeds.
std::string_view first_line(std::string_view text);

bool contains(std::string_view text, std::string_view part);

}  // namespace sala
