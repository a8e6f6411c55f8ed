// The table of RULER's files.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/data_files.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "engine/base/utf8.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

struct KnownFile {
  std::string_view name;
  std::string_view sha256;  // of the original; empty when it follows from another file
  std::string_view how;
};

constexpr std::string_view kGetData = "scripts/get_data.sh fetches it";

constexpr KnownFile kFiles[] = {
    {"wonderwords/adjectivelist.txt",
     "66814d46b7e292c83e839d12fe2fa083c8f66779b14b294e1be4e1342c5d4131", kGetData},
    {"wonderwords/nounlist.txt", "8d88b3ebc2e2969ed92ebe49cdb0c8a87c2ad3b27493d7afdff608f2e51c5bc9",
     kGetData},
    {"wonderwords/verblist.txt", "9fbf5e4e69b8869aebd88e6d545312ff9f878a747327ede5f6dbbba5c27b08ad",
     kGetData},
    {"essay.json", "d9e4663b58000c644994bb677b6c47a6c0e026d1bc2386aade8963ae7bd9e039",
     "RULER's scripts/data/synthetic/json/download_paulgraham_essay.py makes it from essays that "
     "are their author's; any text as {\"text\": \"...\"} is a stand-in"},
    {"essay.sents.json", "", "scripts/make_sentence_starts.py makes it from essay.json"},
    {"squad.json", "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8", kGetData},
    {"hotpotqa.json", "4e9ecb5c8d3b719f624d66b60f8d56bf227f03914f5f0753d6fa1b359d7104ea", kGetData},
    {"english_words.json", "affcd6d45fdf3cc843d585c99c97ad615094e760e6c4756b654bab6c73bc2eca",
     "RULER's repository has it as scripts/data/synthetic/json/english_words.json"},
};

const KnownFile& known_file(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFiles), std::end(kFiles),
                                   [&](const KnownFile& file) { return file.name == name; });
  SALA_CHECK(found != std::end(kFiles), "a file without a row in the table of files");
  return *found;
}

}  // namespace

std::optional<fs::path> find_data_file(const std::vector<std::string>& data,
                                       std::string_view name) {
  for (const std::string& folder : data) {
    fs::path path = fs::path(folder) / name;
    if (fs::exists(path)) return path;
  }
  return std::nullopt;
}

fs::path data_file(const std::vector<std::string>& data, std::string_view name) {
  if (auto path = find_data_file(data, name)) return *path;
  const KnownFile& file = known_file(name);
  if (data.empty()) throw Error(name, "is needed, but there is no --data folder; {}", file.how);
  throw Error(name, "is needed, but not in --data {}; {}", fmt::join(data, ", "), file.how);
}

bool has_ruler_files(const std::vector<std::string>& data) {
  return std::any_of(std::begin(kFiles), std::end(kFiles), [&](const KnownFile& file) {
    return find_data_file(data, file.name).has_value();
  });
}

std::string read_utf8(const fs::path& path) {
  std::string text = read_text_file(path);
  if (const std::size_t bad = find_invalid_utf8(text); bad != std::string::npos) {
    throw Error(path.string(), "not valid UTF-8 at byte {} (0x{:02X}); convert the file first", bad,
                static_cast<unsigned char>(text[bad]));
  }
  return text;
}

TaskSource data_source(const std::vector<std::string>& data, std::string_view name) {
  const std::string hash = sha256_file(data_file(data, name));
  const KnownFile& file = known_file(name);
  return {std::string(name), hash, !file.sha256.empty() && hash != file.sha256};
}

TaskSource built_in_source(std::string_view what) {
  return {fmt::format("built-in {}", what), "", true};
}

}  // namespace sala
