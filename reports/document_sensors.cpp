// What the GPU's sensors said: energy a token and a right answer, clocks, heat, what was left out.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "reports/document.h"
#include "reports/format.h"

namespace sala {
namespace {

constexpr const char* kNone = "\u2014";
/// Power is known about every 50 ms: below this the energy of a phase says little.
constexpr double kLeastSeconds = 2;

/// Energy of one subject at one length, added over its requests.
struct Energy {
  double prefill_j = 0, decode_j = 0, answered_j = 0;
  double prefill_ns = 0, decode_ns = 0;
  double prompt_tokens = 0, decode_tokens = 0;
  std::int64_t n_answers = 0, n_correct = 0, n = 0;
};

void add_energy(const CellRecord& cell, Energy& energy) {
  std::set<std::int64_t> measured;  // requests whose power was read
  for (const ValueRecord& value : cell.values) {
    if (value.metric == "energy_j" && value.stage == "total") measured.insert(value.rep);
  }
  for (const ValueRecord& value : cell.values) {
    if (!measured.contains(value.rep)) continue;
    if (value.metric == "energy_j") {
      if (value.stage == "prefill") energy.prefill_j += value.value;
      if (value.stage == "decode") energy.decode_j += value.value;
      if (value.stage == "total" && cell.kind == "accuracy") energy.answered_j += value.value;
    } else if (value.metric == "prompt_tokens") {
      energy.prompt_tokens += value.value;
    } else if (value.metric == "prefill_ns") {
      energy.prefill_ns += value.value;
    } else if (value.metric == "itl_ns") {
      energy.decode_ns += value.value;
      energy.decode_tokens += 1;
    }
  }
  energy.n += static_cast<std::int64_t>(measured.size());
  if (is_perplexity(cell)) return;
  for (const AnswerRecord& answer : cell.answers) {
    if (!measured.contains(answer.sample_index)) continue;
    ++energy.n_answers;
    energy.n_correct += answer.correct ? 1 : 0;
  }
}

std::string joules_text(double joules, double tokens, double ns) {
  if (tokens == 0 || ns < kLeastSeconds * 1e9) return kNone;
  return number_text(joules / tokens);
}

Table energy_table(const Analysis& analysis) {
  Table table;
  table.caption = fmt::format(
      "Energy of the GPU: joules a token over all requests of a length, and over all answers a "
      "right one; {} where there are less than {} s of it",
      kNone, kLeastSeconds);
  table.columns = {{"subject", false},         {"length", true},
                   {"prefill, J/token", true}, {"decode, J/token", true},
                   {"J a right answer", true}, {"right of", true},
                   {"requests", true}};
  for (std::size_t subject = 0; subject < analysis.subjects.size(); ++subject) {
    for (const std::int64_t length : analysis.lengths) {
      Energy energy;
      for (const std::size_t i : analysis.cells) {
        const CellRecord& cell = analysis.results->cells[i];
        if (analysis.subject_of_cell[i] == subject && cell.context_len == length) {
          add_energy(cell, energy);
        }
      }
      if (energy.n == 0) continue;
      const double answered_ns = energy.n_correct > 0 ? energy.prefill_ns + energy.decode_ns : 0;
      table.rows.push_back(
          {analysis.subjects[subject].label, length_text(length),
           joules_text(energy.prefill_j, energy.prompt_tokens, energy.prefill_ns),
           joules_text(energy.decode_j, energy.decode_tokens, energy.decode_ns),
           joules_text(energy.answered_j, static_cast<double>(energy.n_correct), answered_ns),
           fmt::format("{} of {}", energy.n_correct, energy.n_answers),
           fmt::format("{}", energy.n)});
    }
  }
  return table;
}

/// Why a clock was below its maximum, and what else disturbed a run.
std::string reasons_text(std::int64_t reasons, std::int64_t flags) {
  std::string text;
  const auto add = [&](bool is_set, const char* name) {
    if (is_set) text += fmt::format("{}{}", text.empty() ? "" : ", ", name);
  };
  add((reasons & 0x4) != 0, "power cap");
  add((reasons & 0x8) != 0, "hardware slowdown");
  add((reasons & 0x60) != 0, "heat");
  add((reasons & 0x80) != 0, "power brake");
  add((flags & 0x2) != 0, "clock changed");
  add((flags & 0x4) != 0, "another process");
  add((flags & (1 << 17)) != 0, "energy counter disagrees");
  add((flags & (1 << 18)) != 0, "memory unaccounted for");
  return text.empty() ? "none" : text;
}

Table sensor_table(const Analysis& analysis) {
  Table table;
  table.caption = "Clock, power and heat of every run, and the samples left out of its figures";
  table.columns = {{"subject", false}, {"task", false},        {"length", true},
                   {"SM MHz", true},   {"most W", true},       {"most \u00b0C", true},
                   {"left out", true}, {"disturbances", false}};
  table.folded = true;
  const auto shown = [](const std::optional<double>& value) {
    return value ? fmt::format("{:.0f}", *value) : std::string(kNone);
  };
  for (const std::size_t i : analysis.cells) {
    const CellRecord& cell = analysis.results->cells[i];
    for (const RunRecord& run : cell.runs) {
      if (!run.telemetry) continue;
      const TelemetryRecord& seen = *run.telemetry;
      table.rows.push_back(
          {analysis.subjects[analysis.subject_of_cell[i]].label,
           cell.kind == "perf" ? "speed" : task_label(cell), length_text(cell.context_len),
           fmt::format("{}\u2013{}", shown(seen.min_sm_mhz), shown(seen.max_sm_mhz)),
           shown(seen.max_power_w), shown(seen.max_temp_c), fmt::format("{}", cell.flagged.size()),
           reasons_text(seen.event_reasons, run.flags)});
    }
  }
  return table;
}

}  // namespace

Section sensors_section(const Analysis& analysis) {
  Section section{"sensors", "Energy, clocks and heat", {}, {}, {}, {}};
  Table sensors = sensor_table(analysis);
  if (sensors.rows.empty()) return section;
  section.paragraphs.emplace_back(
      "Power is read every 50 ms while a request runs and integrated over its phases; it is that "
      "of the whole GPU board. A sample that ran while heat or power supply slowed the GPU down, "
      "at a clock more than 5 % off that of its run, or beside another process is kept in the "
      "database and left out of every figure of speed and energy.");
  Table energy = energy_table(analysis);
  if (!energy.rows.empty()) section.tables.push_back(std::move(energy));
  section.tables.push_back(std::move(sensors));
  return section;
}

}  // namespace sala
