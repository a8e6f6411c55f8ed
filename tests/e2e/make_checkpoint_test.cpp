// What scripts/make_checkpoint.py writes is the model of its config: every family loads and
// answers. SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "tests/run_sala.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

/// A Python that has numpy; "" when there is none.
std::string python_with_numpy() {
  for (const std::string python : {"python3", "/usr/bin/python3"}) {
    if (std::system((python + " -c 'import numpy' 2>/dev/null").c_str()) == 0) return python;
  }
  return "";
}

using MakeCheckpointTest = SalaTest;

TEST_F(MakeCheckpointTest, a_written_checkpoint_of_every_family_loads_and_answers) {
  const std::string python = python_with_numpy();
  if (python.empty()) GTEST_SKIP() << "no python3 here has numpy";
  write_file(folder_ / "ids.json", "[2, 3, 4, 5]");
  for (const char* family : {"minicpm_sala", "minicpm4", "qwen3", "llama"}) {
    TinyOptions options;
    options.family = family;
    options.tied = options.family == "llama";
    const auto config = folder_ / family / "config";
    const auto model = folder_ / family / "model";
    std::filesystem::create_directories(config);
    write_file(config / "config.json", tiny_config(options).dump());
    const std::string command =
        fmt::format("{} {}/scripts/make_checkpoint.py --config {} --out {} --shards 3 >/dev/null",
                    python, SALA_TEST_SOURCE_DIR, config.string(), model.string());
    ASSERT_EQ(std::system(command.c_str()), 0) << family;
    const Finished run = sala({"generate", "--model", model, "--tokens", folder_ / "ids.json",
                               "--max-tokens", "3", "--threads", "1"});
    EXPECT_EQ(run.code, 0) << run.err;
    EXPECT_NE(run.err.find("of weights loaded in"), std::string::npos) << run.err;
  }
}

}  // namespace
}  // namespace sala::testing
