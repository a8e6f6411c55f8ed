// RULER's five generator scripts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tasks/niah.h"
#include "tasks/ruler/essay.h"
#include "tasks/ruler/official.h"
#include "tasks/ruler/questions.h"
#include "tasks/ruler/words.h"

namespace sala {

// What a generator is given by reference or pointer must outlive it.

/// niah.py; `words` and `essay` may be null where the task needs none.
std::unique_ptr<OfficialGenerator> make_official_niah(const OfficialCell& cell,
                                                      const NiahSpec& spec, const KeyWords* words,
                                                      const Essay* essay);

/// variable_tracking.py; `bare_frame` is the cell's without its chat template.
std::unique_ptr<OfficialGenerator> make_official_vt(const OfficialCell& cell,
                                                    std::string bare_frame);

using WordSource = std::function<const std::vector<std::string>&()>;

/// common_words_extraction.py; `more_words` is asked when a list needs more than `words`.
std::unique_ptr<OfficialGenerator> make_official_cwe(OfficialCell cell,
                                                     const std::vector<std::string>& words,
                                                     WordSource more_words);

/// freq_words_extraction.py.
std::unique_ptr<OfficialGenerator> make_official_fwe(OfficialCell cell);

/// qa.py.
std::unique_ptr<OfficialGenerator> make_official_qa(OfficialCell cell,
                                                    const QuestionSet& questions);

}  // namespace sala
