// Times of kernels, gathered per stage and kernel.
// SPDX-License-Identifier: Apache-2.0
#include "harness/profile/kernel_table.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace sala {
namespace {

/// Of ascending values: the smallest that at least that share of them does not exceed.
std::int64_t percentile(const std::vector<std::int64_t>& values, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(rank, 1) - 1];
}

}  // namespace

void KernelTally::add(const std::string& stage, const std::string& kernel, std::int64_t ns,
                      const std::vector<KernelCounter>& counters) {
  Launches& launches = launches_[{stage, kernel}];
  launches.ns.push_back(ns);
  for (const KernelCounter& counter : counters) {
    const auto known = std::ranges::find(launches.counters, counter.name, &CounterRow::name);
    CounterRow& row =
        known == launches.counters.end()
            ? launches.counters.emplace_back(CounterRow{.name = counter.name, .unit = counter.unit})
            : *known;
    row.n += 1;
    row.value += counter.value;
  }
}

KernelTable KernelTally::table() const {
  KernelTable table;
  for (const auto& [key, launches] : launches_) {
    std::vector<std::int64_t> ns = launches.ns;
    std::ranges::sort(ns);
    KernelRow row{.stage = key.first,
                  .kernel = key.second,
                  .n = static_cast<std::int64_t>(ns.size()),
                  .total_ns = std::accumulate(ns.begin(), ns.end(), std::int64_t{0}),
                  .min_ns = ns.front(),
                  .p50_ns = percentile(ns, 0.5),
                  .p99_ns = percentile(ns, 0.99),
                  .max_ns = ns.back(),
                  .counters = launches.counters};
    for (CounterRow& counter : row.counters) counter.value /= static_cast<double>(counter.n);
    table.n += row.n;
    table.total_ns += row.total_ns;
    table.rows.push_back(std::move(row));
  }
  std::ranges::stable_sort(table.rows, std::ranges::greater{}, &KernelRow::total_ns);
  return table;
}

std::string short_kernel_name(std::string_view demangled) {
  constexpr std::string_view kAnonymous = "(anonymous namespace)";
  std::string name;
  int depth = 0;
  for (std::size_t i = 0; i < demangled.size(); ++i) {
    const char c = demangled[i];
    if (c == '<') {
      ++depth;
    } else if (c == '>') {
      depth = std::max(depth - 1, 0);
    } else if (depth > 0) {
      continue;
    } else if (demangled.substr(i).starts_with(kAnonymous)) {
      i += kAnonymous.size() - 1;
    } else if (c == '(') {
      break;
    } else if (c == ' ' || c == ':') {
      name.clear();
    } else {
      name += c;
    }
  }
  return name.empty() ? std::string(demangled) : name;
}

}  // namespace sala
