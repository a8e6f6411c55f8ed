// HTML report: one offline page under a strict Content-Security-Policy.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ostream>
#include <string_view>

#include "engine/base/sha256.h"
#include "reports/document.h"
#include "reports/format.h"
#include "reports/html/assets.h"

namespace sala {
namespace {

/// Base64 of a SHA-256, as a Content-Security-Policy names a script or style.
std::string policy_hash(std::string_view text) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string hex = sha256_hex(text);
  std::string bits;
  for (const char c : hex) {
    const int value = c <= '9' ? c - '0' : c - 'a' + 10;
    for (int bit = 3; bit >= 0; --bit) bits += (value >> bit & 1) != 0 ? '1' : '0';
  }
  std::string out;
  for (std::size_t at = 0; at < bits.size(); at += 6) {
    std::string group = bits.substr(at, 6);
    group.resize(6, '0');
    out += digits[std::stoul(group, nullptr, 2)];
  }
  return "'sha256-" + out + "='";
}

std::string policy(const PageAssets& assets) {
  std::string scripts = "'none'";
  if (assets.has_charts()) {
    scripts = fmt::format("{} {} {} {}", policy_hash(assets.vega), policy_hash(assets.vega_lite),
                          policy_hash(assets.vega_embed), policy_hash(assets.script));
  }
  return fmt::format(
      "default-src 'none'; script-src {}; style-src {}; img-src data:; base-uri 'none'; "
      "form-action 'none'",
      scripts, policy_hash(assets.css));
}

/// "97.5 [93.0-99.4] n=20" with the interval set back; a cell that ends in a verdict word stands
/// out.
std::string cell_html(const std::string& text) {
  const std::size_t interval = text.find(" [");
  if (interval != std::string::npos) {
    return fmt::format("{} <span class=\"ci\">{}</span>", html_escape(text.substr(0, interval)),
                       html_escape(text.substr(interval + 1)));
  }
  const bool up = text.starts_with("\u25B2");
  if (up || text.starts_with("\u25BC")) {
    return fmt::format("<strong class=\"{}\">{}</strong>", up ? "up" : "down", html_escape(text));
  }
  return html_escape(text);
}

void write_table(const Table& table, std::ostream& out) {
  if (table.folded) out << "<details><summary>" << html_escape(table.caption) << "</summary>\n";
  out << fmt::format(
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{0}\"><table>"
      "<caption>{0}</caption>\n<thead><tr>",
      html_escape(table.caption));
  for (const Column& column : table.columns) {
    const char* attributes = column.numeric ? " class=\"num\"" : "";
    if (column.header.empty()) {
      out << "<td></td>";
    } else {
      out << fmt::format("<th scope=\"col\"{}>{}</th>", attributes, html_escape(column.header));
    }
  }
  out << "</tr></thead>\n<tbody>\n";
  const bool grouped =
      std::adjacent_find(table.rows.begin(), table.rows.end(), [](const auto& a, const auto& b) {
        return a.front() == b.front();
      }) != table.rows.end();
  const std::vector<std::string>* previous = nullptr;
  for (const std::vector<std::string>& row : table.rows) {
    // A rule sets groups of equal first cells apart.
    const bool next = grouped && previous != nullptr && previous->front() != row.front();
    out << (next ? "<tr class=\"next\">" : "<tr>");
    for (std::size_t i = 0; i < row.size(); ++i) {
      const char* kind = table.columns[i].numeric ? "num" : "text";
      const char* tag = i == 0 ? "th" : "td";
      out << fmt::format("<{0}{1} class=\"{2}\">{3}</{0}>", tag, i == 0 ? " scope=\"row\"" : "",
                         kind, cell_html(row[i]));
    }
    out << "</tr>\n";
    previous = &row;
  }
  out << "</tbody></table></div>\n";
  if (table.folded) out << "</details>\n";
}

/// Colours and markers of the subjects, as charts.cpp draws them.
void write_legend(const std::vector<std::string>& subjects, std::ostream& out) {
  constexpr std::array<const char*, 4> markers{"\u25CF\u2501", "\u25A0\u2505", "\u25B2\u2509",
                                               "\u25C6\u2504"};
  out << "<p class=\"legend\">";
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    out << fmt::format("<span><span class=\"k{}\" aria-hidden=\"true\">{}</span> {}</span> ", i % 8,
                       markers[i % markers.size()], html_escape(subjects[i]));
  }
  out << "</p>\n";
}

/// Neighbours of equal width share a grid.
void write_figures(const std::vector<Figure>& figures, const std::vector<std::string>& subjects,
                   int& next_id, std::ostream& out) {
  constexpr std::array<const char*, 3> layouts{" one", "", " three"};
  int columns = 0;
  if (std::any_of(figures.begin(), figures.end(), [](const Figure& f) { return f.lines; })) {
    write_legend(subjects, out);
  }
  for (const Figure& figure : figures) {
    if (figure.columns != columns) {
      if (columns != 0) out << "</div>\n";
      columns = figure.columns;
      out << fmt::format("<div class=\"figures{}\">\n",
                         layouts.at(static_cast<std::size_t>(columns - 1)));
    }
    const int id = next_id++;
    out << fmt::format(
        "<figure><figcaption><h3>{0}</h3>{1}</figcaption>\n"
        "<div class=\"chart\" data-spec=\"fig-{2}\" role=\"img\" aria-label=\"{0}. {1}\"></div>\n"
        "<script type=\"application/json\" id=\"fig-{2}\">",
        html_escape(figure.title), html_escape(figure.finding), id);
    out << figure.spec << "</script></figure>\n";
  }
  if (columns != 0) out << "</div>\n";
}

void write_verdict(const Document& document, std::ostream& out) {
  const char* tone = document.badge.find("\u25B2") != std::string::npos   ? " up"
                     : document.badge.find("\u25BC") != std::string::npos ? " down"
                                                                          : "";
  out << "<section id=\"verdict\"><h2>Verdict";
  if (!document.badge.empty()) {
    out << fmt::format(" <span class=\"badge{}\">{}</span>", tone, html_escape(document.badge));
  }
  out << "</h2>\n";
  const char* kind = " class=\"lead\"";
  for (const std::string& sentence : document.verdict) {
    out << fmt::format("<p{}>{}</p>\n", kind, html_escape(sentence));
    kind = "";
  }
  out << "</section>\n<nav aria-label=\"Contents\"><ul>";
  for (const Section& section : document.sections) {
    out << fmt::format("<li><a href=\"#{}\">{}</a></li>", section.id, html_escape(section.title));
  }
  out << "</ul></nav>\n";
}

void write_section(const Section& section, const Document& document, bool with_charts, int& next_id,
                   std::ostream& out) {
  out << fmt::format("<section id=\"{}\"><h2>{}</h2>\n", section.id, html_escape(section.title));
  for (const std::string& paragraph : section.paragraphs) {
    out << "<p>" << html_escape(paragraph) << "</p>\n";
  }
  if (!section.commands.empty()) {
    out << "<pre>";
    for (const std::string& command : section.commands) out << html_escape(command) << "\n";
    out << "</pre>\n";
  }
  if (with_charts) write_figures(section.figures, document.subjects, next_id, out);
  for (const Table& table : section.tables) write_table(table, out);
  out << "</section>\n";
}

}  // namespace

void write_html(const Results& results, std::ostream& out) {
  const Analysis analysis = analyse(results);
  const Document document = make_document(analysis);
  const PageAssets& assets = page_assets();
  const bool with_charts = assets.has_charts();
  out << "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      << fmt::format("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n",
                     policy(assets))
      << "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      << fmt::format("<title>{} \u2013 sala report</title>\n", html_escape(document.title))
      << "<style>" << assets.css << "</style>\n</head>\n<body>\n"
      << "<a class=\"skip\" href=\"#verdict\">Skip to the verdict</a>\n"
      << fmt::format(
             "<header><p class=\"brand\">SALA REPORT</p>\n<h1>{}</h1>\n<p class=\"sub\">{}</p>"
             "</header>\n<main>\n",
             html_escape(document.title), html_escape(document.subtitle));
  write_verdict(document, out);
  if (with_charts) {
    out << "<noscript><p class=\"note\">Charts need JavaScript; every number of them is in the "
           "tables.</p></noscript>\n";
  } else {
    out << "<p class=\"note\">This page has tables only: the program that wrote it was built "
           "without the chart library (run <code>npm ci</code> in <code>reports/web</code> and "
           "build again).</p>\n";
  }
  int next_id = 1;
  for (const Section& section : document.sections) {
    write_section(section, document, with_charts, next_id, out);
  }
  out << "</main>\n<footer><p>Written by sala from its results database alone: the same database "
         "gives the same page. Nothing on it was fetched or sent.</p>\n";
  if (with_charts) {
    out << "<details><summary>Licences of the chart library inside this page</summary><pre>"
        << html_escape(assets.licenses) << "</pre></details>\n";
  }
  out << "</footer>\n";
  if (with_charts) {
    for (const std::string_view script :
         {assets.vega, assets.vega_lite, assets.vega_embed, assets.script}) {
      out << "<script>" << script << "</script>\n";
    }
  }
  out << "</body>\n</html>\n";
}

}  // namespace sala
