// RULER's prompt strings.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace sala {

/// What a family of tasks says; {names} are filled in.
struct RulerStrings {
  std::string_view task;
  std::string_view answer_prefix;
};

// NVIDIA/RULER commit c3f5e3b, scripts/data/synthetic/constants.py.
inline constexpr RulerStrings kNiahStrings{
    "Some special magic {type_needle_v} are hidden within the following text. Make sure to "
    "memorize it. I will quiz you about the {type_needle_v} afterwards.\n{context}\nWhat are all "
    "the special magic {type_needle_v} for {query} mentioned in the provided text?",
    " The special magic {type_needle_v} for {query} mentioned in the provided text are"};
inline constexpr RulerStrings kVtStrings{
    "Memorize and track the chain(s) of variable assignment hidden in the following "
    "text.\n\n{context}\nQuestion: Find all variables that are assigned the value {query} in the "
    "text above.",
    " Answer: According to the chain(s) of variable assignment in the text above, {num_v} "
    "variables are assigned the value {query}, they are: "};
inline constexpr RulerStrings kCweStrings{
    "Below is a numbered list of words. In these words, some appear more often than others. "
    "Memorize the ones that appear most often.\n{context}\nQuestion: What are the 10 most common "
    "words in the above list?",
    " Answer: The top 10 words that appear most often in the list are:"};
inline constexpr RulerStrings kFweStrings{
    "Read the following coded text and track the frequency of each coded word. Find the three most "
    "frequently appeared coded words. {context}\nQuestion: Do not provide any explanation. Please "
    "ignore the dots '....'. What are the three most frequently appeared words in the above coded "
    "text?",
    " Answer: According to the coded text above, the three most frequently appeared words are:"};
inline constexpr RulerStrings kQaStrings{
    "Answer the question based on the given documents. Only give me the answer and do not output "
    "any other words.\n\nThe following are given documents.\n\n{context}\n\nAnswer the question "
    "based on the given documents. Only give me the answer and do not output any other "
    "words.\n\nQuestion: {query}",
    " Answer:"};

}  // namespace sala
