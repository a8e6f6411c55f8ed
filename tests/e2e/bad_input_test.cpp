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

  /// Replaces the weights by two shards, each with its half of the layers.
  void write_shards(const std::vector<TensorToWrite>& first,
                    const std::vector<TensorToWrite>& second) const {
    std::filesystem::remove(model_ / "model.safetensors");
    std::vector<TensorToWrite> halves[2];
    json map;
    const auto take = [&](const std::vector<TensorToWrite>& tensors, std::size_t half) {
      for (const TensorToWrite& tensor : tensors) {
        const bool is_late = tensor.name.find("layers.2") != std::string::npos ||
                             tensor.name.find("layers.3") != std::string::npos;
        if (is_late != (half == 1)) continue;
        halves[half].push_back(tensor);
        map[tensor.name] = half == 0 ? "one.safetensors" : "two.safetensors";
      }
    };
    take(first, 0);
    take(second, 1);
    write_safetensors(model_ / "one.safetensors", halves[0]);
    write_safetensors(model_ / "two.safetensors", halves[1]);
    write_file(model_ / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
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

TEST_F(BadInputTest, unfinished_downloads_are_named) {
  const auto file = model_ / "model.safetensors";
  expect_model_refused(
      [&] { std::filesystem::rename(file, model_ / "model.safetensors.incomplete"); },
      {"neither model.safetensors", "1 unfinished downloads"});
  expect_model_refused(
      [&] { write_file(file, "version https://git-lfs.github.com/spec/v1\nsize 9\n"); },
      {"model.safetensors", "git lfs pull"});
  expect_model_refused([&] { std::filesystem::resize_file(file, 3); },
                       {"model.safetensors", "3 bytes"});
  expect_model_refused([&] { std::filesystem::resize_file(file, 100); },
                       {"model.safetensors", "header length", "copy it again"});
}

TEST_F(BadInputTest, links_that_leave_the_folder_are_refused) {
  for (const char* name : {"model.safetensors", "config.json", "tokenizer.json"}) {
    expect_model_refused(
        [&] {
          std::filesystem::rename(model_ / name, folder_ / "elsewhere");
          std::filesystem::create_symlink(folder_ / "elsewhere", model_ / name);
        },
        {name, "symbolic link", "outside the model folder"});
  }
}

TEST_F(BadInputTest, a_snapshot_of_the_hugging_face_cache_is_a_model_folder) {
  const auto cache = folder_ / "models--openbmb--tiny";
  const auto snapshot = cache / "snapshots" / "4cf2";
  std::filesystem::create_directories(snapshot);
  std::filesystem::create_directories(cache / "blobs");
  int n_blobs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(model_)) {
    const auto blob = std::filesystem::path("blobs") / std::to_string(n_blobs++);
    std::filesystem::copy_file(entry.path(), cache / blob);
    std::filesystem::create_symlink("../.." / blob, snapshot / entry.path().filename());
  }
  const Finished direct = generate();
  model_ = snapshot;
  const Finished linked = generate();
  EXPECT_EQ(linked.code, 0) << linked.err;
  EXPECT_EQ(linked.out, direct.out);
}

TEST_F(BadInputTest, weights_of_another_model_are_listed) {
  TinyOptions own;
  own.vocab = 258;
  TinyOptions other = own;
  other.family = "qwen3";
  expect_model_refused([&] { write_file(model_ / "config.json", tiny_config(other).dump()); },
                       {"model.safetensors", "config.json", "missing", "q_norm", "unexpected"});
  TinyOptions narrower = own;
  narrower.intermediate = 64;
  TinyModel ignored;
  const auto write = [&](const TinyOptions& second) {
    write_shards(tiny_tensors(own, ignored), tiny_tensors(second, ignored));
  };
  expect_model_refused([&] { write(narrower); },
                       {"index.json", "of another shape", "in two.safetensors"});
  write(own);
  EXPECT_EQ(generate().code, 0);
}

TEST_F(BadInputTest, quantized_weights_are_refused_by_name) {
  expect_model_refused([&] { change_config("quantization_config", {{"quant_method", "awq"}}); },
                       {"config.json", "'quantization_config'", "awq", "bf16"});
  expect_model_refused([&] { write_file(model_ / "quantize_config.json", "{}"); },
                       {"quantize_config.json", "quantized"});
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
