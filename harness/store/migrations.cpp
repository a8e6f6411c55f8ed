// Brings a results database to the schema this binary writes.
// SPDX-License-Identifier: Apache-2.0
#include "harness/store/migrations.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <chrono>

#include "engine/base/build_info.h"
#include "engine/base/sha256.h"

namespace sala {
namespace {

struct Migration {
  std::int32_t version;
  const char* name;
  const char* const* sql;
};

// To change the schema: add schema_v<N>.sql, raise kSchemaVersion and add a row.
constexpr Migration kMigrations[] = {
    {1, "initial", &kSchemaV1},  {2, "gate", &kSchemaV2},  {3, "sensors and ceilings", &kSchemaV3},
    {4, "fidelity", &kSchemaV4}, {5, "views", &kSchemaV5}, {6, "profile", &kSchemaV6},
};

}  // namespace

void migrate(SQLite::Database& database) {
  for (const Migration& migration : kMigrations) {
    SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
    if (database.execAndGet("PRAGMA user_version").getInt() >= migration.version) continue;
    database.exec(*migration.sql);
    database.exec(fmt::format("PRAGMA application_id = {}", kApplicationId));
    database.exec(fmt::format("PRAGMA user_version = {}", migration.version));
    SQLite::Statement row(database, "INSERT INTO schema_migration VALUES(?,?,?,?,?)");
    row.bind(1, migration.version);
    row.bind(2, migration.name);
    row.bind(3, std::chrono::duration_cast<std::chrono::microseconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count());
    row.bind(4, build_info().version);
    row.bind(5, sha256_hex(std::string_view(*migration.sql)));
    row.exec();
    transaction.commit();
  }
}

}  // namespace sala
