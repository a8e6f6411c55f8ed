// JSON Lines export: one object a sample.
// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <ostream>

#include "reports/sample_fields.h"

namespace sala {

void write_jsonl(const Results& results, std::ostream& out) {
  for_each_sample(results, [&](const SampleRef& sample) {
    nlohmann::ordered_json row;
    row["schema_version"] = 1;
    for (const SampleField& field : sample_fields()) {
      row[std::string(field.name)] = field.value(sample);
    }
    // Bytes that are not UTF-8 become U+FFFD: a line must always parse.
    out << row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  });
}

}  // namespace sala
