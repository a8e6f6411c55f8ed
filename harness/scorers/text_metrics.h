// Overlap of an answer with a reference text: F1 over words, ROUGE in two dialects.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sala {

/// Lower case, no ASCII punctuation, no a, an, the; the words that are left.
std::vector<std::string> normalised_words(std::string_view text);

/// F1 of two bags of items; 0 when they share nothing.
double bag_f1(std::vector<std::string> predicted, std::vector<std::string> wanted);

/// ROUGE-L F of the Python package `rouge`: sentences end at full stops, matches are sets of words.
double rouge_l_pltrdy(std::string_view predicted, std::string_view wanted);

/// ROUGE-Lsum F of the Python package `rouge_score` without stemming: sentences end at line feeds.
double rouge_lsum_google(std::string_view predicted, std::string_view wanted);

}  // namespace sala
