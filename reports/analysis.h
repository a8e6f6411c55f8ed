// What the results say, computed once for every report: pairs, accuracies, times, memory, verdict.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "harness/compare/crossover.h"
#include "harness/compare/estimate.h"
#include "harness/store/reader.h"

namespace sala {

/// One thing that is measured: a model in one mode on one backend with one set of options.
struct Subject {
  std::string label;  // unique within the report
  std::string mode;   // of the cell, or dense: full attention forced on a hybrid
  std::string backend;
  std::string device;        // name of the CPU or GPU; empty: not stored
  std::size_t model = 0;     // index into Results::models
  std::string options;       // engine settings as "key=value, ..."
  bool is_baseline = false;  // what the others are compared with
};

/// What else there is to say of the answers behind a score.
struct AnswerStats {
  std::int64_t n = 0;
  std::int64_t n_empty = 0;
  std::int64_t n_at_limit = 0;  // ended by the limit on new tokens
  std::int64_t n_failed = 0;    // could not run, and count as misses
  std::int64_t n_cut = 0;       // prompts that lost their middle
  double mean_new_tokens = 0;
  std::int64_t min_prompt_tokens = 0;
  std::int64_t max_prompt_tokens = 0;
  double mean_prompt_tokens = 0;
};

/// One task at one length: an entry a subject, in the order of Analysis::subjects.
struct AccuracyRow {
  std::string task;
  std::int64_t length = 0;
  std::vector<std::optional<Accuracy>> accuracy;
  std::vector<AnswerStats> answers;
  std::vector<std::string> status;  // of the cell; empty when it was never planned
  std::optional<PairedDifference> paired;
};

/// One square of the needle map.
struct GridRow {
  int depth = 0;  // percent: the middle of the band
  std::int64_t length = 0;
  std::vector<std::optional<Accuracy>> accuracy;
  std::optional<PairedDifference> paired;
};

/// The mean over tasks at one length.
struct LengthRow {
  std::size_t subject = 0;
  std::string mode;  // of the prompts
  std::int64_t length = 0;
  std::int64_t n_tasks = 0;
  std::int64_t n = 0;                      // prompts
  bool is_ruler = false;                   // all of its 13 tasks are there, and no others count
  std::vector<std::string> ruler_missing;  // those of its tasks that are not
  LengthScore score;
  double p_effective = 0;  // that this and every shorter length reach RULER's threshold
};

struct Estimate {
  std::int64_t n = 0;
  double value = 0;
  Interval interval;
};

/// One raw number and what it was measured on: values of two subjects are a pair when both agree.
struct RawValue {
  std::string task;  // empty for speed cells
  std::int64_t rep = 0;
  double value = 0;
};

/// Speed and memory of one subject at one length, over all of its tasks.
struct SpeedRow {
  std::size_t subject = 0;
  std::int64_t length = 0;
  std::vector<std::size_t> cells;  // whose numbers these are
  std::optional<Estimate> ttft_ns;
  std::optional<Estimate> prefill_tok_s;
  std::optional<Estimate> decode_ns;  // per token after the first
  std::optional<double> peak_bytes;
  std::vector<RawValue> raw_ttft_ns;
  std::vector<RawValue> raw_decode_ns;
  std::vector<double> token_gaps_ns;       // every gap between two tokens, ascending
  std::vector<LedgerRecord> ledger;        // at the peak, of the cell where it was largest
  std::map<std::string, double> stage_ns;  // mean a request
  std::vector<RouteRecord> routes;         // added up over the cells
};

/// Negative log-likelihood of plain text, nats a token, over the tokens of a range of positions.
struct PerplexityRow {
  std::size_t subject = 0;
  std::int64_t length = 0;
  std::int64_t from = 0;  // position of the first token, and one past the last
  std::int64_t to = 0;
  Estimate nll;
};

/// The peak, which is counted and not sampled, as an estimate without width.
std::optional<Estimate> peak_estimate(const SpeedRow& row);

/// Where the first subject of the pair overtakes the second on one metric.
struct Crossover {
  std::string metric;
  CrossoverLength length;
  std::int64_t shortest = 0;  // of the lengths with values of both; 0: there are none
  std::int64_t longest = 0;
  std::size_t fewest_pairs = 0;  // at any of them
  std::string outcome;           // a sentence without its full stop
};

/// A prompt that one subject of the pair answered and the other did not.
struct Flip {
  std::string task;
  std::int64_t length = 0;
  const AnswerRecord* first = nullptr;
  const AnswerRecord* second = nullptr;
};

/// The pair over every task and length.
struct Overall {
  std::optional<PairedDifference> paired;
  double first = 0;  // mean scores on the shared prompts
  double second = 0;
  std::int64_t n_unpaired = 0;  // prompts that only one of the two answered
};

/// Holds pointers into the Results it was made from.
struct Analysis {
  const Results* results = nullptr;
  std::vector<Subject> subjects;
  std::vector<std::size_t> cells;            // indices into Results::cells of what is reported
  std::vector<std::size_t> subject_of_cell;  // of every cell of Results
  std::size_t superseded = 0;  // cells left out because a later sweep measured them again
  std::optional<std::pair<std::size_t, std::size_t>> pair;  // model and baseline
  std::vector<std::int64_t> lengths;
  std::vector<AccuracyRow> accuracy;
  std::vector<GridRow> grid;
  std::vector<LengthRow> length_scores;  // by subject, then by length
  std::vector<PerplexityRow> perplexity;
  std::vector<SpeedRow> speed;
  std::vector<Crossover> crossovers;
  std::vector<std::map<std::string, std::int64_t>> error_classes;  // by subject
  std::vector<Flip> flips;
  Overall overall;           // all shared prompts; those that failed to run count as misses
  Overall overall_answered;  // the same without prompts that failed to run on either side
  std::vector<std::size_t> failures;  // cells that have no score, in the order of `cells`
  Verdict verdict = Verdict::none;
  std::vector<std::string> verdict_sentences;

  const SpeedRow* speed_at(std::size_t subject, std::int64_t length) const;
};

Analysis analyse(const Results& results);

/// Name of a cell's task in tables: official prompts are another benchmark than strict ones.
std::string task_label(const CellRecord& cell);
/// strict, or official for the published code's prompts.
std::string task_mode(const CellRecord& cell);

/// Plain text is measured in likelihood, not in right answers.
bool is_perplexity(const CellRecord& cell);

/// Steps of analyse(), each of which fills its part.
void find_subjects(Analysis& analysis);
void analyse_accuracy(Analysis& analysis);
void analyse_lengths(Analysis& analysis);
void analyse_perplexity(Analysis& analysis);
void analyse_speed(Analysis& analysis);
void analyse_crossovers(Analysis& analysis);
void write_verdict(Analysis& analysis);

/// Every crossover in one sentence for the verdict; empty when there are none.
std::string crossover_sentence(const Analysis& analysis);

}  // namespace sala
