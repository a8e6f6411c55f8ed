// Tables of comma-separated values whose fields may hold line breaks (RFC 4180).
// SPDX-License-Identifier: Apache-2.0
#include "tasks/suites/csv.h"

#include "engine/base/error.h"

namespace sala {

std::vector<std::vector<std::string>> read_csv(std::string_view text, std::string_view where) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false;
  const auto end_row = [&] {
    row.push_back(std::move(field));
    field.clear();
    const bool is_blank = row.size() == 1 && row[0].empty();
    if (!is_blank && !rows.empty() && row.size() != rows[0].size()) {
      throw Error(where, "row {} has {} fields, expected {} as in the header", rows.size() + 1,
                  row.size(), rows[0].size());
    }
    if (!is_blank) rows.push_back(std::move(row));
    row.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"') {
        field += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"' && field.empty()) {
      quoted = true;
    } else if (c == ',') {
      row.push_back(std::move(field));
      field.clear();
    } else if (c == '\n') {
      if (field.ends_with('\r')) field.pop_back();
      end_row();
    } else {
      field += c;
    }
  }
  if (quoted) throw Error(where, "ends inside a quoted field; is the file cut off?");
  if (!field.empty() || !row.empty()) end_row();
  return rows;
}

}  // namespace sala
