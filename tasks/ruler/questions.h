// Questions about documents: SQuAD, HotpotQA, or made up.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tasks/prose.h"

namespace sala {

struct Question {
  std::string text;
  std::vector<std::string> answers;
  std::vector<std::size_t> gold;  // documents that hold the answer
  std::vector<std::size_t> more;  // documents of the same article
  std::string cluster;            // questions with equal cluster share documents
};

struct QuestionSet {
  std::vector<std::string> documents;  // sorted and different, unless made up
  std::vector<Question> questions;
};

/// The answerable questions of squad.json (SQuAD 2.0's layout). Throws Error naming the file when
/// it is missing, malformed or has none.
QuestionSet read_squad(const std::vector<std::string>& data);

/// The questions of hotpotqa.json (HotpotQA's distractor layout). Throws as read_squad().
QuestionSet read_hotpotqa(const std::vector<std::string>& data);

/// Paragraphs about made-up people, and questions answered by one of them, or, with two hops, by
/// the paragraph that another one points to.
QuestionSet made_up_questions(const Prose& prose, int hops);

}  // namespace sala
