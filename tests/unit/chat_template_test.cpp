// Slots and turns of a chat.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/chat_template.h"

#include <gtest/gtest.h>

#include "harness/task.h"
#include "tests/expect_error.h"

namespace sala {
namespace {

TEST(Fill, replaces_each_slot_once_and_leaves_what_it_filled_in_alone) {
  EXPECT_EQ(fill("{a} and {b}, {a}", {{"a", "{b}"}, {"b", "2"}, {"unused", "3"}}),
            "{b} and 2, {b}");
  EXPECT_EQ(fill("{{a}} }}{{", {{"a", "1"}}), "{a} }{");
  EXPECT_EQ(fill("", {}), "");
}

TEST(Fill, any_other_brace_is_an_error) {
  for (const char* text : {"{b}", "{", "}", "{a", "a}", "{{{a}", "{}"}) {
    EXPECT_THROW(fill(text, {{"c", "1"}}), Error) << text;
  }
}

TEST(ChatTemplate, puts_the_task_into_the_turn_and_the_prefix_behind_it) {
  const ChatTemplate chat("<user>{task_template}<model>{{}}");
  const Draft draft = chat.wrap({"task prefix", {{0, 4}}}, 7);
  EXPECT_EQ(draft.text, "<user>task<model>{} prefix");
  EXPECT_EQ(draft.needles[0].begin, 6U);
  EXPECT_EQ(draft.needles[0].end, 10U);
  EXPECT_EQ(ChatTemplate("base").wrap({"text", {}}, 0).text, "text");
}

TEST(ChatTemplate, an_unknown_name_lists_the_known_ones) {
  testing::expect_error([] { ChatTemplate("llama9"); }, {"llama9", "meta-llama3"});
}

TEST(ChatTemplate, every_task_keeps_its_limit_in_a_turn_and_ends_with_its_prefix) {
  const auto words = make_whitespace_tokenizer();
  for (const char* name : {"niah_single_2", "passkey", "vt", "cwe", "fwe", "qa_1"}) {
    for (const char* mode : {"strict", "official"}) {
      if (std::string_view(mode) == "official" && std::string_view(name) != "vt") continue;
      const TaskOptions options{2000, 1, {}, mode, "RWKV"};
      const Sample sample = make_task(name)->make(options, 0, *words);
      EXPECT_LE(static_cast<std::int64_t>(sample.prompt_ids.size()) + sample.max_new_tokens, 2000);
      EXPECT_TRUE(sample.prompt.starts_with("User: hi\n\nAssistant: Hi.")) << name;
      EXPECT_TRUE(sample.prompt.ends_with("\n\nAssistant:" + sample.answer_prefix)) << name;
    }
  }
}

TEST(ChatTemplate, a_spelled_out_bos_is_not_doubled) {
  const auto tiny =
      load_tokenizer(std::string(SALA_TEST_SOURCE_DIR) + "/tests/golden/data/tiny_tokenizer");
  const auto make = [&](const char* chat) {
    return make_task("niah_single_1")->make({900, 1, {}, "strict", chat}, 0, *tiny).prompt_ids;
  };
  for (const char* chat : {"base", "<s>{task_template}"}) {
    const auto ids = make(chat);
    EXPECT_EQ(ids[0], *tiny->bos()) << chat;
    EXPECT_NE(ids[1], *tiny->bos()) << chat;
  }
}

}  // namespace
}  // namespace sala
