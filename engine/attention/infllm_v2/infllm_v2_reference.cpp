// Block-sparse softmax attention in fp64, as written in the model reference §3.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include "engine/attention/infllm_v2/infllm_v2.h"
#include "engine/base/bf16.h"

namespace sala {

namespace {

/// Means of keys (n_windows, head_dim) over n keys every `step`, of one KV head.
std::vector<double> window_means(const HeadOptions& heads, const std::vector<double>& k,
                                 std::int64_t head, std::int64_t n_windows, std::int64_t n,
                                 std::int64_t step) {
  const std::int64_t d = heads.head_dim;
  std::vector<double> means(static_cast<std::size_t>(n_windows * d));
  for (std::int64_t j = 0; j < n_windows; ++j) {
    for (std::int64_t t = j * step; t < j * step + n; ++t) {
      for (std::int64_t c = 0; c < d; ++c) {
        item(means, j * d + c) +=
            item(k, (t * heads.n_kv_heads + head) * d + c) / static_cast<double>(n);
      }
    }
  }
  return means;
}

/// scale * q·mean of the first n windows.
std::vector<double> window_scores(const HeadOptions& heads, const double* q,
                                  const std::vector<double>& means, std::int64_t n) {
  std::vector<double> scores(static_cast<std::size_t>(n));
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t c = 0; c < heads.head_dim; ++c) {
      item(scores, j) += q[c] * item(means, j * heads.head_dim + c);
    }
    item(scores, j) *= static_cast<double>(heads.scale);
  }
  return scores;
}

struct Windows {
  std::vector<double> k1;
  std::vector<double> k2;
};

Windows all_windows(const InfllmV2Config& config, const std::vector<double>& k,
                    std::int64_t n_tokens, std::int64_t kv_head) {
  const std::int64_t s = config.stride;
  return {window_means(config.heads, k, kv_head, config.n_k1(n_tokens), 2 * s, s),
          window_means(config.heads, k, kv_head, config.n_k2(n_tokens), 8 * s, 4 * s)};
}

std::vector<double> weights_of_row(const InfllmV2Config& config, const Windows& windows,
                                   const double* q, std::int64_t t) {
  std::vector<double> p = window_scores(config.heads, q, windows.k1, config.n_k1(t + 1));
  const std::vector<double> basis =
      config.exact_lse ? p : window_scores(config.heads, q, windows.k2, config.n_k2(t + 1));
  if (basis.empty()) return std::vector<double>(p.size(), 0.0);
  const double largest = *std::max_element(basis.begin(), basis.end());
  double sum = 0;
  for (const double s : basis) sum += std::exp(s - largest);
  for (double& value : p) value = std::exp(value - largest) / sum;
  return p;
}

/// Ranks the candidates; certain when no change of 2e-5 of a score could change the choice.
std::vector<std::int64_t> choose(const InfllmV2Config& config, std::int64_t t,
                                 const std::vector<double>& scores, bool& certain) {
  const auto rounded = [&](double score, double factor) {
    const auto value = static_cast<float>(score * factor);
    return config.fp32_scores ? score * factor : static_cast<double>(round_to_bf16(value));
  };
  const std::int64_t off = t / config.block();
  const std::int64_t end = config.candidates_end(t);
  std::vector<std::int64_t> ranked(static_cast<std::size_t>(end - config.init_blocks));
  std::iota(ranked.begin(), ranked.end(), config.init_blocks);
  std::sort(ranked.begin(), ranked.end(), [&](std::int64_t a, std::int64_t b) {
    const double first = rounded(item(scores, a), 1.0);
    const double second = rounded(item(scores, b), 1.0);
    return first > second || (first == second && a < b);
  });
  const auto cut = ranked.begin() + config.slots();
  constexpr double kDoubt = 2e-5;
  for (auto in = ranked.begin(); in != cut; ++in) {
    for (auto left = cut; left != ranked.end(); ++left) {
      // Neighbours share a window, and with it often their score: an exact tie is no doubt.
      if (item(scores, *in) == item(scores, *left)) continue;
      const double low = rounded(item(scores, *in), 1.0 - kDoubt);
      const double high = rounded(item(scores, *left), 1.0 + kDoubt);
      if (low < high || (low == high && *left < *in)) certain = false;
    }
  }
  std::vector<std::int64_t> blocks(ranked.begin(), cut);
  for (std::int64_t b = 0; b < config.init_blocks; ++b) blocks.push_back(b);
  for (std::int64_t b = off - config.local_blocks; b <= off; ++b) blocks.push_back(b);
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

}  // namespace

std::vector<double> infllm_v2_window_weights(const InfllmV2Config& config, const ReferenceHeads& x,
                                             std::int64_t t, std::int64_t head) {
  const HeadOptions& heads = config.heads;
  const Windows windows = all_windows(config, x.k, t + 1, head / heads.group());
  const std::size_t first = static_cast<std::size_t>((t * heads.n_heads + head) * heads.head_dim);
  return weights_of_row(config, windows, x.q.data() + first, t);
}

InfllmV2Reference infllm_v2_reference(const LayerSpec& spec, const ReferenceWeights& weights,
                                      const std::vector<double>& x, std::int64_t prefill_end) {
  const InfllmV2Config config = InfllmV2Config::read(spec);
  const HeadOptions& heads = config.heads;
  const std::int64_t d = heads.head_dim;
  const std::int64_t n_tokens = static_cast<std::int64_t>(x.size()) / spec.hidden;
  const ReferenceHeads qkv = reference_heads(heads, spec, weights, x);
  InfllmV2Reference result;
  std::vector<double> attended(static_cast<std::size_t>(n_tokens * heads.q_dim()));
  std::vector<Windows> windows;
  windows.reserve(static_cast<std::size_t>(heads.n_kv_heads));
  for (std::int64_t g = 0; g < heads.n_kv_heads; ++g) {
    windows.push_back(all_windows(config, qkv.k, n_tokens, g));
  }

  for (std::int64_t t = 0; t < n_tokens; ++t) {
    for (std::int64_t g = 0; g < heads.n_kv_heads; ++g) {
      bool certain = true;
      std::vector<std::int64_t> blocks(static_cast<std::size_t>(t / config.block() + 1));
      std::iota(blocks.begin(), blocks.end(), 0);
      if (config.is_sparse(t, prefill_end) && config.must_rank(t)) {
        std::vector<double> p(static_cast<std::size_t>(config.n_k1(t + 1)));
        for (std::int64_t h = g * heads.group(); h < (g + 1) * heads.group(); ++h) {
          const std::size_t first = static_cast<std::size_t>((t * heads.n_heads + h) * d);
          const std::vector<double> one =
              weights_of_row(config, windows[static_cast<std::size_t>(g)], qkv.q.data() + first, t);
          for (std::size_t j = 0; j < p.size(); ++j) p[j] += one[j];
        }
        std::vector<double> scores(blocks.size());
        for (std::int64_t b = 0; b < static_cast<std::int64_t>(scores.size()); ++b) {
          for (std::int64_t j = std::max<std::int64_t>(0, 4 * b - 1);
               j < std::min<std::int64_t>(4 * b + 4, static_cast<std::int64_t>(p.size())); ++j) {
            item(scores, b) = std::max(item(scores, b), item(p, j));
          }
        }
        blocks = choose(config, t, scores, certain);
      }
      std::vector<std::int64_t> keys;
      for (const std::int64_t b : blocks) {
        for (std::int64_t j = b * config.block(); j < std::min(t + 1, (b + 1) * config.block());
             ++j) {
          keys.push_back(j);
        }
      }
      for (std::int64_t h = g * heads.group(); h < (g + 1) * heads.group(); ++h) {
        reference_softmax_row(heads, qkv, t, h, keys, &item(attended, (t * heads.n_heads + h) * d));
      }
      result.certain.push_back(certain);
      result.blocks.push_back(std::move(blocks));
    }
  }
  result.out = reference_softmax_output(heads, spec, weights, x, std::move(attended));
  return result;
}

}  // namespace sala
