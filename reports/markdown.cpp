// Markdown report for GitHub: the verdict and every table; long tables fold.
// SPDX-License-Identifier: Apache-2.0
#include <ostream>
#include <string_view>

#include "reports/document.h"

namespace sala {
namespace {

/// Text that Markdown shows as it is: markup and pipes are escaped.
std::string markdown_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '\\':
      case '`':
      case '*':
      case '_':
      case '[':
      case ']':
      case '|':
      case '#':
      case '~':
        out += '\\';
        out += c;
        break;
      default:
        out += c;
    }
  }
  return out;
}

void write_table(const Table& table, std::ostream& out) {
  if (table.folded) {
    out << "<details><summary>" << markdown_escape(table.caption) << "</summary>\n\n";
  } else {
    out << "**" << markdown_escape(table.caption) << "**\n\n";
  }
  for (const Column& column : table.columns) out << "| " << markdown_escape(column.header) << " ";
  out << "|\n";
  for (const Column& column : table.columns) out << (column.numeric ? "|---:" : "|---");
  out << "|\n";
  for (const std::vector<std::string>& row : table.rows) {
    for (const std::string& cell : row) out << "| " << markdown_escape(cell) << " ";
    out << "|\n";
  }
  out << (table.folded ? "\n</details>\n\n" : "\n");
}

}  // namespace

void write_markdown(const Results& results, std::ostream& out) {
  const Analysis analysis = analyse(results);
  const Document document = make_document(analysis);
  out << "# " << markdown_escape(document.title) << "\n\n"
      << markdown_escape(document.subtitle) << "\n\n";
  if (!document.badge.empty()) out << "**Verdict: " << document.badge << "**\n\n";
  for (const std::string& sentence : document.verdict) {
    out << "- " << markdown_escape(sentence) << "\n";
  }
  out << "\n";
  for (const Section& section : document.sections) {
    out << "## " << markdown_escape(section.title) << "\n\n";
    for (const std::string& paragraph : section.paragraphs) {
      out << markdown_escape(paragraph) << "\n\n";
    }
    if (!section.commands.empty()) {
      out << "```sh\n";
      for (const std::string& command : section.commands) out << command << "\n";
      out << "```\n\n";
    }
    for (const Table& table : section.tables) write_table(table, out);
  }
}

}  // namespace sala
