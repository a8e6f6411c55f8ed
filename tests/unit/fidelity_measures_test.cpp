// Logit distances against an independent oracle, samples of selections, proof of activity.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "harness/fidelity/activity.h"
#include "harness/fidelity/divergence.h"
#include "harness/fidelity/selection.h"
#include "tests/expect_error.h"

namespace sala::testing {
namespace {

std::vector<float> random_logits(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(n);
  for (float& x : logits) x = normal(random);
  return logits;
}

/// By the textbook: probabilities first, in extended precision.
double oracle_divergence(const float* p, const float* q, std::size_t n) {
  long double p_sum = 0;
  long double q_sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    p_sum += std::exp(static_cast<long double>(p[i]));
    q_sum += std::exp(static_cast<long double>(q[i]));
  }
  long double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const long double of_p = std::exp(static_cast<long double>(p[i])) / p_sum;
    const long double of_q = std::exp(static_cast<long double>(q[i])) / q_sum;
    sum += of_p * std::log(of_p / of_q);
  }
  return static_cast<double>(sum);
}

TEST(divergence, three_tokens_by_hand) {
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): ln 2 / 2 - ln 2 / 4.
  const auto ln = [](double x) { return static_cast<float>(std::log(x)); };
  const std::vector<float> p{ln(2), ln(1), ln(1)};
  const std::vector<float> q{ln(1), ln(2), ln(1)};
  const LogitDistance got = logit_distance(p, q, 3);
  EXPECT_EQ(got.n_positions, 1);
  EXPECT_NEAR(got.kld_mean, std::log(2.0) / 4, 1e-7);
  EXPECT_EQ(got.kld_max, got.kld_mean);
  EXPECT_EQ(got.top1_agree, 0);
}

TEST(divergence, agrees_with_probabilities_in_extended_precision) {
  constexpr std::size_t kVocab = 997;
  constexpr std::size_t kRows = 101;
  const std::vector<float> p = random_logits(kRows * kVocab, 1);
  std::vector<float> q = random_logits(kRows * kVocab, 2);
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = p[i] + 0.3F * q[i];
  std::vector<double> expected;
  int n_agree = 0;
  for (std::size_t row = 0; row < kRows; ++row) {
    const float* a = p.data() + row * kVocab;
    const float* b = q.data() + row * kVocab;
    expected.push_back(oracle_divergence(a, b, kVocab));
    n_agree += std::max_element(a, a + kVocab) - a == std::max_element(b, b + kVocab) - b ? 1 : 0;
  }
  const LogitDistance got = logit_distance(p, q, kVocab);
  EXPECT_EQ(got.n_positions, 101);
  EXPECT_NEAR(got.kld_mean, std::accumulate(expected.begin(), expected.end(), 0.0) / kRows, 1e-10);
  std::sort(expected.begin(), expected.end());
  EXPECT_NEAR(got.kld_p99, expected[99], 1e-10) << "the 99th of 100 steps from least to most";
  EXPECT_NEAR(got.kld_max, expected[100], 1e-10);
  EXPECT_DOUBLE_EQ(got.top1_agree, n_agree / 101.0);
  EXPECT_GT(n_agree, 0);
  EXPECT_LT(n_agree, 101);
}

TEST(divergence, equal_logits_are_no_distance_and_a_shift_changes_nothing) {
  const std::vector<float> p = random_logits(64, 3);
  std::vector<float> shifted = p;
  for (float& x : shifted) x += 2;
  EXPECT_EQ(logit_distance(p, p, 64).kld_max, 0);
  EXPECT_EQ(logit_distance(p, p, 64).top1_agree, 1);
  EXPECT_LT(logit_distance(p, shifted, 64).kld_max, 1e-12);
}

TEST(divergence, another_order_of_the_vocabulary_is_the_same_distance) {
  const std::vector<float> p = random_logits(500, 4);
  const std::vector<float> q = random_logits(500, 5);
  std::vector<std::size_t> order(500);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(6));
  std::vector<float> p2;
  std::vector<float> q2;
  for (const std::size_t i : order) {
    p2.push_back(p[i]);
    q2.push_back(q[i]);
  }
  EXPECT_NEAR(logit_distance(p, q, 500).kld_mean, logit_distance(p2, q2, 500).kld_mean, 1e-12);
}

TEST(divergence, is_never_negative_nor_blown_up_by_large_logits) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::vector<float> p = random_logits(33, seed);
    std::vector<float> q = p;
    q[seed % 33] = std::nextafter(q[seed % 33], 100.0F);
    EXPECT_GE(logit_distance(p, q, 33).kld_max, 0);
  }
  const std::vector<float> huge{8e4F, -8e4F, 0};
  const std::vector<float> other{8e4F, 0, -8e4F};
  EXPECT_EQ(logit_distance(huge, other, 3).kld_max, 0) << "both are sure of the same token";
}

TEST(divergence, a_logit_that_is_not_finite_is_an_error) {
  const std::vector<float> p{1, 2};
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), INFINITY}) {
    const std::vector<float> q{1, bad};
    expect_error([&] { logit_distance(p, q, 2); }, {"not finite"});
    expect_error([&] { logit_distance(q, p, 2); }, {"not finite"});
  }
}

TEST(divergence, the_gap_is_between_the_two_best_wherever_they_stand) {
  EXPECT_EQ(top2_gap(std::vector<float>{3, 1, 2}), 1);
  EXPECT_EQ(top2_gap(std::vector<float>{1, 3}), 2);
  EXPECT_EQ(top2_gap(std::vector<float>{0, 5, 1, 5}), 0);
}

TEST(divergence, answers_differ_at_a_token_or_where_one_ends) {
  const auto answer = [](std::vector<TokenId> tokens) {
    Output output;
    output.tokens = std::move(tokens);
    return output;
  };
  EXPECT_EQ(first_difference(answer({1, 2, 3}), answer({1, 2, 3})), std::nullopt);
  EXPECT_EQ(first_difference(answer({1, 2, 3}), answer({1, 5, 3})), 1);
  EXPECT_EQ(first_difference(answer({1, 2}), answer({1, 2, 3})), 2);
  EXPECT_EQ(first_difference(answer({}), answer({7})), 0);
}

TEST(divergence, classes_have_the_boundaries_of_their_definition) {
  EXPECT_STREQ(divergence_class(std::nullopt), "identical");
  EXPECT_STREQ(divergence_class(0.0), "near_tie");
  EXPECT_STREQ(divergence_class(0.125), "near_tie");
  EXPECT_STREQ(divergence_class(0.126), "between");
  EXPECT_STREQ(divergence_class(0.499), "between");
  EXPECT_STREQ(divergence_class(0.5), "hard");
}

Sample sample_of(std::int64_t n_prompt, std::int64_t new_tokens) {
  Sample sample;
  sample.prompt_ids.assign(static_cast<std::size_t>(n_prompt), 1);
  sample.max_new_tokens = new_tokens;
  sample.needles = {{10, 20}};
  return sample;
}

TEST(selection_request, has_the_context_the_question_and_the_answer_in_order) {
  const SelectionRequest request = make_selection_request(sample_of(16384, 8));
  const auto& p = request.positions;
  ASSERT_EQ(p.size(), 32U + 32U + 7U);
  EXPECT_EQ(p.front(), 255) << "a 64th of what lies before the question";
  EXPECT_EQ(p[32], 16384 - 32);
  EXPECT_EQ(p.back(), 16384 + 6) << "the last token of an answer is not read";
  EXPECT_TRUE(std::is_sorted(p.begin(), p.end()));
  EXPECT_NEAR(static_cast<double>(p[11]) / static_cast<double>(p[10]),
              static_cast<double>(p[21]) / static_cast<double>(p[20]), 0.01);
  ASSERT_EQ(request.needles.size(), 1U);
  EXPECT_EQ(request.needles[0].begin, 10);
  EXPECT_EQ(request.needles[0].end, 20);
}

TEST(selection_request, short_prompts_have_no_position_twice) {
  for (const std::int64_t n : {1, 31, 32, 33, 40, 97}) {
    const auto p = make_selection_request(sample_of(n, 1)).positions;
    EXPECT_EQ(std::adjacent_find(p.begin(), p.end(), std::greater_equal<>()), p.end()) << n;
    EXPECT_GE(p.front(), 0);
    EXPECT_EQ(p.back(), n - 1);
  }
}

SelectionSample sample_at(int layer, int head, std::int64_t position, double mass, double hit) {
  return {.layer = layer,
          .kv_head = head,
          .position = position,
          .blocks_read = 8,
          .blocks_visible = 32,
          .topk_recall = std::nullopt,
          .mass_recall = mass,
          .mass_oracle = 1,
          .needle_hit = hit,
          .out_rel_l2 = 0.5,
          .out_cos = 0.75};
}

TEST(selection_rows, are_means_by_layer_part_and_head) {
  std::vector<SelectionSample> samples{sample_at(3, 0, 100, 0.2, 0), sample_at(3, 0, 990, 0.4, 1),
                                       sample_at(3, 0, 1001, 0.6, 0), sample_at(3, 1, 990, 0.9, 1),
                                       sample_at(7, 0, 990, 1.0, 1)};
  samples[1].topk_recall = 0.5;
  const auto rows = selection_rows(samples, 1000);
  const auto find = [&](int layer, int head, const std::string& part) {
    const auto at = std::find_if(rows.begin(), rows.end(), [&](const SelectionRow& row) {
      return row.layer == layer && row.head == head && row.part == part;
    });
    EXPECT_NE(at, rows.end());
    return *at;
  };
  EXPECT_EQ(rows.size(), 7U);
  const SelectionRow head0 = find(3, 0, "question");
  EXPECT_EQ(head0.n_queries, 2);
  EXPECT_DOUBLE_EQ(head0.mass_recall, 0.5);
  EXPECT_DOUBLE_EQ(head0.density, 0.25);
  EXPECT_DOUBLE_EQ(*head0.topk_recall, 0.5) << "over the queries that have one";
  EXPECT_DOUBLE_EQ(*head0.needle_hit, 0.5);
  EXPECT_DOUBLE_EQ(find(3, kAllHeads, "question").mass_recall, 1.9 / 3);
  const SelectionRow context = find(3, kAllHeads, "context");
  EXPECT_DOUBLE_EQ(context.mass_recall, 0.2);
  EXPECT_FALSE(context.topk_recall);
  EXPECT_FALSE(context.needle_hit) << "nobody had asked for it yet";
}

EngineInfo hybrid_info() {
  EngineInfo info;
  info.name = "toy";
  info.layer_pattern = {"infllm_v2", "lightning", "infllm_v2"};
  info.settings = {{"dense_len", "1024"}, {"sparse", "on"}};
  info.config_json =
      R"({"sparse_config":{"dense_len":9999,"topk":4,"block_size":64,"window_size":128}})";
  return info;
}

std::vector<RouteEntry> good_route() {
  return {{0, "prefill", "sparse", "k", 1, 30, 60},
          {1, "prefill", "linear", "k", 1, 0, 0},
          {2, "prefill", "sparse", "k", 1, 20, 60},
          {2, "decode", "dense", "k", 1, 60, 60}};
}

TEST(activity, a_prompt_over_the_budget_has_to_select_in_every_sparse_layer) {
  const EngineInfo info = hybrid_info();
  EXPECT_EQ(selection_rule(info).budget, 384);
  EXPECT_EQ(selection_rule(info).dense_len, 1024) << "the engine's option, not the config's";
  EXPECT_EQ(activity_mismatch(info, good_route(), 2000), "");
  auto route = good_route();
  route[2].path = "dense";
  EXPECT_EQ(activity_mismatch(info, route, 2000), "layer 2 did not take its sparse path");
  EXPECT_EQ(activity_mismatch(info, route, 1023), "") << "dense by the engine's own rule";
  route = good_route();
  route[0].blocks_read = 60;
  EXPECT_NE(activity_mismatch(info, route, 2000).find("layer 0 read all of its 60"),
            std::string::npos);
}

TEST(activity, a_linear_layer_has_to_be_linear_at_any_length) {
  auto route = good_route();
  route[1].path = "dense";
  EXPECT_NE(activity_mismatch(hybrid_info(), route, 10).find("layer 1"), std::string::npos);
  route.erase(route.begin() + 1);
  EXPECT_NE(activity_mismatch(hybrid_info(), route, 10).find("layer 1"), std::string::npos);
}

TEST(activity, the_dense_model_may_leave_out_no_block_of_a_sparse_layer) {
  std::vector<RouteEntry> route{{0, "prefill", "dense", "k", 1, 60, 60},
                                {1, "prefill", "linear", "k", 1, 0, 0},
                                {2, "prefill", "dense", "k", 1, 60, 60}};
  EXPECT_EQ(dense_mismatch(hybrid_info(), route), "");
  route[2].path = "sparse";
  EXPECT_NE(dense_mismatch(hybrid_info(), route).find("layer 2"), std::string::npos);
  route[2] = {2, "prefill", "dense", "k", 1, 59, 60};
  EXPECT_NE(dense_mismatch(hybrid_info(), route).find("layer 2"), std::string::npos);
  route.pop_back();
  EXPECT_NE(dense_mismatch(hybrid_info(), route).find("layer 2"), std::string::npos);
}

TEST(activity, a_model_without_selection_is_refused) {
  EngineInfo full = hybrid_info();
  full.layer_pattern = {"dense", "lightning"};
  expect_error([&] { selection_rule(full); }, {"toy", "no block-sparse layer"});
  EngineInfo off = hybrid_info();
  off.settings["sparse"] = "off";
  expect_error([&] { selection_rule(off); }, {"--set sparse", "off"});
}

}  // namespace
}  // namespace sala::testing
