// The texts around a user's turn that models were trained on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace sala {

/// The text of a chat template with its slot {task_template}, given by one of the known names or as
/// itself; "base" is the slot alone. Throws Error listing the names.
std::string_view chat_template_text(std::string_view name_or_text);

/// The name of the chat template of a model folder, from chat_template.jinja or
/// tokenizer_config.json: "base" when there is none, empty when it is none of the known ones. Where
/// a template lets thinking be switched off, it is: the answers of benchmarks are too short for it.
std::string find_chat_template(const std::filesystem::path& model_folder);

}  // namespace sala
