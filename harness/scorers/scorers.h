// The scoring functions, and what they share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "harness/scorer.h"

namespace sala {

/// RULER's string_match_all: the share of references found in the answer, ignoring case. Detail:
/// word, the share with neither letter nor digit beside; and for needles' values first, whether the
/// answer's first value is a right one, and distractors, how many are not.
Score score_ruler_all(const std::vector<std::string>& references, const Answer& answer);
/// RULER's string_match_part: 1 when any reference is found. Detail: word, as above.
Score score_ruler_part(const std::vector<std::string>& references, const Answer& answer);
/// 1 when the first run of digits equals the reference as a number.
Score score_passkey(const std::vector<std::string>& references, const Answer& answer);
/// Geometric mean of the probabilities of the prompt's tokens; detail: nll by position, in buckets
/// [2^b, 2^(b+1)). Throws Error when the log-probabilities are missing or not finite.
Score score_perplexity(const std::vector<std::string>& references, const Answer& answer);

// Other benchmarks. Where a scorer needs more than the right answers, the references say what.

/// OpenAI MRCR: similarity to the answer; 0 unless it begins with the random prefix. {answer,
/// prefix}.
Score score_mrcr(const std::vector<std::string>& references, const Answer& answer);
/// MRCR v2: similarity of what follows the answer's first 12 characters. {answer}.
Score score_mrcr_v2(const std::vector<std::string>& references, const Answer& answer);
/// 1 when the answer contains a gold answer, case and all; detail: the other three metrics.
Score score_nolima(const std::vector<std::string>& references, const Answer& answer);
/// Share of the phrases found, ignoring case.
Score score_niah_keyword(const std::vector<std::string>& references, const Answer& answer);
/// {target, question, label...}; detail: the score with labels taken as whole words.
Score score_babilong(const std::vector<std::string>& references, const Answer& answer);

/// Each the best value over the references. _line: the first line of the answer counts.
Score score_longbench_f1(const std::vector<std::string>& references, const Answer& answer);
Score score_longbench_f1_line(const std::vector<std::string>& references, const Answer& answer);
Score score_longbench_rouge(const std::vector<std::string>& references, const Answer& answer);
Score score_longbench_rouge_line(const std::vector<std::string>& references, const Answer& answer);
Score score_longbench_retrieval(const std::vector<std::string>& references, const Answer& answer);
Score score_longbench_count(const std::vector<std::string>& references, const Answer& answer);
Score score_longbench_code(const std::vector<std::string>& references, const Answer& answer);
/// {class, all classes...}.
Score score_longbench_class(const std::vector<std::string>& references, const Answer& answer);
/// The letter that "The correct answer is" names. {letter}.
Score score_longbench2(const std::vector<std::string>& references, const Answer& answer);

Score score_infinitebench_kv(const std::vector<std::string>& references, const Answer& answer);
Score score_infinitebench_number(const std::vector<std::string>& references, const Answer& answer);
Score score_infinitebench_code_run(const std::vector<std::string>& references,
                                   const Answer& answer);
/// {function, letter}.
Score score_infinitebench_code_debug(const std::vector<std::string>& references,
                                     const Answer& answer);
Score score_infinitebench_math_find(const std::vector<std::string>& references,
                                    const Answer& answer);
Score score_infinitebench_dialogue(const std::vector<std::string>& references,
                                   const Answer& answer);
/// {text, letter}.
Score score_infinitebench_choice(const std::vector<std::string>& references, const Answer& answer);
Score score_infinitebench_qa(const std::vector<std::string>& references, const Answer& answer);
Score score_infinitebench_qa_zh(const std::vector<std::string>& references, const Answer& answer);
Score score_infinitebench_sum(const std::vector<std::string>& references, const Answer& answer);
/// {number...}: the share that is right before the first wrong one.
Score score_infinitebench_math_calc(const std::vector<std::string>& references,
                                    const Answer& answer);
/// The same without the answer's first number, as the published code has it for GPT-4.
Score score_infinitebench_math_calc_gpt4(const std::vector<std::string>& references,
                                         const Answer& answer);

/// RULER's post-processing of a prediction: control characters to line feeds, white space stripped.
std::string ruler_post_process(std::string_view text);

/// Smallest number of bytes to insert, delete or replace that turns a into b.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// Class of an answer that lacks `reference`: empty; truncated (cut off inside the value, or before
/// one); garbled (at most 40 % of the value damaged); refusal; miss (another value); format (none).
std::string error_class(std::string_view answer, std::string_view reference, bool hit_token_limit);

}  // namespace sala
