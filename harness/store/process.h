// Tells whether the process that left a running row behind is still there; makes unique ids.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sala {

/// Microseconds since the epoch, UTC.
std::int64_t now_us();

/// A UUID of version 7: 48 bits of milliseconds, then random bits.
std::string make_uid();

/// This process as JSON: {"process":{"boot":...,"namespace":...,"pid":...,"start":...}}.
std::string process_identity();

/// Whether the process of such a text still runs. One that cannot be looked up from here (another
/// host, another container) counts as alive while its heartbeat is younger than a minute.
bool process_is_alive(std::string_view identity, std::int64_t heartbeat_us);

}  // namespace sala
