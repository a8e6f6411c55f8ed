// Exact attention of sampled queries, block by block, and how much of it the chosen blocks hold.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/selection_fidelity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/parallel.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/base/error.h"

namespace sala {

namespace {

constexpr std::int64_t kSliceBlocks = 32;                // that one thread goes through
constexpr std::int64_t kSlabBlocks = 16 * kSliceBlocks;  // loaded at a time
constexpr double kLowest = -std::numeric_limits<double>::infinity();

/// As the index of a vector.
std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

/// For every row the softmax over some keys: values weighted by e^(score - max), not yet divided by
/// the sum of weights.
class SoftmaxSums {
 public:
  SoftmaxSums(std::int64_t n_rows, std::int64_t head_dim)
      : d_(head_dim), max_(at(n_rows), kLowest), sum_(at(n_rows)), out_(at(n_rows * head_dim)) {}

  std::int64_t n_rows() const { return static_cast<std::int64_t>(max_.size()); }
  double log_sum(std::int64_t row) const { return max_[at(row)] + std::log(sum_[at(row)]); }
  double out(std::int64_t row, std::int64_t c) const {
    return out_[at(row * d_ + c)] / sum_[at(row)];
  }

  /// Takes in other keys.
  template <typename T>
  void add(std::int64_t row, double max, double sum, const T* out) {
    const double top = std::max(max_[at(row)], max);
    const double keep = std::exp(max_[at(row)] - top);
    const double factor = std::exp(max - top);
    max_[at(row)] = top;
    sum_[at(row)] = sum_[at(row)] * keep + sum * factor;
    double* into = out_.data() + row * d_;
    for (std::int64_t c = 0; c < d_; ++c) {
      into[c] = into[c] * keep + static_cast<double>(out[c]) * factor;
    }
  }
  void add(const SoftmaxSums& other) {
    for (std::int64_t row = 0; row < n_rows(); ++row) {
      if (other.sum_[at(row)] == 0) continue;
      add(row, other.max_[at(row)], other.sum_[at(row)], other.out_.data() + row * d_);
    }
  }

 private:
  std::int64_t d_;
  std::vector<double> max_, sum_, out_;
};

/// Attention over all visible keys of the rows: of a KV head, row i · group + h is head h of the
/// group at sampled row i.
class ExactAttention {
 public:
  ExactAttention(const InfllmV2Config& config, std::span<const SampledRow> rows, int threads)
      : config_(config),
        heads_(config.heads),
        rows_(rows),
        threads_(threads),
        n_rows_(static_cast<std::int64_t>(rows.size()) * heads_.group()),
        n_blocks_(rows.back().position / config.block() + 1),
        log_sums_(at(heads_.n_kv_heads * n_rows_ * n_blocks_)),
        totals_(at(heads_.n_kv_heads), {n_rows_, heads_.head_dim}) {
    q_.resize(at(heads_.n_kv_heads * n_rows_ * heads_.head_dim));
    float* next = q_.data();
    for (std::int64_t head = 0; head < heads_.n_kv_heads; ++head) {
      const std::int64_t width = heads_.group() * heads_.head_dim;
      for (const SampledRow& row : rows) {
        scale_row(row.q.data() + head * width, heads_.scale, next, width);
        next += width;
      }
    }
  }

  void run(BlockSource& source) {
    std::vector<Scratch> scratch(at(threads_), {n_rows_, config_.block(), heads_.head_dim});
    for (std::int64_t low = 0; low < n_blocks_; low += kSlabBlocks) {
      const std::int64_t high = std::min(low + kSlabBlocks, n_blocks_);
      source.load(low, high - low);
      const std::int64_t n_slices = (high - low + kSliceBlocks - 1) / kSliceBlocks;
      const std::int64_t n_parts = heads_.n_kv_heads * n_slices;
      std::vector<SoftmaxSums> parts(at(n_parts), {n_rows_, heads_.head_dim});
      const double flops = 4.0 *
                           static_cast<double>(heads_.n_kv_heads * n_rows_ * heads_.head_dim) *
                           static_cast<double>((high - low) * config_.block());
      parallel_for(threads_, n_parts, flops / kFlopsPerElement, [&](std::int64_t part, int thread) {
        const std::int64_t first = low + part % n_slices * kSliceBlocks;
        run_slice(source, part / n_slices, first, std::min(first + kSliceBlocks, high),
                  scratch[at(thread)], parts[at(part)]);
      });
      for (std::int64_t part = 0; part < n_parts; ++part) {
        totals_[at(part / n_slices)].add(parts[at(part)]);
      }
    }
  }

  /// Probability of every block that sampled row i sees, mean over the heads of a KV head's group.
  std::vector<double> masses(std::int64_t head, std::int64_t i) const {
    const std::int64_t group = heads_.group();
    const std::size_t n_blocks = at(rows_[at(i)].position / config_.block() + 1);
    std::vector<double> masses(n_blocks);
    for (std::int64_t row = i * group; row < (i + 1) * group; ++row) {
      const double total = totals_[at(head)].log_sum(row);
      const double* sums = log_sums_.data() + (head * n_rows_ + row) * n_blocks_;
      for (std::size_t b = 0; b < n_blocks; ++b) {
        masses[b] += std::exp(sums[b] - total) / static_cast<double>(group);
      }
    }
    return masses;
  }

  /// Component c of the output of head h of a KV head's group at sampled row i.
  double out(std::int64_t head, std::int64_t i, std::int64_t h, std::int64_t c) const {
    return totals_[at(head)].out(i * heads_.group() + h, c);
  }

 private:
  /// Memory of one thread.
  struct Scratch {
    Scratch(std::int64_t n_rows, std::int64_t block, std::int64_t head_dim)
        : scores(at(n_rows * block)),
          out(at(n_rows * head_dim)),
          max(at(n_rows)),
          sum(at(n_rows)) {}
    std::vector<float> scores, out;  // of one block
    std::vector<double> max, sum;
  };

  void run_slice(const BlockSource& source, std::int64_t head, std::int64_t first, std::int64_t end,
                 Scratch& s, SoftmaxSums& sums) {
    const std::int64_t block = config_.block();
    const std::int64_t d = heads_.head_dim;
    const float* q = q_.data() + head * n_rows_ * d;
    double* log_sums = log_sums_.data() + head * n_rows_ * n_blocks_;
    for (std::int64_t b = first; b < end; ++b) {
      const std::int64_t low = first_row(b);
      const std::int64_t n = n_rows_ - low;
      const std::int64_t width = n_visible(n_rows_ - 1, b);
      gemm(n, width, d, q + low * d, d, source.keys(head, b), block, 0.0F, s.scores.data(), block);
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t visible = n_visible(low + i, b);
        float* scores = s.scores.data() + i * block;
        const float max = *std::max_element(scores, scores + visible);
        for (std::int64_t j = 0; j < visible; ++j) scores[j] -= max;
        vector_exp(scores, scores, visible);
        const double sum = std::accumulate(scores, scores + visible, 0.0);
        std::fill(scores + visible, scores + width, 0.0F);
        s.max[at(i)] = max;
        s.sum[at(i)] = sum;
        log_sums[(low + i) * n_blocks_ + b] = max + std::log(sum);
      }
      gemm(n, d, width, s.scores.data(), block, source.values(head, b), d, 0.0F, s.out.data(), d);
      for (std::int64_t i = 0; i < n; ++i) {
        sums.add(low + i, s.max[at(i)], s.sum[at(i)], s.out.data() + i * d);
      }
    }
  }

  std::int64_t position(std::int64_t row) const { return rows_[at(row / heads_.group())].position; }
  /// First row that sees block b: all behind it do.
  std::int64_t first_row(std::int64_t b) const {
    const auto first = std::partition_point(rows_.begin(), rows_.end(), [&](const SampledRow& row) {
      return row.position < b * config_.block();
    });
    return (first - rows_.begin()) * heads_.group();
  }
  /// Keys of block b that a row sees.
  std::int64_t n_visible(std::int64_t row, std::int64_t b) const {
    return std::min(config_.block(), position(row) + 1 - b * config_.block());
  }

  const InfllmV2Config& config_;
  const HeadOptions& heads_;
  std::span<const SampledRow> rows_;
  int threads_;
  std::int64_t n_rows_;              // of a KV head
  std::int64_t n_blocks_;            // that the last row sees
  std::vector<float> q_;             // (n_kv_heads, n_rows, head_dim), scaled
  std::vector<double> log_sums_;     // (n_kv_heads, n_rows, n_blocks): ln Σ e^score
  std::vector<SoftmaxSums> totals_;  // of every KV head
};

using Flags = std::vector<bool>;  // of the blocks that a query sees

double mass_of(const Flags& blocks, const std::vector<double>& masses) {
  double sum = 0;
  for (std::size_t b = 0; b < masses.size(); ++b) sum += blocks[b] ? masses[b] : 0;
  return sum;
}

std::int64_t n_common(const Flags& a, const Flags& b) {
  std::int64_t n = 0;
  for (std::size_t i = 0; i < a.size(); ++i) n += a[i] && b[i] ? 1 : 0;
  return n;
}

Flags either(const Flags& a, const Flags& b) {
  Flags united(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) united[i] = a[i] || b[i];
  return united;
}

Flags blocks_read(const std::vector<std::int32_t>& list, std::size_t n_visible) {
  Flags read(n_visible, list.empty());
  for (const std::int32_t block : list) {
    SALA_CHECK(at(block) < n_visible, "a query reads blocks that it sees");
    read[at(block)] = true;
  }
  return read;
}

/// The blocks that every query reads: the first ones, the current one and those next to it.
Flags forced_blocks(const InfllmV2Config& config, std::size_t n_visible) {
  Flags forced(n_visible);
  const auto local = static_cast<std::int64_t>(n_visible) - 1 - config.local_blocks;
  for (std::size_t b = 0; b < n_visible; ++b) {
    const auto block = static_cast<std::int64_t>(b);
    forced[b] = block < config.init_blocks || block >= local;
  }
  return forced;
}

/// The n heaviest of the blocks that are not forced.
Flags heaviest_blocks(const std::vector<double>& masses, const Flags& forced, const Flags& read,
                      std::int64_t n) {
  std::vector<std::size_t> others;
  for (std::size_t b = 0; b < masses.size(); ++b) {
    if (!forced[b]) others.push_back(b);
  }
  std::nth_element(others.begin(), others.begin() + n, others.end(),
                   [&](std::size_t a, std::size_t b) {
                     return masses[a] != masses[b] ? masses[a] > masses[b] : read[a] && !read[b];
                   });
  Flags heaviest(masses.size());
  for (std::int64_t i = 0; i < n; ++i) heaviest[others[at(i)]] = true;
  return heaviest;
}

/// The blocks of those tokens of the needles that a query at `position` sees.
Flags needle_blocks(std::span<const TokenRange> needles, std::int64_t position, std::int64_t block,
                    std::size_t n_visible) {
  Flags blocks(n_visible);
  for (const TokenRange& needle : needles) {
    const std::int64_t end = std::min(needle.end, position + 1);
    for (std::int64_t t = needle.begin; t < end; t = (t / block + 1) * block) {
      blocks[at(t / block)] = true;
    }
  }
  return blocks;
}

/// What the blocks read hold of the exact masses.
void judge_blocks(const InfllmV2Config& config, const std::vector<std::int32_t>& list,
                  const std::vector<double>& masses, std::span<const TokenRange> needles,
                  SelectionSample& sample) {
  const std::size_t n_visible = masses.size();
  const Flags read = blocks_read(list, n_visible);
  const Flags forced = forced_blocks(config, n_visible);
  sample.blocks_visible = static_cast<std::int64_t>(n_visible);
  sample.blocks_read = n_common(read, read);
  const std::int64_t n_chosen = sample.blocks_read - n_common(read, forced);
  const Flags heaviest = heaviest_blocks(masses, forced, read, n_chosen);
  const auto share = [&](const Flags& wanted) -> std::optional<double> {
    const std::int64_t n_wanted = n_common(wanted, wanted);
    if (n_wanted == 0) return std::nullopt;
    return static_cast<double>(n_common(read, wanted)) / static_cast<double>(n_wanted);
  };
  sample.topk_recall = share(heaviest);
  sample.mass_recall = mass_of(read, masses);
  sample.mass_oracle = mass_of(either(forced, heaviest), masses);
  sample.needle_hit = share(needle_blocks(needles, sample.position, config.block(), n_visible));
}

/// How far the output of the sample's KV head is from the exact one. Equal outputs are alike even
/// where both are zero.
void judge_output(const HeadOptions& heads, const ExactAttention& exact, const SampledRow& row,
                  std::int64_t i, SelectionSample& sample) {
  constexpr double kLeast = std::numeric_limits<double>::min();
  double difference = 0, product = 0, own = 0, expected = 0;
  for (std::int64_t h = 0; h < heads.group(); ++h) {
    const float* out = row.out.data() + (sample.kv_head * heads.group() + h) * heads.head_dim;
    for (std::int64_t c = 0; c < heads.head_dim; ++c) {
      const double a = out[c];
      const double e = exact.out(sample.kv_head, i, h, c);
      difference += (a - e) * (a - e);
      product += a * e;
      own += a * a;
      expected += e * e;
    }
  }
  sample.out_rel_l2 = std::sqrt(difference / std::max(expected, kLeast));
  sample.out_cos = difference == 0 ? 1 : product / std::sqrt(std::max(own * expected, kLeast));
}

bool is_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double x) { return std::isfinite(x); });
}

}  // namespace

std::vector<BlockRange> wanted_blocks(const InfllmV2Config& config, std::int64_t t,
                                      const ExecutionContext& context) {
  std::vector<BlockRange> blocks;
  if (context.selection == nullptr || !context.selection->request.force_needles) return blocks;
  for (const TokenRange& needle : context.selection->request.needles) {
    const std::int64_t begin = std::max(needle.begin / config.block(), config.init_blocks);
    const std::int64_t end =
        std::min((needle.end - 1) / config.block() + 1, config.candidates_end(t));
    if (begin < end) blocks.push_back({begin, end});
  }
  return blocks;
}

std::vector<SampledRow> sampled_rows(const InfllmV2Config& config, TensorView q, std::int64_t start,
                                     ExecutionContext& context) {
  std::vector<SampledRow> rows;
  if (context.selection == nullptr) return rows;
  const std::vector<std::int64_t>& positions = context.selection->request.positions;
  auto next = std::lower_bound(positions.begin(), positions.end(), start);
  for (; next != positions.end() && *next < start + q.rows; ++next) {
    SampledRow row{.index = *next - start, .position = *next};
    row.q.resize(at(q.cols));
    row.blocks.resize(at(config.heads.n_kv_heads));
    context.backend.download(q.row_range(row.index, 1), row.q);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<SelectionSample> measure_selection(const InfllmV2Config& config,
                                               std::span<const SampledRow> rows,
                                               BlockSource& source,
                                               std::span<const TokenRange> needles, int threads) {
  ExactAttention exact(config, rows, threads);
  exact.run(source);
  std::vector<SelectionSample> samples;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(rows.size()); ++i) {
    const SampledRow& row = rows[at(i)];
    for (int head = 0; head < config.heads.n_kv_heads; ++head) {
      SelectionSample sample{.kv_head = head, .position = row.position};
      judge_output(config.heads, exact, row, i, sample);
      const std::vector<double> masses = exact.masses(head, i);
      if (!is_finite(masses) || !std::isfinite(sample.out_rel_l2)) {
        throw Error("selection",
                    "attention at position {} holds NaN or infinity; the weights are damaged or "
                    "their range exceeds that of the device",
                    row.position);
      }
      judge_blocks(config, row.blocks[at(head)], masses, needles, sample);
      samples.push_back(sample);
    }
  }
  return samples;
}

int host_threads(const Backend& backend) {
  return backend.device() == Device::cpu ? backend.info().threads : omp_get_max_threads();
}

void record_selection(const InfllmV2Config& config, std::vector<SampledRow>& rows,
                      TensorView attended, BlockSource& source, ExecutionContext& context) {
  for (SampledRow& row : rows) {
    row.out.resize(row.q.size());
    context.backend.download(attended.row_range(row.index, 1), row.out);
  }
  SelectionProbe& probe = *context.selection;
  for (SelectionSample& sample : measure_selection(config, rows, source, probe.request.needles,
                                                   host_threads(context.backend))) {
    sample.layer = context.layer;
    probe.samples.push_back(sample);
  }
}

}  // namespace sala
