// Index of report formats. To add one: write reports/<name>.cpp, declare its function here, add a
// row.
// SPDX-License-Identifier: Apache-2.0
#include "reports/registry.h"

namespace sala {

void write_html(const Results& results, std::ostream& out);
void write_markdown(const Results& results, std::ostream& out);
void write_csv(const Results& results, std::ostream& out);
void write_jsonl(const Results& results, std::ostream& out);

namespace {

constexpr Report kReports[] = {
    {"html", ".html", "one offline page with charts: verdict first, every chart with its table",
     write_html},
    {"md", ".md", "the same tables as GitHub-flavoured Markdown", write_markdown},
    {"csv", ".csv", "one row a sample, RFC 4180", write_csv},
    {"jsonl", ".jsonl", "one JSON object a sample", write_jsonl},
};

}  // namespace

std::span<const Report> reports() {
  return kReports;
}

}  // namespace sala
