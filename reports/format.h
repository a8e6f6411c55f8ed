// How numbers and foreign text are written in reports.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "harness/compare/statistics.h"

namespace sala {

/// 4096 -> "4k", 1048576 -> "1M", 1000 -> "1000".
std::string length_text(std::int64_t tokens);

/// Three significant digits without an exponent: 0.0123, 1.23, 12.3, 123, 1235.
std::string number_text(double value);

/// A share as a percentage with one decimal, without the sign: 0.9751 -> "97.5".
std::string percent_text(double share);

/// "93.0–99.4" for shares.
std::string percent_interval_text(Interval shares);

/// A difference of shares in points, always signed: +1.2, −0.5, 0.0.
std::string points_text(double difference);

/// p values: "<0.001" or three decimals.
std::string p_text(double p);

/// Nanoseconds as "12.3 ms", "1.23 s".
std::string duration_text(double ns);

/// Bytes as "12.3 MiB", "1.23 GiB".
std::string bytes_text(double bytes);

/// Microseconds since the epoch as "2025-01-31 12:34 UTC".
std::string utc_text(std::int64_t us);

/// At most `limit` bytes, cut between UTF-8 characters, with an ellipsis when cut; control
/// characters become visible marks, invalid UTF-8 becomes U+FFFD.
std::string plain_text(std::string_view text, std::size_t limit = std::string::npos);

/// Text for HTML content and double-quoted attributes.
std::string html_escape(std::string_view text);

/// Arguments as a line for a POSIX shell.
std::string shell_quote(std::string_view argument);

}  // namespace sala
