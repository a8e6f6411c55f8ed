// Damaged and hostile model folders: whatever is wrong, the answer is an Error or a model.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <random>

#include "engine/base/mapped_file.h"
#include "engine/engine.h"
#include "engine/model/config.h"
#include "engine/model/model_folder.h"
#include "engine/text/tokenizer.h"
#include "tests/expect_error.h"
#include "tests/tiny_model.h"

namespace sala::testing {
namespace {

namespace fs = std::filesystem;
using Random = std::mt19937_64;

constexpr int kRoundsPerFile = 150;

/// Cuts, flips, doubles, removes or replaces a part of a file within its first `reach` bytes.
std::string mutated(std::string bytes, std::size_t reach, Random& random) {
  const std::string planted[] = {"1e999",
                                 "-1",
                                 "0",
                                 "9223372036854775807",
                                 "18446744073709551615",
                                 "1e308",
                                 "1e-308",
                                 "null",
                                 "\"\"",
                                 "{}",
                                 "[]",
                                 "true",
                                 "\\ud800",
                                 std::string(1, '\0'),
                                 "\xff\xfe",
                                 std::string(100'000, '['),
                                 "2147483647"};
  for (auto n_changes = 1 + random() % 3; n_changes > 0 && !bytes.empty(); --n_changes) {
    const std::size_t at = random() % std::min(bytes.size(), reach);
    const std::size_t size = std::min(bytes.size() - at, 1 + random() % 24);
    switch (random() % 6) {
      case 0:
        bytes.resize(at);
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << random() % 8);
        break;
      case 2:
        bytes.insert(at, bytes.substr(at, size));
        break;
      case 3:
        bytes.erase(at, size);
        break;
      default: {  // in place of a number, a word or a punctuation mark
        const std::size_t end = std::min(bytes.find_first_of("{}[]:, \n", at), bytes.size());
        bytes.replace(at, std::max<std::size_t>(end - at, 1),
                      planted[random() % std::size(planted)]);
      }
    }
  }
  return bytes;
}

/// Loads a folder and uses what came of it; true when there was no Error.
bool is_usable(const fs::path& folder, bool with_weights) {
  try {
    EngineOptions options;
    options.model = folder;
    options.device = "cpu";
    options.threads = 1;
    options.memory_limit_bytes = std::int64_t{1} << 28;
    if (!with_weights) options.random_seed = 1;
    const auto engine = make_engine(options);
    engine->logits(random_ids(5, 100, 1), 1);
    engine->tokenizer().decode(engine->tokenizer().encode("a b, 1 é").ids);
    return true;
  } catch (const Error& error) {
    EXPECT_NE(error.what(), std::string());
    return false;
  }
}

class HostileFolder : public ::testing::TestWithParam<std::string> {
 protected:
  HostileFolder() : random_(static_cast<Random::result_type>(seed())) {
    TinyOptions options;
    options.family = GetParam();
    options.mixers.resize(2);
    write_tiny_model(folder_.path(), options);
  }
  /// 0, or what --gtest_shuffle and --gtest_random_seed say.
  static int seed() { return ::testing::UnitTest::GetInstance()->random_seed(); }

  /// Damages one file again and again, and puts it right.
  void damage(const char* name, std::size_t reach, bool with_weights) {
    const fs::path path = folder_.path() / name;
    const std::string whole = read_text_file(path);
    int n_refused = 0;
    for (int round = 0; round < kRoundsPerFile; ++round) {
      const std::string bytes = mutated(whole, reach, random_);
      write_file(path, bytes);
      try {
        n_refused += is_usable(folder_.path(), with_weights) ? 0 : 1;
      } catch (const std::exception& error) {
        ADD_FAILURE() << name << ", round " << round << ": " << error.what() << "\n"
                      << bytes.substr(0, 2000);
        break;
      }
    }
    EXPECT_GT(n_refused, kRoundsPerFile / 4) << name;
    write_file(path, whole);
    EXPECT_TRUE(is_usable(folder_.path(), with_weights));
  }

  TempFolder folder_;
  Random random_;
};
INSTANTIATE_TEST_SUITE_P(Families, HostileFolder,
                         ::testing::Values("minicpm_sala", "minicpm4", "qwen3", "llama"));

TEST_P(HostileFolder, damaged_configs_are_errors_or_models) {
  damage("config.json", SIZE_MAX, true);
  damage("config.json", SIZE_MAX, false);
}

TEST_P(HostileFolder, damaged_weights_are_errors_or_models) {
  damage("model.safetensors", 4000, true);
}

TEST_P(HostileFolder, damaged_tokenizers_are_errors_or_models) {
  damage("tokenizer.json", SIZE_MAX, true);
  damage("tokenizer_config.json", SIZE_MAX, true);
}

TEST(Folders, an_index_and_its_shards_that_are_damaged_are_errors_or_models) {
  const TempFolder folder;
  TinyOptions options;
  options.mixers.resize(2);
  TinyModel model = write_tiny_model(folder.path(), options);
  nlohmann::json index;
  std::vector<TensorToWrite> halves[2];
  for (TensorToWrite& tensor : tiny_tensors(options, model)) {
    const std::size_t half = index["weight_map"].size() % 2;
    index["weight_map"][tensor.name] = fmt::format("model-{}.safetensors", half);
    halves[half].push_back(std::move(tensor));
  }
  for (std::size_t half : {0, 1}) {
    write_safetensors(folder.path() / fmt::format("model-{}.safetensors", half), halves[half]);
  }
  fs::remove(folder.path() / "model.safetensors");
  const fs::path path = folder.path() / "model.safetensors.index.json";
  const std::string whole = index.dump();
  write_file(path, whole);
  ASSERT_TRUE(is_usable(folder.path(), true));
  Random random(1);
  for (int round = 0; round < kRoundsPerFile; ++round) {
    write_file(path, mutated(whole, SIZE_MAX, random));
    EXPECT_NO_THROW(is_usable(folder.path(), true)) << "round " << round;
  }
}

TEST(Folders, a_damaged_sentencepiece_model_is_an_error_or_a_tokenizer) {
  const TempFolder folder;
  const std::string whole =
      read_text_file(fs::path(SALA_TEST_SOURCE_DIR) / "tests/golden/data/tokenizers/llama2.model");
  Random random(1);
  int n_refused = 0;
  for (int round = 0; round < kRoundsPerFile; ++round) {
    write_file(folder.path() / "tokenizer.model", mutated(whole, SIZE_MAX, random));
    try {
      const auto tokenizer = load_tokenizer(folder.path());
      tokenizer->decode(tokenizer->encode("a b, 1 é").ids);
    } catch (const Error&) {
      ++n_refused;
    }
  }
  EXPECT_GT(n_refused, 0);
}

TEST(Folders, json_deeper_than_any_config_is_refused) {
  const TempFolder folder;
  write_tiny_model(folder.path());
  const std::string brackets = std::string(300'000, '[') + std::string(300'000, ']');
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json",
                           "tokenizer_config.json", "added_tokens.json"}) {
    const fs::path path = folder.path() / name;
    const std::string whole = file_exists(path) ? read_text_file(path) : "{}";
    write_file(path, R"({"hidden_size": )" + brackets + "}");
    expect_error(
        [&] {
          EngineOptions options;
          options.model = folder.path();
          make_engine(options);
        },
        {name, "levels"});
    write_file(path, whole);
  }
}

TEST(Folders, one_that_cannot_be_listed_is_named) {
  expect_error([] { check_links("/absent/folder"); }, {"/absent/folder", "cannot be listed"});
  const TempFolder folder;
  write_tiny_model(folder.path());
  fs::permissions(folder.path(), fs::perms::owner_exec | fs::perms::others_exec);
  const bool was_root = ::geteuid() == 0;  // whom permissions do not stop
  if (was_root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  expect_error([&] { read_model_config(folder.path(), {}, "model"); },
               {folder.path().string(), "cannot be listed", "permissions"});
  if (was_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  fs::permissions(folder.path(), fs::perms::owner_all);
}

}  // namespace
}  // namespace sala::testing
