// Keeps noise floors and verdicts in a results database.
// SPDX-License-Identifier: Apache-2.0
#include "harness/compare/gate_store.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <nlohmann/json.hpp>

#include "engine/base/sha256.h"
#include "harness/store/database.h"
#include "harness/store/process.h"

namespace sala {
namespace {

constexpr double kMicrosecondsPerDay = 86400e6;
constexpr int kFirstVersionWithGates = 2;

void set(SQLite::Statement& statement, int index, const std::optional<double>& value) {
  if (value) {
    statement.bind(index, *value);
  } else {
    statement.bind(index);
  }
}

nlohmann::json pairs_json(const std::vector<ValuePair>& pairs) {
  nlohmann::json json = nlohmann::json::array();
  for (const ValuePair& pair : pairs) json.push_back({pair.baseline, pair.candidate});
  return json;
}

std::string binary_json(const GateBinary& binary) {
  return nlohmann::json{{"path", binary.path.string()}, {"sha256", binary.sha256}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

struct GateStore::Impl {
  std::filesystem::path path;
  std::unique_ptr<SQLite::Database> db;
  bool has_gates = false;  // a file of an older schema has neither floors nor gates
  std::int64_t gate_id = 0;

  void add_item(std::int64_t index, const GateItem& item) const {
    const Decision& decision = item.decision;
    SQLite::Statement row(*db,
                          "INSERT INTO gate_item VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
    row.bind(1, gate_id);
    row.bind(2, index);
    row.bind(3, item.side);
    row.bind(4, item.task);
    row.bind(5, item.length);
    row.bind(6, item.metric);
    row.bind(7, item.stage);
    row.bind(8, tier_name(item.tier));
    row.bind(9, verdict_name(decision.verdict));
    row.bind(10, decision.reason);
    row.bind(11, decision.n);
    const bool is_measured = decision.n > 0;
    const auto if_measured = [&](double value) {
      return is_measured ? std::optional(value) : std::nullopt;
    };
    set(row, 12, if_measured(item.baseline));
    set(row, 13, if_measured(item.candidate));
    set(row, 14, if_measured(decision.change));
    set(row, 15, decision.interval ? std::optional(decision.interval->low) : std::nullopt);
    set(row, 16, decision.interval ? std::optional(decision.interval->high) : std::nullopt);
    set(row, 17, decision.p);
    row.bind(18, item.rule.tolerance);
    set(row, 19, item.rule.floor ? std::optional(item.rule.floor->sd) : std::nullopt);
    row.bind(20, nlohmann::json{{"first", pairs_json(item.blocks.first)},
                                {"confirmation", pairs_json(item.blocks.confirmation)}}
                     .dump());
    row.exec();
  }
};

GateStore::GateStore(const std::filesystem::path& path, Access access)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->db = access == Access::write ? open_for_writing(path) : open_for_reading(path);
  impl_->has_gates = with_store_errors(path, [&] {
    return impl_->db->execAndGet("PRAGMA user_version").getInt() >= kFirstVersionWithGates;
  });
}

GateStore::~GateStore() = default;

std::optional<NoiseFloor> GateStore::floor(const std::string& surroundings, const GateItem& item,
                                           double max_age_days) const {
  if (!impl_->has_gates) return std::nullopt;
  return with_store_errors(impl_->path, [&]() -> std::optional<NoiseFloor> {
    SQLite::Statement row(*impl_->db,
                          "SELECT sd_pair, n_pairs, measured_us FROM noise_floor WHERE "
                          "surroundings_sha256=? AND compare_key=? AND side=? AND metric=? AND "
                          "stage=? ORDER BY measured_us DESC LIMIT 1");
    row.bind(1, sha256_hex(surroundings));
    row.bind(2, item.compare_key);
    row.bind(3, item.side);
    row.bind(4, item.metric);
    row.bind(5, item.stage);
    if (!row.executeStep()) return std::nullopt;
    const auto age_us = static_cast<double>(now_us() - row.getColumn(2).getInt64());
    if (age_us > max_age_days * kMicrosecondsPerDay) return std::nullopt;
    return NoiseFloor{row.getColumn(0).getDouble(), row.getColumn(1).getInt64()};
  });
}

void GateStore::add_floors(const std::string& surroundings, const std::vector<GateItem>& items) {
  with_store_errors(impl_->path, [&] {
    SQLite::Transaction transaction(*impl_->db, SQLite::TransactionBehavior::IMMEDIATE);
    for (const GateItem& item : items) {
      SQLite::Statement row(*impl_->db,
                            "INSERT INTO noise_floor(surroundings_sha256,compare_key,side,metric,"
                            "stage,n_pairs,sd_pair,pairs,measured_us) VALUES(?,?,?,?,?,?,?,?,?)");
      row.bind(1, sha256_hex(surroundings));
      row.bind(2, item.compare_key);
      row.bind(3, item.side);
      row.bind(4, item.metric);
      row.bind(5, item.stage);
      row.bind(6, static_cast<std::int64_t>(item.blocks.first.size()));
      row.bind(7, sample_deviation(log_ratios(item.blocks.first)));
      row.bind(8, pairs_json(item.blocks.first).dump());
      row.bind(9, now_us());
      row.exec();
    }
    transaction.commit();
  });
}

AlarmRate GateStore::alarm_rate(const std::string& surroundings) const {
  return with_store_errors(impl_->path, [&] {
    SQLite::Statement row(
        *impl_->db,
        "SELECT COUNT(*), COALESCE(SUM(verdict IN ('block','warn')),0) FROM gate "
        "WHERE identical=1 AND surroundings_sha256=?1 AND "
        "verdict IN ('pass','warn','inconclusive','block') AND started_us > "
        "(SELECT COALESCE(MAX(measured_us),0) FROM noise_floor WHERE surroundings_sha256=?1)");
    row.bind(1, sha256_hex(surroundings));
    row.executeStep();
    return AlarmRate{row.getColumn(0).getInt64(), row.getColumn(1).getInt64()};
  });
}

std::string GateStore::begin(const GateBinary& baseline, const GateBinary& candidate,
                             const Policy& policy, const std::filesystem::path& parent_folder) {
  return with_store_errors(impl_->path, [&] {
    const std::string uid = make_uid();
    SQLite::Statement row(*impl_->db,
                          "INSERT INTO gate(uid,started_us,baseline,candidate,identical,policy,"
                          "verdict,folder) VALUES(?,?,?,?,?,?,'running',?)");
    row.bind(1, uid);
    row.bind(2, now_us());
    row.bind(3, binary_json(baseline));
    row.bind(4, binary_json(candidate));
    row.bind(5, baseline.sha256 == candidate.sha256 ? 1 : 0);
    row.bind(6, policy.json());
    row.bind(7, (parent_folder / uid).string());
    row.exec();
    impl_->gate_id = impl_->db->getLastInsertRowid();
    return uid;
  });
}

void GateStore::finish(const GateReport& report, const std::string& surroundings) {
  with_store_errors(impl_->path, [&] {
    SQLite::Transaction transaction(*impl_->db, SQLite::TransactionBehavior::IMMEDIATE);
    SQLite::Statement row(*impl_->db,
                          "UPDATE gate SET ended_us=?, surroundings_sha256=?, verdict=?, "
                          "reason=NULLIF(?,'') WHERE gate_id=?");
    row.bind(1, now_us());
    row.bind(2, sha256_hex(surroundings));
    row.bind(3, verdict_name(report.verdict));
    row.bind(4, report.reason);
    row.bind(5, impl_->gate_id);
    row.exec();
    std::int64_t index = 0;
    for (const GateItem& item : report.items) impl_->add_item(index++, item);
    transaction.commit();
  });
}

}  // namespace sala
