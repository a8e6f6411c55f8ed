// CSV export: one row a sample, RFC 4180.
// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <ostream>

#include "reports/sample_fields.h"

namespace sala {
namespace {

std::string csv_text(const nlohmann::json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string quoted = "\"";
    for (const char c : text) {
      quoted += c;
      if (c == '"') quoted += c;
    }
    return quoted + "\"";
  }
  if (value.is_structured()) return csv_text(nlohmann::json(value.dump()));
  return value.dump();
}

}  // namespace

void write_csv(const Results& results, std::ostream& out) {
  const char* separator = "";
  for (const SampleField& field : sample_fields()) {
    out << separator << field.name;
    separator = ",";
  }
  out << "\r\n";
  for_each_sample(results, [&](const SampleRef& sample) {
    const char* before = "";
    for (const SampleField& field : sample_fields()) {
      out << before << csv_text(field.value(sample));
      before = ",";
    }
    out << "\r\n";
  });
}

}  // namespace sala
