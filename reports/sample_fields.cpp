// The rows and fields of the exports, in one table for every format.
// SPDX-License-Identifier: Apache-2.0
#include "reports/sample_fields.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace sala {
namespace {

using nlohmann::json;

const SweepRecord& sweep_of(const SampleRef& s) {
  return s.results.sweeps[s.cell.sweep];
}
const ModelRecord& model_of(const SampleRef& s) {
  return s.results.models[s.cell.model];
}

/// The attempt that gave the sample, or the last one.
const RunRecord* run_of(const SampleRef& s) {
  if (s.answer != nullptr) return &s.cell.runs[s.answer->run];
  return s.cell.runs.empty() ? nullptr : &s.cell.runs.back();
}

template <typename Get>
json of_run(const SampleRef& s, Get get) {
  const RunRecord* run = run_of(s);
  return run == nullptr ? json() : json(get(*run));
}

template <typename Get>
json of_answer(const SampleRef& s, Get get) {
  return s.answer == nullptr ? json() : json(get(*s.answer));
}

template <typename Get>
json of_environment(const SampleRef& s, Get get) {
  const RunRecord* run = run_of(s);
  return run == nullptr ? json() : json(get(s.results.environments[run->environment]));
}

json maybe_text(const std::string& text) {
  return text.empty() ? json() : json(text);
}

json maybe(const std::optional<std::int64_t>& value) {
  return value ? json(*value) : json();
}

/// The sample's value of a metric of the whole request.
json measured(const SampleRef& s, std::string_view metric) {
  const auto found = s.totals.find(metric);
  return found == s.totals.end() ? json() : json(found->second);
}

/// A time kept with the answer, which knows of no flag.
template <typename Get>
json time_of_answer(const SampleRef& s, Get get) {
  return s.flagged ? json() : of_answer(s, [&](const AnswerRecord& a) { return maybe(get(a)); });
}

constexpr SampleField kFields[] = {
    {"sweep", [](const SampleRef& s) { return json(sweep_of(s).uid); }},
    {"sweep_name", [](const SampleRef& s) { return json(sweep_of(s).name); }},
    {"run", [](const SampleRef& s) { return of_run(s, [](auto& r) { return r.uid; }); }},
    {"kind", [](const SampleRef& s) { return json(s.cell.kind); }},
    {"model", [](const SampleRef& s) { return json(model_of(s).name); }},
    {"mode", [](const SampleRef& s) { return json(s.cell.mode); }},
    {"backend", [](const SampleRef& s) { return json(s.cell.backend); }},
    {"dtype", [](const SampleRef& s) { return json(model_of(s).dtype); }},
    {"task", [](const SampleRef& s) { return maybe_text(s.cell.task); }},
    {"task_mode",
     [](const SampleRef& s) {
       return maybe_text(json::parse(s.cell.task_params).value("mode", ""));
     }},
    {"task_label",
     [](const SampleRef& s) {
       return maybe_text(json::parse(s.cell.task_params).value("label", ""));
     }},
    {"scorer", [](const SampleRef& s) { return maybe_text(s.cell.scorer); }},
    {"length_tokens", [](const SampleRef& s) { return json(s.cell.context_len); }},
    {"status", [](const SampleRef& s) { return json(s.cell.status); }},
    {"status_reason",
     [](const SampleRef& s) {
       return s.cell.runs.empty() ? json() : maybe_text(s.cell.runs.back().reason);
     }},
    {"sample_index", [](const SampleRef& s) { return s.index < 0 ? json() : json(s.index); }},
    {"repeat", [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.repeat; }); }},
    {"seed", [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.seed; }); }},
    {"prompt_sha256",
     [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.prompt_sha256; }); }},
    {"prompt_tokens",
     [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.prompt_tokens; }); }},
    {"depth_pct",
     [](const SampleRef& s) {
       return of_answer(s, [](auto& a) { return a.depth_pct ? json(*a.depth_pct) : json(); });
     }},
    {"cluster", [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.cluster; }); }},
    {"references",
     [](const SampleRef& s) {
       return of_answer(s, [](auto& a) { return json::parse(a.references); });
     }},
    {"output", [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.output; }); }},
    {"output_tokens",
     [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.n_out; }); }},
    {"finish", [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.finish; }); }},
    {"score", [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.score; }); }},
    {"correct", [](const SampleRef& s) { return of_answer(s, [](auto& a) { return a.correct; }); }},
    {"error_class",
     [](const SampleRef& s) {
       return of_answer(s, [](auto& a) { return maybe_text(a.error_class); });
     }},
    {"scorer_detail",
     [](const SampleRef& s) {
       return of_answer(s,
                        [](auto& a) { return a.detail.empty() ? json() : json::parse(a.detail); });
     }},
    {"ttft_ns",
     [](const SampleRef& s) {
       json value = time_of_answer(s, [](auto& a) { return a.ttft_ns; });
       return value.is_null() ? measured(s, "ttft_ns") : value;
     }},
    {"total_ns",
     [](const SampleRef& s) { return time_of_answer(s, [](auto& a) { return a.total_ns; }); }},
    {"prefill_tok_s", [](const SampleRef& s) { return measured(s, "prefill_tok_s"); }},
    {"tpot_ns", [](const SampleRef& s) { return measured(s, "tpot_ns"); }},
    {"device_peak_bytes", [](const SampleRef& s) { return measured(s, "device_peak_bytes"); }},
    {"weights_sha256", [](const SampleRef& s) { return json(model_of(s).weights_sha256); }},
    {"tokenizer_sha256", [](const SampleRef& s) { return json(model_of(s).tokenizer_sha256); }},
    {"cell_key", [](const SampleRef& s) { return json(s.cell.cell_key); }},
    {"compare_key", [](const SampleRef& s) { return json(s.cell.compare_key); }},
    {"git_commit",
     [](const SampleRef& s) { return of_environment(s, [](auto& e) { return e.git_commit; }); }},
    {"git_dirty",
     [](const SampleRef& s) { return of_environment(s, [](auto& e) { return e.git_dirty; }); }},
    {"version",
     [](const SampleRef& s) { return of_environment(s, [](auto& e) { return e.version; }); }},
    {"env_hash",
     [](const SampleRef& s) { return of_environment(s, [](auto& e) { return e.env_hash; }); }},
};

}  // namespace

std::span<const SampleField> sample_fields() {
  return kFields;
}

void for_each_sample(const Results& results, const std::function<void(const SampleRef&)>& visit) {
  for (const CellRecord& cell : results.cells) {
    const std::set<std::int64_t> flagged(cell.flagged.begin(), cell.flagged.end());
    std::map<std::int64_t, std::map<std::string_view, double>> totals;  // by repetition
    for (const ValueRecord& value : cell.values) {
      std::map<std::string_view, double>& of_sample = totals[value.rep];
      if (value.pos == -1 && value.stage == "total") of_sample.emplace(value.metric, value.value);
    }
    const auto visit_sample = [&](const AnswerRecord* answer, std::int64_t index) {
      const auto found = totals.find(index);
      visit({results, cell, answer, index, flagged.contains(index),
             found == totals.end() ? std::map<std::string_view, double>() : found->second});
    };
    std::set<std::int64_t> speed_only;  // repetitions without an answer
    for (const auto& [rep, of_sample] : totals) speed_only.insert(rep);
    for (const AnswerRecord& answer : cell.answers) speed_only.erase(answer.sample_index);
    for (const AnswerRecord& answer : cell.answers) visit_sample(&answer, answer.sample_index);
    for (const std::int64_t rep : speed_only) visit_sample(nullptr, rep);
    if (cell.answers.empty() && speed_only.empty()) visit_sample(nullptr, -1);
  }
}

}  // namespace sala
