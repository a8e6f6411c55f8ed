// Markdown report for GitHub: the verdict and every table that there is room for; long ones fold.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <ostream>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

#include "reports/document.h"

namespace sala {
namespace {

// GitHub refuses comments and summaries of more than 65,536 characters.
constexpr std::size_t kMostBytes = 65000;

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

using Tables = std::set<const Table*>;

void write_document(const Document& document, const Tables& left_out, std::ostream& out) {
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
    for (const Table& table : section.tables) {
      if (left_out.contains(&table)) {
        out << "Left out for its length, see the HTML report: " << markdown_escape(table.caption)
            << ".\n\n";
      } else {
        write_table(table, out);
      }
    }
  }
}

/// Tables in the order in which they give way: folded ones first, the longest first.
std::vector<const Table*> in_order_of_yielding(const Document& document) {
  std::vector<const Table*> tables;
  for (const Section& section : document.sections) {
    for (const Table& table : section.tables) tables.push_back(&table);
  }
  std::stable_sort(tables.begin(), tables.end(), [](const Table* a, const Table* b) {
    return std::pair(!a->folded, b->rows.size()) < std::pair(!b->folded, a->rows.size());
  });
  return tables;
}

}  // namespace

void write_markdown(const Results& results, std::ostream& out) {
  const Analysis analysis = analyse(results);
  const Document document = make_document(analysis);
  Tables left_out;
  std::ostringstream text;
  write_document(document, left_out, text);
  for (const Table* table : in_order_of_yielding(document)) {
    if (text.view().size() <= kMostBytes) break;
    left_out.insert(table);
    text.str("");
    write_document(document, left_out, text);
  }
  out << text.view();
}

}  // namespace sala
