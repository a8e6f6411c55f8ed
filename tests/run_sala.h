// Runs the program as its users do, on a model of random weights that takes milliseconds.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace sala::testing {

inline std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Finished {
  int code = 0;  // exit code, or minus the signal that ended it
  std::string out;
  std::string err;
};

/// A test with a folder of its own that holds the model "tiny" and the suite "suite.toml".
class SalaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ =
        std::filesystem::temp_directory_path() / fmt::format("sala_{}_{}", info->name(), getpid());
    std::filesystem::create_directories(folder_ / "tiny");
    db_ = folder_ / "results.db";
    std::ofstream(folder_ / "tiny" / "config.json") << R"json({
      "model_type": "minicpm_sala", "hidden_size": 64, "intermediate_size": 128,
      "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16,
      "lightning_nh": 4, "lightning_nkv": 4, "lightning_head_dim": 16,
      "lightning_scale": "1/sqrt(d)", "lightning_use_rope": true, "attn_use_rope": false,
      "attn_use_output_gate": true, "use_output_gate": true, "use_output_norm": true,
      "qk_norm": true, "attention_bias": false, "hidden_act": "silu", "rms_norm_eps": 1e-06,
      "rope_theta": 10000.0, "rope_scaling": null, "max_position_embeddings": 4096,
      "vocab_size": 320, "bos_token_id": 257, "eos_token_id": 258, "scale_emb": 12,
      "scale_depth": 1.4, "dim_model_base": 32, "mup_denominator": 4, "tie_word_embeddings": false,
      "mixer_types": ["minicpm4", "lightning-attn", "lightning-attn", "minicpm4"],
      "sparse_config": {"kernel_size": 32, "kernel_stride": 16, "init_blocks": 1, "block_size": 64,
                        "window_size": 128, "topk": 4, "use_nope": false, "dense_len": 512},
      "torch_dtype": "bfloat16"})json";
    write_suite(
        "name = \"test\"\n[[cells]]\ntasks = [\"niah_single_1\", \"passkey\"]\n"
        "lengths = \"1k,2k\"\nsamples = 3\n");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write_suite(const std::string& text) const { std::ofstream(folder_ / "suite.toml") << text; }

  /// Starts the program; its output goes to files of the folder.
  pid_t start(const std::vector<std::string>& arguments) const {
    const pid_t child = fork();
    if (child != 0) return child;
    for (const auto& [descriptor, name] : {std::pair{1, "out"}, std::pair{2, "err"}}) {
      const int file = open((folder_ / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      dup2(file, descriptor);
    }
    std::vector<char*> argv;
    std::string program = SALA_BINARY;
    std::vector<std::string> copy = arguments;
    argv.push_back(program.data());
    for (std::string& argument : copy) argv.push_back(argument.data());
    argv.push_back(nullptr);
    execv(program.c_str(), argv.data());
    _exit(127);
  }
  Finished wait(pid_t child) const {
    int status = 0;
    waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_all(folder_ / "out"),
            read_all(folder_ / "err")};
  }
  Finished sala(const std::vector<std::string>& arguments) const { return wait(start(arguments)); }

  /// `sala run` of the suite on the tiny model, with more options behind.
  std::vector<std::string> run_command(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> command{"run",           "--suite",        folder_ / "suite.toml",
                                     "--model",       folder_ / "tiny", "--weights",
                                     "random:1",      "--db",           db_,
                                     "--no-progress", "--threads",      "1"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }

  std::filesystem::path folder_;
  std::filesystem::path db_;
};

}  // namespace sala::testing
