// The table of known templates, and the marks by which a checkpoint's own is recognised.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/chat_formats.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/text/json_file.h"

namespace sala {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Named {
  std::string_view name;
  std::string_view text;
};

constexpr Named kTemplates[] = {
    // NVIDIA/RULER commit c3f5e3b, scripts/data/template.py.
    {"base", "{task_template}"},
    {"meta-chat", "[INST] {task_template} [/INST]"},
    {"vicuna-chat",
     "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
     "helpful, detailed, and polite answers to the user's questions. USER: {task_template} "
     "ASSISTANT:"},
    {"lwm-chat", "You are a helpful assistant. USER: {task_template} ASSISTANT: "},
    {"command-r-chat",
     "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>{task_template}<|END_OF_TURN_TOKEN|><|START_"
     "OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
    {"chatglm-chat", "[gMASK]sop<|user|> \n {task_template}<|assistant|> \n "},
    {"RWKV",
     "User: hi\n\nAssistant: Hi. I am your assistant and I will provide expert full response in "
     "full details. Please feel free to ask any question and I will always answer it\n\nUser: "
     "{task_template}\n\nAssistant:"},
    {"Phi3", "<|user|>\n{task_template}<|end|>\n<|assistant|>\n"},
    {"meta-llama3",
     "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{task_template}<|eot_id|><|"
     "start_header_id|>assistant<|end_header_id|>\n\n"},
    {"jamba",
     "<|startoftext|><|bom|><|system|> <|eom|><|bom|><|user|> "
     "{task_template}<|eom|><|bom|><|assistant|>"},
    {"nemotron5-instruct",
     "<SPECIAL_10>System\n\n<SPECIAL_11>User\n{task_template}\n<SPECIAL_11>Assistant\n"},
    // Qwen3, MiniCPM4 and MiniCPM-SALA, as their own templates write one user's turn.
    {"chatml", "<|im_start|>user\n{task_template}<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml-thinking",
     "<|im_start|>user\n{task_template}<|im_end|>\n<|im_start|>assistant\n<think>\n"},
    {"chatml-no-thinking",
     "<|im_start|>user\n{task_template}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"},
    // Llama 3.1, whose template puts two dates into a system turn.
    {"llama3.1",
     "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: "
     "December 2023\nToday Date: 26 Jul "
     "2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{task_template}<|eot_id|><|"
     "start_"
     "header_id|>assistant<|end_header_id|>\n\n"},
};

constexpr std::string_view kTask = "{task_template}";

/// A template is the first of these that has all the marks of `with` and none of `without`.
struct Recognised {
  std::string_view name;
  std::initializer_list<std::string_view> with;
  std::initializer_list<std::string_view> without;
};

const Recognised kRecognised[] = {
    {"llama3.1",
     {"<|start_header_id|>", "Cutting Knowledge Date: December 2023", "26 Jul 2024"},
     {}},
    {"meta-llama3", {"<|start_header_id|>", "<|eot_id|>"}, {"Cutting Knowledge Date"}},
    // Qwen2.5 and others say who they are where no system turn is given.
    {"", {"<|im_start|>", "You are "}, {}},
    {"chatml-no-thinking", {"<|im_start|>", "<|im_end|>", "enable_thinking"}, {}},
    {"chatml-thinking", {"<|im_start|>", "<|im_end|>", "assistant\\n<think>"}, {}},
    {"chatml", {"<|im_start|>", "<|im_end|>"}, {}},
    {"meta-chat", {"[INST]", "<<SYS>>"}, {}},
};

std::string recognise(std::string_view jinja) {
  const auto has = [&](std::string_view mark) {
    return jinja.find(mark) != std::string_view::npos;
  };
  const auto* found =
      std::find_if(std::begin(kRecognised), std::end(kRecognised), [&](const Recognised& r) {
        return std::all_of(r.with.begin(), r.with.end(), has) &&
               std::none_of(r.without.begin(), r.without.end(), has);
      });
  return found == std::end(kRecognised) ? "" : std::string(found->name);
}

/// chat_template is a text, or a list of named ones.
std::string read_template(const JsonFile& file) {
  const json& value = file.member("chat_template");
  if (!value.is_array()) return value.is_null() ? "" : file.text(value, "chat_template");
  for (const json& entry : value) {
    if (file.member(entry, "chat_template[]", "name") == "default") {
      return file.text(file.member(entry, "chat_template[]", "template"),
                       "chat_template[].template");
    }
  }
  throw Error(file.where, "chat_template lists none with the name default");
}

}  // namespace

std::string_view chat_template_text(std::string_view name_or_text) {
  if (name_or_text.find(kTask) != std::string_view::npos) return name_or_text;
  const auto* found = std::find_if(std::begin(kTemplates), std::end(kTemplates),
                                   [&](const Named& known) { return known.name == name_or_text; });
  if (found != std::end(kTemplates)) return found->text;
  std::string names;
  for (const Named& known : kTemplates) {
    if (!names.empty()) names += ", ";
    names += known.name;
  }
  throw Error("--chat-template", "'{}' is neither a text with {} nor one of the known names: {}",
              name_or_text, kTask, names);
}

std::string find_chat_template(const fs::path& model_folder) {
  std::string jinja;
  if (const fs::path path = model_folder / "chat_template.jinja"; file_exists(path)) {
    jinja = read_checkpoint_text(path);
  } else if (const fs::path config = model_folder / "tokenizer_config.json"; file_exists(config)) {
    jinja = read_template(JsonFile(config, read_checkpoint_text(config)));
  }
  return jinja.empty() ? "base" : recognise(jinja);
}

}  // namespace sala
