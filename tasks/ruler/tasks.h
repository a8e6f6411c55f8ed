// RULER's tasks other than the needle family.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "harness/task.h"

namespace sala {

/// Variable tracking: all names that a value was passed on to.
std::unique_ptr<Task> make_vt(const char* name, const char* summary);
/// Common words extraction: the ten words that come most often in a numbered list.
std::unique_ptr<Task> make_cwe(const char* name, const char* summary);
/// Frequent words extraction: the three most frequent made-up words.
std::unique_ptr<Task> make_fwe(const char* name, const char* summary);
/// Question answering over squad.json among other paragraphs.
std::unique_ptr<Task> make_qa_squad(const char* name, const char* summary);
/// Question answering over hotpotqa.json, in two hops.
std::unique_ptr<Task> make_qa_hotpotqa(const char* name, const char* summary);

}  // namespace sala
