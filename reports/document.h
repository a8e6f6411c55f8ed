// A report before it is printed: sections of text, figures and tables, the same for every format.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "reports/analysis.h"

namespace sala {

struct Column {
  std::string header;
  bool numeric = false;
};

struct Table {
  std::string caption;
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
  bool folded = false;  // long or secondary: shown on request
};

/// A chart with the table that says the same. `spec` is Vega-Lite JSON.
struct Figure {
  std::string title;
  std::string finding;  // one sentence: what the chart shows
  std::string spec;
  int columns = 1;     // how many such figures stand side by side on a wide page: 1, 2 or 3
  bool lines = false;  // one line a subject: the page shows which is which
};

struct Section {
  std::string id;
  std::string title;
  std::vector<std::string> paragraphs;
  std::vector<std::string> commands;  // for a shell, one a line
  std::vector<Figure> figures;
  std::vector<Table> tables;
};

struct Document {
  std::string title;
  std::string subtitle;               // what was compared, when, on what
  std::vector<std::string> subjects;  // in the order of colours and markers
  std::string badge;                  // the verdict in one symbol and word, or empty
  std::vector<std::string> verdict;
  std::vector<Section> sections;
};

Document make_document(const Analysis& analysis);

/// Sections of make_document(), in the order of the page. Each may be empty of figures and tables.
Section needle_section(const Analysis& analysis);
Section lengths_section(const Analysis& analysis);
Section accuracy_section(const Analysis& analysis);
Section perplexity_section(const Analysis& analysis);
Section speed_section(const Analysis& analysis);
Section latency_section(const Analysis& analysis);
Section stages_section(const Analysis& analysis);
Section roofline_section(const Analysis& analysis);
Section kernels_section(const Analysis& analysis);
Section profile_section(const Analysis& analysis);
Section memory_section(const Analysis& analysis);
Section fidelity_section(const Analysis& analysis);
Section pareto_section(const Analysis& analysis);
Section sensors_section(const Analysis& analysis);
Section history_section(const Analysis& analysis);
Section failures_section(const Analysis& analysis);
Section routes_section(const Analysis& analysis);
Section environment_section(const Analysis& analysis);
Section reproduce_section(const Analysis& analysis);

/// Table of the speed section: a crossover a row.
Table crossover_table(const Analysis& analysis);

/// Tables of the accuracy section: scores by the benchmark's own groups, and the scorers' other
/// figures, means over the answers that have them. None when no answer has any.
std::vector<Table> detail_tables(const Analysis& analysis);

}  // namespace sala
