// Brings a results database to the schema this binary writes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace SQLite {
class Database;
}

namespace sala {

constexpr std::int32_t kApplicationId = 0x53414C41;  // "SALA"
constexpr std::int32_t kSchemaVersion = 6;

extern const char* const kSchemaV1;  // text of schema_v1.sql
extern const char* const kSchemaV2;
extern const char* const kSchemaV3;
extern const char* const kSchemaV4;
extern const char* const kSchemaV5;
extern const char* const kSchemaV6;

/// Applies every migration that the file lacks, each in one transaction that is taken exclusively,
/// so that two processes which start together do not both apply it.
void migrate(SQLite::Database& database);

}  // namespace sala
