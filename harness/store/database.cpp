// Opens a results database: checks that it is one, sets up the connection, names what is wrong.
// SPDX-License-Identifier: Apache-2.0
#include "harness/store/database.h"

#include <sqlite3.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "harness/store/migrations.h"

namespace sala {
namespace {

namespace fs = std::filesystem;

struct FileSystem {
  std::int64_t magic;
  const char* name;
};

constexpr FileSystem kNetworkFileSystems[] = {
    {0x6969, "NFS"},        {0x517B, "SMB"},      {0xFE534D42, "SMB"},    {0xFF534D42, "CIFS"},
    {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"}, {0x19830326, "BeeGFS"}, {0x00C36400, "Ceph"},
    {0x01021997, "9p"},     {0x65735546, "FUSE"},
};

void refuse_network_file_system(const fs::path& path) {
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  struct statfs info{};
  if (statfs(parent.c_str(), &info) != 0) {
    throw Error(path.string(), "folder {} cannot be used; create it or name another with --db",
                parent.string());
  }
  // f_type is a signed word on some systems: compare its low 32 bits.
  const auto magic = static_cast<std::int64_t>(static_cast<std::uint32_t>(info.f_type));
  if (const char* name = network_file_system(magic)) {
    throw Error(path.string(),
                "lies on a network file system ({}), where SQLite can damage it; name a local file "
                "with --db and copy it afterwards",
                name);
  }
}

void check_identity(SQLite::Database& database, const fs::path& path) {
  const SQLite::Transaction snapshot(database);  // another process may be creating it right now
  const int id = database.execAndGet("PRAGMA application_id").getInt();
  const int version = database.execAndGet("PRAGMA user_version").getInt();
  const int n_tables = database.execAndGet("SELECT COUNT(*) FROM sqlite_schema").getInt();
  const bool is_new = id == 0 && version == 0 && n_tables == 0;
  if (id != kApplicationId && !is_new) {
    throw Error(path.string(),
                "is a database of another program: application_id is {:#010x}, expected {:#010x}; "
                "name another file with --db",
                static_cast<std::uint32_t>(id), kApplicationId);
  }
  if (version > kSchemaVersion) {
    throw Error(path.string(),
                "has schema version {}, this sala knows versions up to {}; use a newer sala or "
                "another file",
                version, kSchemaVersion);
  }
  const std::string damage = database.execAndGet("PRAGMA quick_check(1)").getString();
  if (damage != "ok") {
    throw Error(path.string(),
                "is damaged: {}; restore a copy, or save what can be read with: sqlite3 {} "
                "'.recover'",
                damage, path.string());
  }
}

// Turning on write-ahead mode takes an exclusive lock for which SQLite does not call its busy
// handler (two processes that both hold a shared lock would wait for each other): wait here
// instead.
void enter_wal_mode(SQLite::Database& database, int busy_timeout_ms) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(busy_timeout_ms);
  while (true) {
    try {
      database.exec("PRAGMA journal_mode=WAL");
      return;
    } catch (const SQLite::Exception& error) {
      const bool busy = (error.getErrorCode() & 0xff) == SQLITE_BUSY;
      if (!busy || std::chrono::steady_clock::now() >= deadline) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
}

}  // namespace

const char* network_file_system(std::int64_t magic) {
  for (const FileSystem& entry : kNetworkFileSystems) {
    if (entry.magic == magic) return entry.name;
  }
  return nullptr;
}

Error store_error(const fs::path& path, const SQLite::Exception& error) {
  const std::string where = path.string();
  switch (error.getErrorCode() & 0xff) {
    case SQLITE_NOTADB:
      return Error(where, "is not a results database: {}; name another file with --db",
                   error.what());
    case SQLITE_CORRUPT:
      return Error(where,
                   "is damaged: {}; restore a copy, or save what can be read with: sqlite3 {} "
                   "'.recover'",
                   error.what(), where);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(where,
                   "is held by another process ({}); wait for it to end and give the same command "
                   "again",
                   error.what());
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return Error(where, "cannot be opened or written: {}; check the path and its permissions",
                   error.what());
    case SQLITE_FULL:
    case SQLITE_IOERR:
      return Error(where,
                   "cannot be written: {} (disk full or a file size limit?); everything committed "
                   "so far is kept: free some space and give the same command again",
                   error.what());
    default:
      return Error(where, "database error: {}", error.what());
  }
}

std::unique_ptr<SQLite::Database> open_for_writing(const fs::path& path, int busy_timeout_ms) {
  refuse_network_file_system(path);
  return with_store_errors(path, [&] {
    auto database = std::make_unique<SQLite::Database>(
        path.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, busy_timeout_ms);
    sqlite3_extended_result_codes(database->getHandle(), 1);
    if (sqlite3_db_readonly(database->getHandle(), "main") == 1) {
      throw Error(path.string(), "is read-only; make it writable or name another file with --db");
    }
    check_identity(*database, path);
    enter_wal_mode(*database, busy_timeout_ms);
    // trusted_schema stays on: the json_valid() checks of the tables need it.
    database->exec(
        "PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA journal_size_limit=67108864");
    migrate(*database);
    return database;
  });
}

std::unique_ptr<SQLite::Database> open_for_reading(const fs::path& path) {
  if (!fs::exists(path)) {
    throw Error(path.string(), "does not exist; make it with: sala run --db {}", path.string());
  }
  return with_store_errors(path, [&] {
    std::string name = path.string();
    int flags = SQLite::OPEN_READONLY;
    // A database in write-ahead mode needs files beside it even for reading; where none can be made
    // and none is left behind, nobody writes and the file may be read as it is.
    const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
    if (access(parent.c_str(), W_OK) != 0 && !fs::exists(name + "-wal")) {
      std::string escaped;
      for (const char c : name) {
        escaped += c == '%' ? "%25" : c == '?' ? "%3f" : c == '#' ? "%23" : std::string(1, c);
      }
      name = "file:" + escaped + "?immutable=1";
      flags |= SQLite::OPEN_URI;
    }
    auto database = std::make_unique<SQLite::Database>(name, flags, 10000);
    sqlite3_extended_result_codes(database->getHandle(), 1);
    check_identity(*database, path);
    if (database->execAndGet("PRAGMA user_version").getInt() == 0) {
      throw Error(path.string(), "is empty; fill it with: sala run --db {}", path.string());
    }
    return database;
  });
}

}  // namespace sala
