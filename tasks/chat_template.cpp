// The table of known chat templates, and filling in names.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/chat_template.h"

#include <algorithm>
#include <iterator>

#include "engine/base/error.h"

namespace sala {
namespace {

struct Named {
  std::string_view name;
  std::string_view text;
};

// NVIDIA/RULER commit c3f5e3b, scripts/data/template.py.
constexpr Named kTemplates[] = {
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
};

constexpr std::string_view kTask = "{task_template}";

}  // namespace

std::string fill(std::string_view text, std::initializer_list<Slot> slots) {
  std::string filled;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      const std::size_t end = std::min(text.find_first_of("{}", at), text.size());
      filled.append(text, at, end - at);
      at = end;
      continue;
    }
    if (at + 1 < text.size() && text[at + 1] == c) {
      filled += c;
      at += 2;
      continue;
    }
    const std::size_t close = c == '{' ? text.find('}', at) : std::string_view::npos;
    const std::string_view name =
        close == std::string_view::npos ? "" : text.substr(at + 1, close - at - 1);
    const auto* slot =
        std::find_if(slots.begin(), slots.end(), [&](const Slot& s) { return s.name == name; });
    if (slot == slots.end()) {
      throw Error("template", "'{}' at byte {} is no slot; write {{{{ and }}}} for braces",
                  text.substr(at, std::min<std::size_t>(close - at, 20) + 1), at);
    }
    filled += slot->value;
    at = close + 1;
  }
  return filled;
}

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

ChatTemplate::ChatTemplate(std::string_view name_or_text) {
  const std::string_view text = chat_template_text(name_or_text);
  const std::size_t at = text.find(kTask);
  before_ = fill(text.substr(0, at), {});
  after_ = fill(text.substr(at + kTask.size()), {});
}

Draft ChatTemplate::wrap(Draft draft, std::size_t prefix_bytes) const {
  draft.text.insert(draft.text.size() - prefix_bytes, after_);
  draft.text.insert(0, before_);
  for (ByteSpan& needle : draft.needles) {
    needle.begin += before_.size();
    needle.end += before_.size();
  }
  return draft;
}

}  // namespace sala
