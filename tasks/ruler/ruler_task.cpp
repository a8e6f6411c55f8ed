// Looks up the stream of a cell and cuts its texts into prompt and answer prefix.
// SPDX-License-Identifier: Apache-2.0
#include "tasks/ruler/ruler_task.h"

#include <fmt/ranges.h>

#include "engine/base/error.h"
#include "engine/text/chat_formats.h"
#include "tasks/chat_template.h"

namespace sala {

OfficialStream& RulerTask::stream(const TaskOptions& options, const Tokenizer& tokenizer) const {
  const std::string key =
      fmt::format("{}\n{}\n{}\n{}\n{}", options.length, options.seed, tokenizer.sha256(),
                  options.chat_template, fmt::join(options.data, "\n"));
  const std::lock_guard lock(mutex_);
  auto& kept = streams_[key];
  if (!kept) {
    OfficialCell cell{.task = info().name,
                      .length = options.length,
                      .seed = options.seed,
                      .tokens_to_generate = tokens_to_generate(),
                      .frame = fill(chat_template_text(options.chat_template),
                                    {{"task_template", strings_.task}}) +
                               std::string(strings_.answer_prefix)};
    kept = std::make_unique<OfficialStream>(official(std::move(cell), options), tokenizer);
  }
  return *kept;
}

Sample RulerTask::make(const TaskOptions& options, std::int64_t i,
                       const Tokenizer& tokenizer) const {
  if (options.mode != "official") return SampledTask::make(options, i, tokenizer);
  if (i < 0) throw Error(info().name, "sample {} does not exist; the first one is 0", i);
  OfficialDraft made = stream(options, tokenizer).sample(i, tokenizer);
  Sample sample;
  sample.index = i;
  sample.references = std::move(made.references);
  sample.cluster = made.cluster.empty()
                       ? fmt::format("official/{}/{}/{}", options.length, options.seed, i)
                       : std::move(made.cluster);
  // Upstream finds the answer prefix again by the first ten characters of its template.
  const std::size_t cut = made.draft.text.rfind(strings_.answer_prefix.substr(0, 10));
  sample.answer_prefix = made.draft.text.substr(cut);
  Encoding encoding = tokenizer.encode(made.draft.text);
  return complete(std::move(sample), std::move(made.draft), std::move(encoding), tokenizer);
}

}  // namespace sala
