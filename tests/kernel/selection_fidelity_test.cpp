// The comparison of chosen blocks with exact attention, against sums written out in fp64.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/selection_fidelity.h"

#include <numeric>

#include "engine/attention/infllm_v2/infllm_v2.h"
#include "tests/expect_error.h"
#include "tests/layer_runner.h"

namespace sala::testing {
namespace {

using Blocks = std::vector<std::int32_t>;

/// Blocks of 4 tokens; 1 first and 2 local ones besides the current are forced.
InfllmV2Config small_config(std::int64_t group = 3) {
  InfllmV2Config config;
  config.heads = {.n_heads = 2 * group, .n_kv_heads = 2, .head_dim = 8, .scale = 0.7F};
  config.stride = 1;
  config.init_blocks = 1;
  config.local_blocks = 2;
  return config;
}

/// Keys and values in blocks as a layer keeps them; what lies behind the last token is NaN.
class HostCache final : public BlockSource {
 public:
  HostCache(const InfllmV2Config& config, std::int64_t n_tokens)
      : config_(config),
        n_blocks_((n_tokens + config.block() - 1) / config.block()),
        keys_(static_cast<std::size_t>(n_blocks_ * config.block() * config.heads.kv_dim()), NAN),
        values_(keys_) {
    const std::vector<float> k = random_floats(n_tokens * config.heads.kv_dim(), 1);
    const std::vector<float> v = random_floats(n_tokens * config.heads.kv_dim(), 2);
    auto next_k = k.begin();
    auto next_v = v.begin();
    for (std::int64_t head = 0; head < config.heads.n_kv_heads; ++head) {
      for (std::int64_t t = 0; t < n_tokens; ++t) {
        for (std::int64_t c = 0; c < config.heads.head_dim; ++c) {
          key(head, t, c) = *next_k++;
          value(head, t, c) = *next_v++;
        }
      }
    }
  }

  float& key(std::int64_t head, std::int64_t t, std::int64_t c) {
    const std::int64_t block = config_.block();
    return keys_[at(head, t / block) + static_cast<std::size_t>(c * block + t % block)];
  }
  float& value(std::int64_t head, std::int64_t t, std::int64_t c) {
    const std::int64_t block = config_.block();
    return values_[at(head, t / block) +
                   static_cast<std::size_t>(t % block * config_.heads.head_dim + c)];
  }

  void load(std::int64_t first, std::int64_t count) override {
    EXPECT_EQ(first, end_) << "every block once";
    first_ = first;
    end_ = first + count;
    EXPECT_LE(end_, n_blocks_);
  }
  const float* keys(std::int64_t head, std::int64_t block) const override {
    return is_loaded(block) ? keys_.data() + at(head, block) : nullptr;
  }
  const float* values(std::int64_t head, std::int64_t block) const override {
    return is_loaded(block) ? values_.data() + at(head, block) : nullptr;
  }
  void rewind() { end_ = 0; }

 private:
  bool is_loaded(std::int64_t block) const { return block >= first_ && block < end_; }
  std::size_t at(std::int64_t head, std::int64_t block) const {
    return static_cast<std::size_t>((head * n_blocks_ + block) * config_.block() *
                                    config_.heads.head_dim);
  }

  InfllmV2Config config_;
  std::int64_t n_blocks_;
  std::int64_t first_ = 0;
  std::int64_t end_ = 0;
  std::vector<float> keys_, values_;
};

/// Softmax attention of a KV head's group over all keys up to a position, in fp64.
struct Exact {
  std::vector<double> masses;
  std::vector<double> out;  // (group, head_dim)
};

Exact exact_attention(const InfllmV2Config& config, HostCache& cache, const SampledRow& row,
                      std::int64_t head) {
  const HeadOptions& heads = config.heads;
  const std::int64_t d = heads.head_dim;
  Exact exact;
  exact.masses.resize(static_cast<std::size_t>(row.position / config.block() + 1));
  for (std::int64_t h = 0; h < heads.group(); ++h) {
    std::vector<double> weights;
    for (std::int64_t t = 0; t <= row.position; ++t) {
      double score = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        score += static_cast<double>(
                     row.q[static_cast<std::size_t>((head * heads.group() + h) * d + c)]) *
                 static_cast<double>(cache.key(head, t, c));
      }
      weights.push_back(score * static_cast<double>(heads.scale));
    }
    const double top = *std::max_element(weights.begin(), weights.end());
    for (double& weight : weights) weight = std::exp(weight - top);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    std::vector<double> out(static_cast<std::size_t>(d));
    for (std::size_t t = 0; t < weights.size(); ++t) {
      const auto token = static_cast<std::int64_t>(t);
      exact.masses[static_cast<std::size_t>(token / config.block())] +=
          weights[t] / sum / static_cast<double>(heads.group());
      for (std::int64_t c = 0; c < d; ++c) {
        out[static_cast<std::size_t>(c)] +=
            weights[t] / sum * static_cast<double>(cache.value(head, token, c));
      }
    }
    exact.out.insert(exact.out.end(), out.begin(), out.end());
  }
  return exact;
}

bool is_forced(const InfllmV2Config& config, std::int64_t position, std::int64_t block) {
  return block < config.init_blocks || block >= position / config.block() - config.local_blocks;
}

/// Blocks of a row that are not forced, heaviest first.
Blocks ranked(const InfllmV2Config& config, std::int64_t position, const Exact& exact) {
  Blocks blocks;
  for (std::int32_t b = 0; b <= position / config.block(); ++b) {
    if (!is_forced(config, position, b)) blocks.push_back(b);
  }
  std::sort(blocks.begin(), blocks.end(), [&](std::int32_t a, std::int32_t b) {
    return exact.masses[static_cast<std::size_t>(a)] > exact.masses[static_cast<std::size_t>(b)];
  });
  return blocks;
}

/// The forced blocks of a row and others, ascending.
Blocks with_forced(const InfllmV2Config& config, std::int64_t position, Blocks blocks) {
  for (std::int32_t b = 0; b <= position / config.block(); ++b) {
    if (is_forced(config, position, b)) blocks.push_back(b);
  }
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

double mass_of(const Blocks& blocks, const Exact& exact) {
  double sum = 0;
  for (const std::int32_t b : blocks) sum += exact.masses[static_cast<std::size_t>(b)];
  return sum;
}

/// A row with random queries and outputs that reads every block.
SampledRow random_row(const InfllmV2Config& config, std::int64_t position) {
  const auto seed = static_cast<std::uint64_t>(position);
  return {.index = 0,
          .position = position,
          .q = random_floats(config.heads.q_dim(), 100 + seed),
          .out = random_floats(config.heads.q_dim(), 200 + seed),
          .blocks = std::vector<Blocks>(2)};
}

/// The one row's sample of the first KV head.
SelectionSample measure_one(const InfllmV2Config& config, HostCache& cache, const SampledRow& row,
                            const std::vector<TokenRange>& needles = {}) {
  cache.rewind();
  return measure_selection(config, {&row, 1}, cache, needles, 1).at(0);
}

constexpr double kRounding = 2e-6;  // of fp32 products

TEST(SelectionFidelity, equals_sums_in_fp64_in_every_slice_and_slab) {
  const InfllmV2Config config = small_config();
  constexpr std::int64_t kTokens = 2600;  // 650 blocks: more than are loaded at a time
  HostCache cache(config, kTokens);
  std::vector<SampledRow> rows;
  for (const std::int64_t position : {0, 1, 3, 4, 11, 12, 300, 301, 1500, 2047, 2048, 2598, 2599}) {
    rows.push_back(random_row(config, position));
  }
  std::vector<std::vector<Exact>> exact(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::int64_t head = 0; head < 2; ++head) {
      const std::int64_t position = rows[i].position;
      exact[i].push_back(exact_attention(config, cache, rows[i], head));
      // Every third of the others, by weight: a recall of about a third.
      const Blocks others = ranked(config, position, exact[i].back());
      Blocks chosen;
      for (std::size_t k = static_cast<std::size_t>(head); k < others.size(); k += 3) {
        chosen.push_back(others[k]);
      }
      rows[i].blocks[static_cast<std::size_t>(head)] = with_forced(config, position, chosen);
    }
  }
  const auto samples = measure_selection(config, rows, cache, {}, 1);
  ASSERT_EQ(samples.size(), 2 * rows.size());
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const SelectionSample& sample = samples[i];
    const SampledRow& row = rows[i / 2];
    const Exact& expected = exact[i / 2][i % 2];
    const Blocks& blocks = row.blocks[i % 2];
    SCOPED_TRACE(row.position);
    EXPECT_EQ(sample.kv_head, static_cast<int>(i % 2));
    EXPECT_EQ(sample.position, row.position);
    EXPECT_EQ(sample.blocks_visible, row.position / 4 + 1);
    EXPECT_EQ(sample.blocks_read, static_cast<std::int64_t>(blocks.size()));
    EXPECT_NEAR(sample.mass_recall, mass_of(blocks, expected), kRounding);
    Blocks heaviest = ranked(config, row.position, expected);
    const auto n_chosen =
        static_cast<std::size_t>(std::count_if(blocks.begin(), blocks.end(), [&](std::int32_t b) {
          return !is_forced(config, row.position, b);
        }));
    heaviest.resize(n_chosen);
    EXPECT_NEAR(sample.mass_oracle, mass_of(with_forced(config, row.position, heaviest), expected),
                kRounding);
    EXPECT_EQ(sample.topk_recall.has_value(), n_chosen > 0);
    if (n_chosen > 0) {
      const auto n_hits = std::count_if(heaviest.begin(), heaviest.end(), [&](std::int32_t b) {
        return std::binary_search(blocks.begin(), blocks.end(), b);
      });
      EXPECT_NEAR(*sample.topk_recall, static_cast<double>(n_hits) / static_cast<double>(n_chosen),
                  0.5 / 650);
    }
    double difference = 0, product = 0, own = 0, size = 0;
    for (std::size_t c = 0; c < expected.out.size(); ++c) {
      const double out = row.out[i % 2 * expected.out.size() + c];
      difference += (out - expected.out[c]) * (out - expected.out[c]);
      product += out * expected.out[c];
      own += out * out;
      size += expected.out[c] * expected.out[c];
    }
    EXPECT_NEAR(sample.out_rel_l2 / std::sqrt(difference / size), 1, 10 * kRounding);
    EXPECT_NEAR(sample.out_cos, product / std::sqrt(own * size), 10 * kRounding);
  }
}

TEST(SelectionFidelity, threads_and_company_change_nothing) {
  const InfllmV2Config config = small_config();
  HostCache cache(config, 2600);
  const std::vector<SampledRow> rows{random_row(config, 700), random_row(config, 2599)};
  const auto expected = measure_selection(config, rows, cache, {}, 1);
  cache.rewind();
  const auto threaded = measure_selection(config, rows, cache, {}, 3);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(threaded[i].out_rel_l2, expected[i].out_rel_l2);
    EXPECT_EQ(threaded[i].mass_recall, expected[i].mass_recall);
  }
  EXPECT_NEAR(measure_one(config, cache, rows[0]).out_rel_l2, expected[0].out_rel_l2, 1e-5);
  EXPECT_NEAR(measure_one(config, cache, rows[1]).out_rel_l2, expected[2].out_rel_l2, 1e-5);
}

TEST(SelectionFidelity, the_heaviest_blocks_are_a_perfect_choice) {
  const InfllmV2Config config = small_config();
  HostCache cache(config, 400);
  SampledRow row = random_row(config, 390);
  Blocks best = ranked(config, row.position, exact_attention(config, cache, row, 0));
  best.resize(7);
  row.blocks[0] = with_forced(config, row.position, best);
  const SelectionSample sample = measure_one(config, cache, row);
  EXPECT_EQ(sample.topk_recall, 1.0);
  EXPECT_EQ(sample.mass_recall, sample.mass_oracle);
  EXPECT_LT(sample.mass_recall, 1);
}

TEST(SelectionFidelity, forced_blocks_do_not_flatter_the_choice) {
  const InfllmV2Config config = small_config();
  HostCache cache(config, 400);
  SampledRow row = random_row(config, 390);
  Blocks worst = ranked(config, row.position, exact_attention(config, cache, row, 0));
  worst.erase(worst.begin(), worst.end() - 7);
  row.blocks[0] = with_forced(config, row.position, worst);
  const SelectionSample sample = measure_one(config, cache, row);
  EXPECT_EQ(sample.topk_recall, 0.0);
  EXPECT_LT(sample.mass_recall, sample.mass_oracle);
  row.blocks[0] = with_forced(config, row.position, {});
  const SelectionSample forced_only = measure_one(config, cache, row);
  EXPECT_FALSE(forced_only.topk_recall.has_value());
  EXPECT_EQ(forced_only.mass_recall, forced_only.mass_oracle);
}

TEST(SelectionFidelity, reading_every_block_gives_all_mass_and_the_exact_output) {
  const InfllmV2Config config = small_config();
  HostCache cache(config, 400);
  for (const std::int64_t position : {0, 63, 64, 399}) {
    SampledRow row = random_row(config, position);
    const Exact exact = exact_attention(config, cache, row, 0);
    std::copy(exact.out.begin(), exact.out.end(), row.out.begin());
    const SelectionSample sample = measure_one(config, cache, row);
    EXPECT_EQ(sample.blocks_read, position / 4 + 1);
    EXPECT_NEAR(sample.mass_recall, 1, 1e-12);
    EXPECT_NEAR(sample.mass_oracle, 1, 1e-12);
    EXPECT_LT(sample.out_rel_l2, 3 * kRounding);
    EXPECT_NEAR(sample.out_cos, 1, 1e-10);
    if (position > 16) {
      EXPECT_EQ(sample.topk_recall, 1.0);
    }
  }
}

TEST(SelectionFidelity, a_needle_is_hit_by_the_share_of_its_blocks_that_are_read) {
  const InfllmV2Config config = small_config();
  HostCache cache(config, 400);
  SampledRow row = random_row(config, 390);
  row.blocks[0] = with_forced(config, row.position, {20, 21, 50});
  const auto hit = [&](const std::vector<TokenRange>& needles) {
    return measure_one(config, cache, row, needles).needle_hit;
  };
  EXPECT_EQ(hit({}), std::nullopt);
  EXPECT_EQ(hit({{80, 88}}), 1.0);
  EXPECT_EQ(hit({{120, 121}}), 0.0);
  EXPECT_EQ(hit({{79, 80}}), 0.0);
  EXPECT_EQ(hit({{79, 81}}), 0.5);
  EXPECT_EQ(hit({{87, 93}}), 1.0 / 3);                        // blocks 21, 22 and 23
  EXPECT_EQ(hit({{80, 82}, {82, 84}, {120, 124}}), 1.0 / 2);  // the first two are one block
  EXPECT_EQ(hit({{200, 201}, {391, 400}}), 1.0) << "the row does not see the second";
  EXPECT_EQ(hit({{391, 400}}), std::nullopt);
  EXPECT_EQ(hit({{388, 396}}), 1.0) << "of two blocks the row sees one";
}

TEST(SelectionFidelity, equal_masses_favour_what_was_read) {
  const InfllmV2Config config = small_config();
  HostCache cache(config, 400);
  SampledRow row = random_row(config, 399);
  std::fill(row.q.begin(), row.q.end(), 0.0F);
  row.blocks[0] = with_forced(config, row.position, {30, 60, 90});
  const SelectionSample sample = measure_one(config, cache, row);
  EXPECT_EQ(sample.topk_recall, 1.0);
  EXPECT_NEAR(sample.mass_recall, 0.07, 1e-12);
}

TEST(SelectionFidelity, scores_far_apart_keep_their_masses) {
  const InfllmV2Config config = small_config(1);
  HostCache cache(config, 400);
  SampledRow row = random_row(config, 399);
  for (float& value : row.q) value *= 100;
  row.blocks[0] = with_forced(config, row.position, {5, 6});
  const Exact exact = exact_attention(config, cache, row, 0);
  const SelectionSample sample = measure_one(config, cache, row);
  EXPECT_NEAR(sample.mass_recall, mass_of(row.blocks[0], exact), 2e-4);
  EXPECT_TRUE(std::isfinite(sample.out_rel_l2));
}

TEST(SelectionFidelity, zero_outputs_agree_and_damaged_ones_are_refused) {
  const InfllmV2Config config = small_config();
  HostCache cache(config, 40);
  SampledRow row = random_row(config, 39);
  for (std::int64_t t = 0; t < 40; ++t) {
    for (std::int64_t c = 0; c < 8; ++c) cache.value(0, t, c) = 0;
  }
  const float out = row.out[0];
  std::fill_n(row.out.begin(), 24, 0.0F);
  EXPECT_EQ(measure_one(config, cache, row).out_rel_l2, 0);
  EXPECT_EQ(measure_one(config, cache, row).out_cos, 1);
  row.out[0] = out;
  EXPECT_EQ(measure_one(config, cache, row).out_cos, 0);
  cache.key(0, 17, 3) = NAN;
  expect_error([&] { measure_one(config, cache, row); }, {"position 39", "NaN"});
}

/// Two KV heads, blocks of 16, six of them read from row 96 on.
nlohmann::json layer_options(std::int64_t dense_len) {
  return {{"n_heads", 6},
          {"n_kv_heads", 2},
          {"head_dim", 16},
          {"scale", 0.5},
          {"rms_norm_eps", 1e-6},
          {"rope", nullptr},
          {"output_gate", true},
          {"select_score", "fp32"},
          {"sparse",
           {{"kernel_size", 8},
            {"kernel_stride", 4},
            {"init_blocks", 1},
            {"block_size", 16},
            {"window_size", 32},
            {"topk", 4},
            {"dense_len", dense_len}}}};
}

std::vector<SelectionSample> samples_of(LayerUnderTest& test, const SelectionRequest& request,
                                        const std::vector<std::int64_t>& chunks) {
  const std::int64_t n_tokens = std::accumulate(chunks.begin(), chunks.end(), std::int64_t{0});
  SelectionProbe probe{request, {}};
  test.selection = &probe;
  test.run(test.input(n_tokens), chunks);
  test.selection = nullptr;
  return probe.samples;
}

TEST(SelectionFidelity, samples_see_the_blocks_that_the_layer_reads) {
  LayerUnderTest test("infllm_v2", layer_options(0));
  const std::int64_t n = 400;
  const InfllmV2Reference reference =
      infllm_v2_reference(test.spec, test.weights.reference(), widened(test.input(n)), n);
  std::int64_t n_compared = 0;
  for (const std::int64_t position : {40, 97, 200, 290, 333, 399}) {
    for (std::size_t head = 0; head < 2; ++head) {
      const auto list = static_cast<std::size_t>(2 * position) + head;
      if (!reference.certain[list]) continue;
      SelectionRequest request{{position}, {}};
      for (const std::int64_t block : reference.blocks[list]) {
        const std::int64_t token = std::min(16 * block, position);
        request.needles.push_back({token, token + 1});
      }
      const SelectionSample sample = samples_of(test, request, {n}).at(head);
      EXPECT_EQ(sample.blocks_read, static_cast<std::int64_t>(reference.blocks[list].size()));
      EXPECT_EQ(sample.needle_hit, 1.0) << position << ", head " << head;
      ++n_compared;
    }
  }
  EXPECT_GE(n_compared, 8);
}

TEST(SelectionFidelity, chunks_do_not_matter) {
  LayerUnderTest test("infllm_v2", layer_options(0));
  const SelectionRequest request{{0, 1, 95, 96, 97, 128, 300, 301, 302, 499}, {{30, 70}}};
  const auto expected = samples_of(test, request, {500});
  ASSERT_EQ(expected.size(), 20U);
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    const auto samples = samples_of(test, request, random_chunks(500, 20 << (3 * seed), seed));
    ASSERT_EQ(samples.size(), expected.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
      EXPECT_EQ(samples[i].position, expected[i].position);
      EXPECT_EQ(samples[i].kv_head, expected[i].kv_head);
      EXPECT_EQ(samples[i].blocks_read, expected[i].blocks_read);
      EXPECT_EQ(samples[i].needle_hit, expected[i].needle_hit);
      EXPECT_EQ(samples[i].topk_recall, expected[i].topk_recall);
      EXPECT_NEAR(samples[i].mass_recall, expected[i].mass_recall, 1e-5);
      EXPECT_NEAR(samples[i].out_rel_l2, expected[i].out_rel_l2, 1e-5);
    }
  }
}

TEST(SelectionFidelity, dense_rows_hold_all_mass_and_sparse_ones_less) {
  LayerUnderTest test("infllm_v2", layer_options(200));
  const SelectionRequest request{{120, 199}, {{40, 41}}};
  for (const SelectionSample& sample : samples_of(test, request, {199})) {
    EXPECT_EQ(sample.position, 120) << "the other is behind the end";
    EXPECT_EQ(sample.blocks_read, 8);
    EXPECT_NEAR(sample.mass_recall, 1, 1e-12);
    EXPECT_EQ(sample.needle_hit, 1.0);
    EXPECT_LT(sample.out_rel_l2, 3 * kRounding);
  }
  for (const SelectionSample& sample : samples_of(test, request, {150, 50})) {
    EXPECT_EQ(sample.blocks_read, 6);
    EXPECT_EQ(sample.blocks_visible, sample.position / 16 + 1);
    EXPECT_LT(sample.mass_recall, 0.999);
    EXPECT_GE(sample.mass_oracle, sample.mass_recall);
    EXPECT_GT(sample.out_rel_l2, 1e-3);
    EXPECT_LT(sample.out_cos, 1);
  }
}

}  // namespace
}  // namespace sala::testing
