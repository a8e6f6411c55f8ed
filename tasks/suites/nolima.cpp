// NoLiMa: a fact in a book that shares no word with the question about it.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <optional>
#include <span>

#include "engine/base/error.h"
#include "tasks/chat_template.h"
#include "tasks/data_files.h"
#include "tasks/numpy_random.h"
#include "tasks/python_random.h"
#include "tasks/suites/suite_task.h"
#include "tasks/suites/suites.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDepths = 26;
constexpr std::int64_t kTokensToGenerate = 192;

constexpr std::string_view kTemplate =
    "You will answer a question based on the following book snippet:\n\n{haystack}\n\nUse the "
    "information provided in the book snippet to answer the question. Your answer should be short "
    "and based on either explicitly stated facts or strong, logical inferences.\n\nQuestion: "
    "{question}\n\n Return only the final answer with no additional explanation or reasoning.";

/// One question about one needle, {CHAR} still open.
struct Test {
  int id = 0;  // the first four characters of the entry's id
  std::string system_prompt;
  std::string prompt_template;
  std::string needle;
  std::string question;
  std::vector<std::string> characters;
  std::vector<std::string> gold;
};

struct Book {
  std::string name;
  std::vector<TokenId> ids;
  std::vector<std::size_t> breaks;  // 0 and the tokens that hold a line feed
};

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// {1}, {2}, ... The published code begins anew for each placeholder of a question, so that only
/// the last is filled.
std::string with_arguments(const std::string& text, const std::vector<std::string>& arguments,
                           bool only_last) {
  std::string filled = text;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    filled = replaced(only_last ? text : filled, fmt::format("{{{}}}", i + 1), arguments[i]);
  }
  return filled;
}

std::vector<Test> tests_of(const JsonRow& entry, bool official) {
  if (entry.value.contains("distractors") && !entry.value["distractors"].empty()) {
    throw Error(entry.where, "has distractors, which are not supported; take a set without them");
  }
  std::vector<Test> tests;
  const std::string id = entry.text("id").substr(0, 4);
  if (id.find_first_not_of("0123456789") != std::string::npos || id.empty()) {
    throw Error(entry.where, "its id '{}' does not begin with a number", entry.text("id"));
  }
  for (const auto& [kind, question] : entry.at("questions").items()) {
    for (const auto& [name, test] : entry.at("tests").items()) {
      const JsonRow item{test, fmt::format("{}, test {}", entry.where, name)};
      const std::vector<std::string> arguments = item.texts("input_args");
      tests.push_back(
          {.id = std::stoi(id),
           .system_prompt = entry.value.value("system_prompt", ""),
           .prompt_template = entry.value.value("task_template", std::string(kTemplate)),
           .needle = with_arguments(entry.text("needle"), arguments, false),
           .question = with_arguments(question.get<std::string>(), arguments, official),
           .characters = {},
           .gold = {}});
      if (entry.value.contains("character_set")) {
        tests.back().characters = entry.texts("character_set");
      }
      if (test.contains("gold_answers")) tests.back().gold = item.texts("gold_answers");
    }
  }
  return tests;
}

class Nolima final : public SuiteTask {
 public:
  Nolima(const char* name, const char* summary, const char* set)
      : SuiteTask({.name = name,
                   .summary = summary,
                   .source = "adobe-research/NoLiMa, commit 7532e4e",
                   .scorer = "nolima",
                   .nominal_length = true,
                   .needs_data =
                       "Hugging Face amodaresi/NoLiMa (nolima/needlesets and "
                       "nolima/haystack/rand_shuffle; for research, not commercial use)"}),
        set_(fmt::format("nolima/needlesets/{}", set)) {}

  std::int64_t count(const TaskOptions& options, const Tokenizer& tokenizer) const override {
    return static_cast<std::int64_t>(tests(options).size() * books(options, tokenizer).size()) *
           kDepths;
  }

  Sample make(const TaskOptions& options, std::int64_t i,
              const Tokenizer& tokenizer) const override {
    const std::vector<Test>& all_tests = tests(options);
    const std::vector<Book>& all_books = books(options, tokenizer);
    const std::int64_t n = count(options, tokenizer);
    check_index(i, n);
    const std::int64_t place =
        options.mode == "official" ? i : shuffled(n, options.seed)[static_cast<std::size_t>(i)];
    const std::int64_t depth = place % kDepths;
    const auto book_number = static_cast<std::size_t>(place / kDepths) % all_books.size();
    const auto test_number = static_cast<std::size_t>(place / kDepths) / all_books.size();
    const Test& test = all_tests[test_number];

    std::string needle = test.needle;
    std::string question = test.question;
    Sample sample;
    sample.references = test.gold;
    if (needle.find("{CHAR}") != std::string::npos) {
      const std::string name = character(test, options.seed, book_number, depth);
      needle = replaced(std::move(needle), "{CHAR}", name);
      question = replaced(std::move(question), "{CHAR}", name);
      sample.references = {name};
    }
    sample.index = i;
    sample.max_new_tokens = kTokensToGenerate;
    sample.cluster = fmt::format("nolima-{}-{}", test_number, book_number);

    const std::string context = place_needle(all_books[book_number], needle, options.length,
                                             static_cast<double>(depth) / (kDepths - 1), tokenizer);
    std::string text = fill(test.prompt_template, {{"haystack", context}, {"question", question}});
    if (!test.system_prompt.empty()) text = test.system_prompt + "\n\n" + text;
    const std::size_t at = text.find(needle);
    return complete(options, tokenizer, {std::move(text), {{at, at + needle.size()}}},
                    std::move(sample), TooLong::allow);
  }

 protected:
  std::vector<std::string> files(const TaskOptions& options) const override {
    std::vector<std::string> names{set_};
    for (const fs::path& book : book_paths(options)) {
      names.push_back(fmt::format("{}/{}", kBooks, book.filename().string()));
    }
    return names;
  }

 private:
  static constexpr const char* kBooks = "nolima/haystack/rand_shuffle";

  std::vector<fs::path> book_paths(const TaskOptions& options) const {
    const fs::path folder = path(options, kBooks);
    std::vector<fs::path> books;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("rand_book_") && name.ends_with(".txt")) books.push_back(entry.path());
    }
    std::sort(books.begin(), books.end());
    if (books.empty()) throw Error(folder.string(), "holds no rand_book_*.txt");
    return books;
  }

  const std::vector<Test>& tests(const TaskOptions& options) const {
    const std::string file = path(options, set_).string();
    return tests_.get({file, options.mode}, [&] {
      const JsonLines& entries = rows(options, set_);
      std::vector<Test> tests;
      for (std::int64_t i = 0; i < entries.size(); ++i) {
        for (Test& test : tests_of(entries[i], options.mode == "official")) {
          tests.push_back(std::move(test));
        }
      }
      return tests;
    });
  }

  const std::vector<Book>& books(const TaskOptions& options, const Tokenizer& tokenizer) const {
    const std::vector<fs::path> paths = book_paths(options);
    return books_.get({paths.front().string(), tokenizer.sha256()}, [&] {
      std::vector<Book> books;
      for (const fs::path& file : paths) {
        const std::string text = read_utf8(file);
        const Encoding encoding = tokenizer.encode(text);
        Book book{file.filename().string(), encoding.ids, {0}};
        for (std::size_t t = 0; t < book.ids.size(); ++t) {
          const auto begin = static_cast<std::size_t>(encoding.begin[t]);
          const std::size_t end = t + 1 < book.ids.size()
                                      ? static_cast<std::size_t>(encoding.begin[t + 1])
                                      : text.size();
          if (text.substr(begin, end - begin).find('\n') != std::string::npos) {
            book.breaks.push_back(t);
          }
        }
        books.push_back(std::move(book));
      }
      return books;
    });
  }

  /// An order of samples in which every part is a fair draw of tests, books and depths.
  const std::vector<std::int64_t>& shuffled(std::int64_t n, std::uint64_t seed) const {
    return orders_.get({std::to_string(n), std::to_string(seed)}, [&] {
      std::vector<std::int64_t> order(static_cast<std::size_t>(n));
      std::iota(order.begin(), order.end(), 0);
      PythonRandom(seed).shuffle(order);
      return order;
    });
  }

  std::string character(const Test& test, std::uint64_t seed, std::size_t book,
                        std::int64_t depth) const {
    if (test.characters.empty()) throw Error(info().name, "a needle with {{CHAR}} has no names");
    NumpyRandom random(
        static_cast<std::uint32_t>(seed + static_cast<std::uint64_t>(test.id) + book));
    std::int64_t drawn = 0;
    for (std::int64_t d = 0; d <= depth; ++d) {
      drawn = random.randint(0, static_cast<std::int64_t>(test.characters.size()));
    }
    return test.characters[static_cast<std::size_t>(drawn)];
  }

  /// `length` tokens of the book with the needle on a line of its own, near the depth.
  std::string place_needle(const Book& book, const std::string& needle, std::int64_t length,
                           double depth, const Tokenizer& tokenizer) const {
    const auto limit = static_cast<double>(length);
    std::optional<std::size_t> best;
    double best_delta = 0;
    for (const std::size_t v : book.breaks) {
      const double delta = static_cast<double>(v) / (limit + 1) - depth;
      if (delta >= 0 && (!best || delta < best_delta)) {
        best = v;
        best_delta = delta;
      }
    }
    const auto n = static_cast<std::int64_t>(book.ids.size());
    const std::int64_t v = best ? static_cast<std::int64_t>(*best) : n;
    const std::int64_t start = v - static_cast<std::int64_t>(std::nearbyint(limit * depth));
    const std::int64_t end = start + length;
    if (!best || start < 0 || end > n) {
      throw Error(info().name, "{} has {} tokens, too few for a length of {} at depth {}",
                  book.name, n, length, depth);
    }
    const auto text = [&](std::int64_t from, std::int64_t to) {
      return from >= to
                 ? std::string()
                 : repaired_utf8(tokenizer.decode(std::span(book.ids).subspan(
                       static_cast<std::size_t>(from), static_cast<std::size_t>(to - from))));
    };
    std::string before = text(start, v + 1);
    const std::size_t last_line = before.rfind('\n');
    before.resize(last_line == std::string::npos ? 0 : last_line);
    return before + " " + needle + "\n" + text(v + 1, end);
  }

  std::string set_;
  LoadOnce<std::vector<Test>> tests_;
  LoadOnce<std::vector<Book>> books_;
  LoadOnce<std::vector<std::int64_t>> orders_;
};

struct Entry {
  const char* name;
  const char* summary;
  const char* set;
};
constexpr Entry kEntries[] = {
    {"nolima", "NoLiMa, official needles and books", "needle_set.json"},
    {"nolima_direct", "NoLiMa's control with words in common", "needle_set_ONLYDirect.json"},
    {"nolima_hard", "NoLiMa's ten hardest needles", "needle_set_hard.json"},
};

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Entry& entry : kEntries) all.emplace_back(entry.name);
  return all;
}

std::unique_ptr<Task> make(std::string_view name) {
  for (const Entry& entry : kEntries) {
    if (name == entry.name) {
      return std::make_unique<Nolima>(entry.name, entry.summary, entry.set);
    }
  }
  return nullptr;
}

}  // namespace

TaskFamily nolima_family() {
  return {names, make};
}

}  // namespace sala
