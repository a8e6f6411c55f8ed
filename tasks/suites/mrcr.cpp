// MRCR: one of several equal requests in a long conversation, and its answer is to be repeated.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>

#include "engine/base/error.h"
#include "tasks/data_files.h"
#include "tasks/suites/csv.h"
#include "tasks/suites/suite_task.h"
#include "tasks/suites/suites.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kAnswerPrefix = "Assistant:";
constexpr std::int64_t kSpareTokens = 32;  // beyond the length of the reference

struct Item {
  std::string prompt;
  std::vector<std::string> references;
  std::string answer_prefix;
};

/// Rows of one length: those whose prompt and answer take more than half of it, found by tokenising
/// every row that may be of that length, once.
class BinnedTask : public SuiteTask {
 public:
  using SuiteTask::SuiteTask;

  std::int64_t count(const TaskOptions& options, const Tokenizer& tokenizer) const override {
    return static_cast<std::int64_t>(bin(options, tokenizer).size());
  }

  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override {
    if (options.chat_template != "base") {
      throw Error(info().name,
                  "the conversation is sent as plain turns, which a chat template for one turn "
                  "cannot hold; give --chat-template base");
    }
    const std::vector<std::int64_t>& rows = bin(options, tokenizer);
    check_index(i, static_cast<std::int64_t>(rows.size()));
    const std::int64_t row = rows[static_cast<std::size_t>(i)];
    Item item = this->item(options, row);
    Sample sample;
    sample.index = i;
    sample.max_new_tokens = budget(item, tokenizer);
    sample.references = std::move(item.references);
    sample.answer_prefix = item.answer_prefix;
    sample.cluster = row_cluster(info().name, 0, row);
    return complete(options, tokenizer, {std::move(item.prompt), {}}, std::move(sample),
                    TooLong::refuse);
  }

 protected:
  virtual std::int64_t n_items(const TaskOptions& options) const = 0;
  virtual Item item(const TaskOptions& options, std::int64_t row) const = 0;

 private:
  static std::int64_t budget(const Item& item, const Tokenizer& tokenizer) {
    return tokenizer.count(item.references[0]) + kSpareTokens;
  }

  const std::vector<std::int64_t>& bin(const TaskOptions& options,
                                       const Tokenizer& tokenizer) const {
    const std::string file = path(options, files(options)[0]).string();
    return bins_.get({file, std::to_string(options.length), tokenizer.sha256()}, [&] {
      const std::int64_t shortest = options.length / 2;
      // No token has fewer bytes than one, and few have more than twelve.
      constexpr std::int64_t kMostBytes = 12;
      std::vector<std::int64_t> rows;
      for (std::int64_t row = 0; row < n_items(options); ++row) {
        const Item item = this->item(options, row);
        const auto bytes =
            static_cast<std::int64_t>(item.prompt.size() + item.references[0].size());
        if (bytes + kSpareTokens < shortest || bytes > kMostBytes * options.length) continue;
        const std::int64_t tokens =
            tokenizer.count(item.prompt) + budget(item, tokenizer) + (tokenizer.bos() ? 1 : 0);
        if (tokens > shortest && tokens <= options.length) rows.push_back(row);
      }
      return rows;
    });
  }

  LoadOnce<std::vector<std::int64_t>> bins_;
};

class OpenAiMrcr final : public BinnedTask {
 public:
  explicit OpenAiMrcr(int needles)
      : BinnedTask({.name = fmt::format("mrcr_{}needle", needles),
                    .summary = fmt::format("OpenAI MRCR, {} needles, plain turns", needles),
                    .source = "Hugging Face openai/mrcr; bins by the model's own tokens, approx.",
                    .scorer = "mrcr",
                    .needs_data = fmt::format(
                        "Hugging Face openai/mrcr, converted from Parquet (mrcr/{}needle.jsonl)",
                        needles)}),
        file_(fmt::format("mrcr/{}needle.jsonl", needles)) {}

 protected:
  std::vector<std::string> files(const TaskOptions& /*options*/) const override { return {file_}; }
  std::int64_t n_items(const TaskOptions& options) const override {
    return rows(options, file_).size();
  }
  Item item(const TaskOptions& options, std::int64_t row) const override {
    const JsonRow read = rows(options, file_)[row];
    nlohmann::json messages = read.at("prompt");
    try {
      if (messages.is_string()) messages = nlohmann::json::parse(messages.get<std::string>());
      std::string prompt;
      for (const nlohmann::json& message : messages) {
        const std::string role = message.at("role");
        prompt += fmt::format("{}: {}\n\n", role == "assistant" ? "Assistant" : "User",
                              message.at("content").get<std::string>());
      }
      return {prompt + std::string(kAnswerPrefix),
              {read.text("answer"), read.text("random_string_to_prepend")},
              std::string(kAnswerPrefix)};
    } catch (const nlohmann::json::exception& error) {
      throw Error(read.where, "the field 'prompt' is no list of messages: {}", error.what());
    }
  }

 private:
  std::string file_;
};

class MrcrV2 final : public BinnedTask {
 public:
  MrcrV2()
      : BinnedTask({.name = "mrcr_v2",
                    .summary = "MRCR v2, official prompts",
                    .source = "google-deepmind/eval_hub, eval_hub/mrcr_v2",
                    .scorer = "mrcr_v2",
                    .needs_data = "google-deepmind/eval_hub, whose mrcr_v2/download.sh fetches it "
                                  "(mrcr_v2/*.csv)"}) {}

 protected:
  std::vector<std::string> files(const TaskOptions& options) const override {
    const fs::path folder = path(options, "mrcr_v2");
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".csv") continue;
      names.push_back(fmt::format("mrcr_v2/{}", entry.path().filename().string()));
    }
    std::sort(names.begin(), names.end());
    if (names.empty()) throw Error(folder.string(), "holds no .csv file");
    return names;
  }
  std::int64_t n_items(const TaskOptions& options) const override {
    return static_cast<std::int64_t>(items(options).size());
  }
  Item item(const TaskOptions& options, std::int64_t row) const override {
    return items(options)[static_cast<std::size_t>(row)];
  }

 private:
  const std::vector<Item>& items(const TaskOptions& options) const {
    const std::vector<std::string> names = files(options);
    return items_.get({path(options, names[0]).string()}, [&] {
      std::vector<Item> items;
      for (const std::string& name : names) append_items(path(options, name), items);
      return items;
    });
  }

  static void append_items(const fs::path& file, std::vector<Item>& items) {
    const auto table = read_csv(read_utf8(file), file.string());
    const auto column = [&](const char* name) {
      const auto found = table.empty() ? table.end() : table.begin();
      if (found != table.end()) {
        const auto at = std::find(found->begin(), found->end(), name);
        if (at != found->end()) return static_cast<std::size_t>(at - found->begin());
      }
      throw Error(file.string(), "has no column '{}'", name);
    };
    const std::size_t prompt = column("queries");
    const std::size_t answer = column("answer");
    for (std::size_t row = 1; row < table.size(); ++row) {
      items.push_back({table[row][prompt], {table[row][answer]}, ""});
    }
  }

  LoadOnce<std::vector<Item>> items_;
};

std::vector<std::string> names() {
  return {"mrcr_2needle", "mrcr_4needle", "mrcr_8needle", "mrcr_v2"};
}

std::unique_ptr<Task> make(std::string_view name) {
  if (name == "mrcr_2needle") return std::make_unique<OpenAiMrcr>(2);
  if (name == "mrcr_4needle") return std::make_unique<OpenAiMrcr>(4);
  if (name == "mrcr_8needle") return std::make_unique<OpenAiMrcr>(8);
  if (name == "mrcr_v2") return std::make_unique<MrcrV2>();
  return nullptr;
}

}  // namespace

TaskFamily mrcr_family() {
  return {names, make};
}

}  // namespace sala
