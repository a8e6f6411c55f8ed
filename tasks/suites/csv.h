// Tables of comma-separated values whose fields may hold line breaks (RFC 4180).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sala {

/// Rows of fields, the header first. where: names the file in errors. Throws Error for a quote that
/// is not closed and for rows with another number of fields than the header.
std::vector<std::vector<std::string>> read_csv(std::string_view text, std::string_view where);

}  // namespace sala
