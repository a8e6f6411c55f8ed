// Whether sparse equals dense where a query may read every block: a test of the path itself.
// SPDX-License-Identifier: Apache-2.0
#include "harness/fidelity/self_test.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace sala {
namespace {

constexpr std::int64_t kRows = 128;
constexpr double kCpuTolerance = 1e-4;  // single precision, another order of sums
constexpr double kGpuTolerance = 5e-2;  // activations of eight bits of mantissa

}  // namespace

EngineOptions always_sparse(EngineOptions options) {
  options.settings.insert_or_assign("dense_len", std::string("0"));
  return options;
}

SelfTest run_self_test(Engine& sparse, Engine& dense, std::span<const TokenId> tokens) {
  SelfTest test{.n_tokens = static_cast<std::int64_t>(tokens.size()),
                .tolerance = sparse.info().device == "cpu" ? kCpuTolerance : kGpuTolerance,
                .reason = ""};
  const std::int64_t n_rows = std::min(test.n_tokens, kRows);
  Request request;
  request.prompt.assign(tokens.begin(), tokens.end());
  const Output output = sparse.run(request);
  const std::vector<float> chosen = sparse.logits(tokens, n_rows);
  sparse.unload();
  const std::vector<float> expected = dense.logits(tokens, n_rows);
  dense.unload();

  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    const double difference =
        std::abs(static_cast<double>(chosen[i]) - static_cast<double>(expected[i]));
    // Comparisons with what is not a number are false, so it must not pass by one.
    test.difference = std::isfinite(difference) ? std::max(test.difference, difference) : INFINITY;
  }
  test.difference /= largest;
  const bool is_sparse =
      std::any_of(output.route.begin(), output.route.end(),
                  [](const RouteEntry& entry) { return entry.path == "sparse"; });
  if (!is_sparse) {
    test.reason = "no layer took the sparse path";
  } else if (!(test.difference <= test.tolerance)) {
    test.reason = fmt::format(
        "logits differ by {:.2g} of the largest, at most {:.2g} is rounding: the sparse path is "
        "wrong where it reads everything",
        test.difference, test.tolerance);
  }
  test.passed = test.reason.empty();
  return test;
}

}  // namespace sala
