// Reads the two data sets, and makes up a third.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/questions.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/base/error.h"
#include "engine/base/mapped_file.h"
#include "tasks/data_files.h"
#include "tasks/ruler/words.h"

namespace sala {
namespace {

using nlohmann::json;

std::size_t index_of(const std::vector<std::string>& documents, const std::string& document) {
  return static_cast<std::size_t>(std::lower_bound(documents.begin(), documents.end(), document) -
                                  documents.begin());
}

/// Parses a file and hands it to `read`; errors of either name the file.
template <typename Read>
QuestionSet read_set(const std::vector<std::string>& data, const char* name, const char* layout,
                     const Read& read) {
  const auto path = data_file(data, name);
  QuestionSet set;
  try {
    set = read(json::parse(read_text_file(path)));
  } catch (const json::exception& error) {
    throw Error(path.string(), "is not in {}'s layout: {}", layout, error.what());
  }
  if (set.questions.empty()) throw Error(path.string(), "holds no question that can be answered");
  return set;
}

std::string hotpot_document(const json& entry) {
  std::string text = entry.at(0).get<std::string>() + "\n";
  for (const json& sentence : entry.at(1)) text += sentence.get_ref<const std::string&>();
  return text;
}

std::string capitalized(std::string word) {
  if (word[0] >= 'a' && word[0] <= 'z') word[0] = static_cast<char>(word[0] - 'a' + 'A');
  return word;
}

/// What is told about a made-up person.
struct Person {
  std::string name;
  std::string job;
  std::string food;
  std::string place;
};

constexpr std::size_t kPeople = 4000;
constexpr std::size_t kMadeUpQuestions = 500;

std::vector<Person> make_people(const Prose& prose, PythonRandom& random) {
  std::vector<Person> people;
  std::set<std::string> names;
  while (people.size() < kPeople) {
    std::string name = random.choice(prose.words("name")) + " " +
                       capitalized(random.choice(prose.words("adjective"))) +
                       random.choice(prose.words("noun"));
    if (!names.insert(name).second) continue;
    people.push_back({std::move(name), random.choice(prose.words("job")),
                      random.choice(prose.words("food")), random.choice(prose.words("place"))});
  }
  return people;
}

}  // namespace

QuestionSet read_squad(const std::vector<std::string>& data) {
  return read_set(data, "squad.json", "SQuAD 2.0", [](const json& root) {
    QuestionSet set;
    for (const json& article : root.at("data")) {
      for (const json& paragraph : article.at("paragraphs")) {
        set.documents.push_back(paragraph.at("context"));
      }
    }
    sort_unique(set.documents);
    for (const json& article : root.at("data")) {
      std::vector<std::size_t> paragraphs;
      for (const json& paragraph : article.at("paragraphs")) {
        paragraphs.push_back(index_of(set.documents, paragraph.at("context")));
      }
      for (std::size_t p = 0; p < paragraphs.size(); ++p) {
        for (const json& asked : article.at("paragraphs")[p].at("qas")) {
          if (asked.at("is_impossible").get<bool>()) continue;
          Question question{.text = asked.at("question"),
                            .answers = {},
                            .gold = {paragraphs[p]},
                            .more = {},
                            .cluster = article.at("title")};
          for (const json& answer : asked.at("answers")) {
            question.answers.push_back(answer.at("text"));
          }
          for (const std::size_t other : paragraphs) {
            if (other != paragraphs[p]) question.more.push_back(other);
          }
          set.questions.push_back(std::move(question));
        }
      }
    }
    return set;
  });
}

QuestionSet read_hotpotqa(const std::vector<std::string>& data) {
  return read_set(data, "hotpotqa.json", "HotpotQA", [](const json& root) {
    QuestionSet set;
    for (const json& asked : root) {
      for (const json& entry : asked.at("context")) {
        set.documents.push_back(hotpot_document(entry));
      }
    }
    sort_unique(set.documents);
    for (const json& asked : root) {
      Question question{.text = asked.at("question"),
                        .answers = {asked.at("answer")},
                        .gold = {},
                        .more = {},
                        .cluster = asked.at("_id")};
      for (const json& entry : asked.at("context")) {
        question.gold.push_back(index_of(set.documents, hotpot_document(entry)));
      }
      set.questions.push_back(std::move(question));
    }
    return set;
  });
}

QuestionSet made_up_questions(const Prose& prose, int hops) {
  PythonRandom random(static_cast<std::uint64_t>(hops));
  const std::vector<Person> people = make_people(prose, random);
  QuestionSet set;
  for (std::size_t p = 0; p < kPeople; ++p) {
    const Person& person = people[p];
    const std::string& teacher = people[(p + 1) % kPeople].name;
    std::vector<std::string> sentences{
        fmt::format("{} was born in {}.", person.name, person.place),
        fmt::format("The work of {} is that of the {}.", person.name, person.job),
        fmt::format("The dish that {} likes best is {}.", person.name, person.food),
        fmt::format("{} learned everything from {}.", person.name, teacher)};
    for (int filler = 0; filler < 3; ++filler) sentences.push_back(prose.sentence(random));
    random.shuffle(sentences);
    std::string document = person.name + "\n";
    for (const std::string& sentence : sentences) {
      if (document.back() != '\n') document += ' ';
      document += sentence;
    }
    set.documents.push_back(std::move(document));
  }
  for (const std::size_t p : random.sample(kPeople, kMadeUpQuestions)) {
    const std::size_t q = (p + 1) % kPeople;
    const Person& answer = hops == 1 ? people[p] : people[q];
    const std::string who = hops == 1
                                ? people[p].name
                                : "the person from whom " + people[p].name + " learned everything";
    Question question;
    question.gold = hops == 1 ? std::vector{p} : std::vector{p, q};
    question.cluster = fmt::format("made-up/{}", p);
    switch (random.randbelow(3)) {
      case 0:
        question.text = fmt::format("Where was {} born?", who);
        question.answers = {answer.place};
        break;
      case 1:
        question.text = fmt::format("What is the work of {}?", who);
        question.answers = {answer.job};
        break;
      default:
        question.text = fmt::format("Which dish does {} like best?", who);
        question.answers = {answer.food};
    }
    set.questions.push_back(std::move(question));
  }
  return set;
}

}  // namespace sala
