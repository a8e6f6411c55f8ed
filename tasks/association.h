// A fact that answers the question only to those who know the world: in the spirit of NoLiMa.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "harness/task.h"

namespace sala {

/// Four people with a fact each, spread over the filler; the question about one of them shares no
/// word with the fact. Facts and names: data/text/associations.json.
std::unique_ptr<Task> make_association(const char* name, const char* summary);

/// The same prompts with a question in the fact's own words: what finding it costs without the
/// inference.
std::unique_ptr<Task> make_association_direct(const char* name, const char* summary);

}  // namespace sala
