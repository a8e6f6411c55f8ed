// Rows of the tables kernel_profile and kernel_counter.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace SQLite {
class Database;
}

namespace sala {

/// A hardware counter of a kernel: the mean over the n launches that have it.
struct CounterRow {
  std::string name;
  std::string unit;
  std::int64_t n = 0;
  double value = 0;
};

/// All launches of one kernel in one stage.
struct KernelRow {
  std::string stage;
  std::string kernel;
  std::int64_t n = 0;
  std::int64_t total_ns = 0;
  std::int64_t min_ns = 0;
  std::int64_t p50_ns = 0;
  std::int64_t p99_ns = 0;
  std::int64_t max_ns = 0;
  std::vector<CounterRow> counters{};
};

/// Kernels of one run as one tool saw them.
struct KernelProfileRow {
  std::string tool;  // nsys or ncu
  std::vector<KernelRow> kernels;
};

/// Links a profile to a stored run, in place of what the same tool said of it before. id: uid of a
/// run, or of a sweep with a single run. Throws Error when there is no such run or the database
/// cannot take it.
void store_kernels(const std::filesystem::path& path, const std::string& id,
                   const KernelProfileRow& profile);

/// By tool, the longest kernel first; empty for a file of an older schema.
std::vector<KernelProfileRow> read_kernels(const SQLite::Database& database, std::int64_t run_id);

}  // namespace sala
