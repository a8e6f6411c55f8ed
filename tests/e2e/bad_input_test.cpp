// What `sala generate` and `sala logits` refuse: exit code 2, one line that names file and field.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/run_sala.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

using nlohmann::json;

class BadInputTest : public SalaTest {
 protected:
  void SetUp() override {
    SalaTest::SetUp();
    model_ = folder_ / "model";
    restore();
  }
  void restore() const {
    std::filesystem::remove_all(model_);
    TinyOptions options;
    options.vocab = 258;  // as many ids as the tokenizer has
    write_tiny_model(model_, options);
    write_file(folder_ / "ids.json", "[2, 3, 4]");
  }
  /// Generates from ids.json, or from what `prompt` says.
  Finished generate(const std::vector<std::string>& prompt = {}) const {
    std::vector<std::string> command{"generate", "--model",   model_, "--max-tokens",
                                     "2",        "--threads", "1"};
    const std::vector<std::string> ids{"--tokens", folder_ / "ids.json"};
    const auto& source = prompt.empty() ? ids : prompt;
    command.insert(command.end(), source.begin(), source.end());
    return sala(command);
  }
  static void expect_refusal(const Finished& run, std::initializer_list<std::string> parts) {
    EXPECT_EQ(run.code, 2) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(run.err.rfind("error: ", 0), 0U) << run.err;
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
    for (const std::string& part : parts) {
      EXPECT_NE(run.err.find(part), std::string::npos) << part << " in " << run.err;
    }
  }
  /// Refused with the model as `damage` leaves it; the model is whole again afterwards.
  template <typename Damage>
  void expect_model_refused(const Damage& damage, std::initializer_list<std::string> parts) const {
    damage();
    expect_refusal(generate(), parts);
    restore();
  }
  void change_config(const char* field, const json& value) const {
    json config = json::parse(read_all(model_ / "config.json"));
    config[field] = value;
    write_file(model_ / "config.json", config.dump());
  }

  std::filesystem::path model_;
};

TEST_F(BadInputTest, damaged_weights_are_named) {
  const auto file = model_ / "model.safetensors";
  const Finished whole = generate();
  ASSERT_EQ(whole.code, 0) << whole.err;
  expect_model_refused([&] { std::filesystem::resize_file(file, file_size(file) - 1); },
                       {"model.safetensors", "cut short"});
  expect_model_refused([&] { write_file(file, std::string(8, '\x7f')); },
                       {"model.safetensors", "header length"});
  expect_model_refused([&] { std::filesystem::remove(file); }, {"model.safetensors"});
  expect_model_refused(
      [&] {
        const json map = {{"model.norm.weight", "model-00002-of-00002.safetensors"}};
        write_file(model_ / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
        std::filesystem::remove(file);
      },
      {"model.safetensors.index.json", "model-00002-of-00002.safetensors", "missing"});
  expect_model_refused([&] { change_config("intermediate_size", 96); },
                       {"model.safetensors", "mlp", "[80, 48]", "[96, 48]"});
}

TEST_F(BadInputTest, a_config_that_cannot_be_followed_is_named) {
  expect_model_refused([&] { write_file(model_ / "config.json", "{\"hidden_size\": "); },
                       {"config.json", "not valid JSON"});
  expect_model_refused([&] { change_config("model_type", "mamba"); },
                       {"config.json", "'model_type'", "mamba"});
  expect_model_refused(
      [&] { change_config("mixer_types", {"minicpm4", "hyena", "lightning-attn", "minicpm4"}); },
      {"config.json", "'mixer_types[1]'", "hyena"});
}

TEST_F(BadInputTest, a_tokenizer_without_a_byte_names_it) {
  expect_model_refused(
      [&] {
        json tokenizer = json::parse(read_all(model_ / "tokenizer.json"));
        tokenizer["model"]["vocab"].erase("A");
        write_file(model_ / "tokenizer.json", tokenizer.dump());
      },
      {"tokenizer.json", "0x41"});
}

TEST_F(BadInputTest, prompts_that_are_none_are_refused) {
  const auto tokens = [&](const std::string& text) {
    write_file(folder_ / "ids.json", text);
    return generate();
  };
  expect_refusal(tokens("[]"), {"empty"});
  expect_refusal(tokens("[2, 300]"), {"token 300", "position 1"});
  expect_refusal(tokens("[2, -1]"), {"ids.json", "token ids"});
  expect_refusal(tokens("[2, 1.5]"), {"ids.json", "token ids"});
  expect_refusal(tokens("[2, "), {"ids.json", "JSON"});
  expect_refusal(generate({"--tokens", folder_ / "absent.json"}), {"absent.json"});
  expect_refusal(generate({"--text", ""}), {"--text", "empty"});
  write_file(folder_ / "prompt.txt", "");
  expect_refusal(generate({"--prompt", folder_ / "prompt.txt"}), {"prompt.txt", "empty"});
  write_file(folder_ / "prompt.txt", "\xff\xfe");
  expect_refusal(generate({"--prompt", folder_ / "prompt.txt"}), {"UTF-8"});
}

TEST_F(BadInputTest, refused_logits_leave_no_file) {
  const auto logits = [&](const std::string& ids, const std::filesystem::path& out) {
    write_file(folder_ / "ids.json", ids);
    return sala({"logits", "--model", model_, "--tokens", folder_ / "ids.json", "--out", out});
  };
  expect_refusal(logits("[300]", folder_ / "logits.npy"), {"token 300"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "logits.npy"));
  expect_refusal(logits("[2]", folder_ / "absent" / "logits.npy"), {"absent"});
  EXPECT_EQ(logits("[2]", folder_ / "logits.npy").code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "logits.npy"));
}

}  // namespace
}  // namespace sala::testing
