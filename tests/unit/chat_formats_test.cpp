// Which chat template a model folder brings, and the table of those that are known.
// SPDX-License-Identifier: Apache-2.0
#include "engine/text/chat_formats.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/expect_error.h"
#include "tests/tiny_model.h"

namespace sala {
namespace {

using nlohmann::json;

// Parts of the published templates by which they are recognised.
constexpr const char* kQwen3 =
    R"({%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }})"
    R"({%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }})"
    R"({%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %})";
constexpr const char* kMiniCpm4 =
    R"({% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + )"
    R"('\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";
constexpr const char* kThinkingOnly =
    R"({{- '<|im_start|>' + message.role }}{{- '<|im_end|>' }}{{- '<|im_start|>assistant\n<think>\n' }})";
constexpr const char* kQwen25 =
    R"({{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud.<|im_end|>\n' }})";
constexpr const char* kLlama3 =
    R"({% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + )"
    R"('<|eot_id|>' %})";
constexpr const char* kLlama31 =
    R"({%- set date_string = "26 Jul 2024" %}{{- "<|start_header_id|>system<|end_header_id|>\n\n" }})"
    R"({{- "Cutting Knowledge Date: December 2023\n" }}{{- "<|eot_id|>" }})";
constexpr const char* kLlama2 =
    R"({% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' %}{{ bos_token + '[INST] ' + content + ' [/INST]' }})";

class ChatFormats : public ::testing::Test {
 protected:
  std::string with_config(const json& chat_template) {
    testing::write_file(folder_.path() / "tokenizer_config.json",
                        json{{"chat_template", chat_template}}.dump());
    return find_chat_template(folder_.path());
  }

  testing::TempFolder folder_;
};

TEST_F(ChatFormats, the_families_templates_are_recognised) {
  EXPECT_EQ(with_config(kQwen3), "chatml-no-thinking");
  EXPECT_EQ(with_config(kMiniCpm4), "chatml");
  EXPECT_EQ(with_config(kThinkingOnly), "chatml-thinking");
  EXPECT_EQ(with_config(kLlama3), "meta-llama3");
  EXPECT_EQ(with_config(kLlama31), "llama3.1");
  EXPECT_EQ(with_config(kLlama2), "meta-chat");
}

TEST_F(ChatFormats, a_base_model_has_none) {
  EXPECT_EQ(find_chat_template(folder_.path()), "base");
  EXPECT_EQ(with_config(nullptr), "base");
}

TEST_F(ChatFormats, an_unknown_template_is_not_taken_for_another) {
  EXPECT_EQ(with_config("{{ message.content }}"), "");
  EXPECT_EQ(with_config(kQwen25), "") << "it writes a system turn of its own";
}

TEST_F(ChatFormats, the_template_file_comes_before_the_config) {
  EXPECT_EQ(with_config(kLlama3), "meta-llama3");
  testing::write_file(folder_.path() / "chat_template.jinja", kQwen3);
  EXPECT_EQ(find_chat_template(folder_.path()), "chatml-no-thinking");
}

TEST_F(ChatFormats, of_several_the_default_counts) {
  EXPECT_EQ(with_config({{{"name", "tool_use"}, {"template", "x"}},
                         {{"name", "default"}, {"template", kMiniCpm4}}}),
            "chatml");
  testing::expect_error([&] { with_config({{{"name", "rag"}, {"template", "x"}}}); },
                        {"tokenizer_config.json", "default"});
  testing::expect_error([&] { with_config(3); }, {"chat_template", "string"});
}

TEST_F(ChatFormats, every_recognised_name_is_in_the_table_with_one_slot) {
  for (const char* jinja : {kQwen3, kMiniCpm4, kThinkingOnly, kLlama3, kLlama31, kLlama2}) {
    const std::string text(chat_template_text(with_config(jinja)));
    const std::size_t slot = text.find("{task_template}");
    ASSERT_NE(slot, std::string::npos) << text;
    EXPECT_EQ(text.find("{task_template}", slot + 1), std::string::npos) << text;
  }
  EXPECT_EQ(chat_template_text("base"), "{task_template}");
  EXPECT_EQ(chat_template_text("<a>{task_template}<b>"), "<a>{task_template}<b>");
  testing::expect_error([] { chat_template_text("llama9"); }, {"llama9", "chatml", "meta-llama3"});
}

TEST_F(ChatFormats, thinking_is_an_empty_block_or_an_open_one) {
  const std::string turn = "<|im_start|>user\n{task_template}<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(chat_template_text("chatml"), turn);
  EXPECT_EQ(chat_template_text("chatml-thinking"), turn + "<think>\n");
  EXPECT_EQ(chat_template_text("chatml-no-thinking"), turn + "<think>\n\n</think>\n\n");
}

}  // namespace
}  // namespace sala
