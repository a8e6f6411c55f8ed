// What `sala generate` and `sala run` make of the chat template that a model folder brings.
// SPDX-License-Identifier: Apache-2.0
#include <SQLiteCpp/SQLiteCpp.h>

#include <nlohmann/json.hpp>

#include "tests/run_sala.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

using nlohmann::json;

constexpr const char* kChatMl = "<|im_start|>{{ message.content }}<|im_end|>";
// 256 byte tokens: one a byte, and BOS.
constexpr std::int64_t kTurnBytes =
    std::string_view("<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n").size();

class ChatTemplateTest : public SalaTest {
 protected:
  void SetUp() override {
    SalaTest::SetUp();
    TinyOptions options;
    options.changes["max_position_embeddings"] = 8192;
    write_tiny_model(folder_ / "chat", options);
  }
  void bring(const char* jinja) const {
    write_file(folder_ / "chat" / "chat_template.jinja", jinja);
  }
  Finished generate(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> command{
        "generate",     "--model", folder_ / "chat", "--text",   "hello",
        "--max-tokens", "1",       "--json",         "--device", "cpu"};
    command.insert(command.end(), more.begin(), more.end());
    return sala(command);
  }
  std::int64_t prompt_tokens(const std::vector<std::string>& more = {}) const {
    const Finished run = generate(more);
    EXPECT_EQ(run.code, 0) << run.err;
    return json::parse(run.out)["prompt_tokens"];
  }
};

TEST_F(ChatTemplateTest, a_text_is_put_into_the_models_own_turn_unless_told_otherwise) {
  EXPECT_EQ(prompt_tokens(), 1 + 5);
  bring(kChatMl);
  EXPECT_EQ(prompt_tokens(), 1 + 5 + kTurnBytes);
  EXPECT_EQ(prompt_tokens({"--chat-template", "base"}), 1 + 5);
  EXPECT_EQ(prompt_tokens({"--chat-template", "<s>[{task_template}]"}), 1 + 7);
}

TEST_F(ChatTemplateTest, an_unknown_template_asks_for_a_name) {
  bring("{{ message.content }}");
  const Finished run = generate();
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find("--chat-template"), std::string::npos) << run.err;
  EXPECT_EQ(prompt_tokens({"--chat-template", "base"}), 1 + 5);
}

TEST_F(ChatTemplateTest, results_carry_the_text_of_the_template) {
  bring(kChatMl);
  const Finished run = sala({"run", "--suite", folder_ / "suite.toml", "--model", folder_ / "chat",
                             "--baseline", "none", "--tasks", "passkey", "--lengths", "2k",
                             "--samples", "1", "--db", db_, "--device", "cpu", "--no-progress"});
  ASSERT_EQ(run.code, 0) << run.err;
  SQLite::Database database(db_.string(), SQLite::OPEN_READONLY);
  const auto params = json::parse(database.execAndGet("SELECT params FROM cell").getString());
  EXPECT_EQ(params["chat_template"],
            "<|im_start|>user\n{task_template}<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace
}  // namespace sala::testing
