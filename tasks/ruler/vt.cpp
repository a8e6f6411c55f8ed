// Variable tracking: five names, each assigned from the one before, asked for by their value.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/vt.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "tasks/chat_template.h"
#include "tasks/haystack.h"
#include "tasks/ruler/generators.h"
#include "tasks/ruler/ruler_task.h"
#include "tasks/ruler/tasks.h"

namespace sala {
namespace {

constexpr std::int64_t kTokensToGenerate = 30;
constexpr std::int64_t kExampleTokens = 500;

/// A chain and how deep in the noise its statements are.
struct Chain {
  std::vector<std::string> names;
  std::string value;
  std::array<double, 5> depths{};  // ascending
};

Chain draw_chain(std::size_t letters, std::set<std::string>& taken, PythonRandom& random) {
  Chain chain;
  const auto take_new = [&](const auto& draw) {
    for (;;) {
      std::string drawn = draw();
      if (taken.insert(drawn).second) return drawn;
    }
  };
  while (chain.names.size() < chain.depths.size()) {
    chain.names.push_back(take_new([&] {
      std::string name(letters, 'A');
      for (char& c : name) c = static_cast<char>('A' + random.randint(0, 25));
      return name;
    }));
  }
  chain.value = take_new([&] { return std::to_string(random.randint(10000, 99999)); });
  for (double& depth : chain.depths) depth = random.random();
  std::sort(chain.depths.begin(), chain.depths.end());
  return chain;
}

/// The task about one chain in n lines of noise.
Draft chain_text(const Chain& chain, std::int64_t n) {
  std::vector<std::size_t> before;
  before.reserve(chain.depths.size());
  for (const double depth : chain.depths) {
    before.push_back(static_cast<std::size_t>(static_cast<double>(n) * depth));
  }
  Draft context = chain_context(static_cast<std::size_t>(n),
                                chain_statements(chain.names, chain.value), before);
  constexpr std::string_view kContext = "{context}";
  const std::string_view task = kVtStrings.task;
  Draft draft{std::string(task.substr(0, task.find(kContext))), {}};
  for (const ByteSpan& span : context.needles) {
    draft.needles.push_back({draft.text.size() + span.begin, draft.text.size() + span.end});
  }
  draft.text += context.text;
  draft.text += fill(task.substr(task.find(kContext) + kContext.size()), {{"query", chain.value}});
  draft.text += fill(kVtStrings.answer_prefix,
                     {{"query", chain.value}, {"num_v", std::to_string(chain.names.size())}});
  return draft;
}

class Vt : public RulerTask {
 public:
  Vt(const char* name, const char* summary)
      : RulerTask({name, 1, summary, kRulerSource, "ruler_all"}, kTokensToGenerate, kVtStrings) {}

 protected:
  Attempt try_make(const TaskOptions& options, std::int64_t i,
                   const Tokenizer& tokenizer) const override;

  std::unique_ptr<OfficialGenerator> official(OfficialCell cell,
                                              const TaskOptions& /*options*/) const override {
    return make_official_vt(cell,
                            std::string(kVtStrings.task) + std::string(kVtStrings.answer_prefix));
  }
};

SampledTask::Attempt Vt::try_make(const TaskOptions& options, std::int64_t i,
                                  const Tokenizer& tokenizer) const {
  PythonRandom random = random_for(options, i);
  std::set<std::string> taken;
  const Chain chain = draw_chain(5, taken, random);
  const Chain shown = draw_chain(3, taken, random);
  const std::uint64_t seed = random.getrandbits(64);

  Units units(noise_haystack(), tokenizer);
  std::string example = fit(tokenizer, kExampleTokens, 1, units, [&](std::int64_t n) {
                          return chain_text(shown, n);
                        }).draft.text;
  for (const std::string& name : shown.names) example += " " + name;
  example += "\n\n";

  Sample sample;
  sample.references = chain.names;
  sample.cluster = cluster_name(seed);
  sample.answer_prefix =
      fill(kVtStrings.answer_prefix,
           {{"query", chain.value}, {"num_v", std::to_string(chain.names.size())}});
  const auto build = [&](std::int64_t n) {
    Draft draft = chain_text(chain, n);
    draft.text.insert(0, example);
    for (ByteSpan& span : draft.needles) {
      span.begin += example.size();
      span.end += example.size();
    }
    return draft;
  };
  Fit fitted = fit_text(options, tokenizer, sample.answer_prefix, 1, units, build);
  return finish(options, tokenizer, std::move(fitted), std::move(sample));
}

}  // namespace

std::vector<std::string> chain_statements(const std::vector<std::string>& names,
                                          const std::string& value) {
  std::vector<std::string> statements{fmt::format("VAR {} = {}", names.front(), value)};
  for (std::size_t j = 1; j < names.size(); ++j) {
    statements.push_back(fmt::format("VAR {} = VAR {} ", names[j], names[j - 1]));
  }
  return statements;
}

Draft chain_context(std::size_t n, const std::vector<std::string>& statements,
                    const std::vector<std::size_t>& before) {
  Draft context;
  std::size_t next = 0;
  for (std::size_t line = 0; line < n; ++line) {
    if (line > 0) context.text += '\n';
    for (; next < before.size() && before[next] == line; ++next) {
      const std::size_t begin = context.text.size();
      context.text += statements[next];
      context.needles.push_back({begin, context.text.size()});
      context.text += '\n';
    }
    context.text += kNoiseLine;
  }
  return context;
}

std::unique_ptr<Task> make_vt(const char* name, const char* summary) {
  return std::make_unique<Vt>(name, summary);
}

}  // namespace sala
