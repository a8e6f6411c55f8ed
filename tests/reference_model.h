// A whole model in plain double precision, written from the formulas: the oracle for the engine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/tiny_model.h"

namespace sala::testing {

using Row = std::vector<double>;
using Rows = std::vector<Row>;  // one vector a token

/// Evaluates a TinyModel from its config.json. Options as in the model reference §1.4.
class ReferenceModel {
 public:
  explicit ReferenceModel(const TinyModel& model)
      : config_(model.config), weights_(model.weights) {}

  bool dense_rule_row = false;
  bool sparse_on = true;
  bool exact_lse = false;
  bool fp32_scores = false;
  bool published_angles = false;  // rounded as in published code, at every step; otherwise exact
  std::size_t n_prompt = 0;       // tokens that were not decoded one by one; 0: all

  /// Logits of every position.
  Rows logits(const std::vector<TokenId>& ids) const {
    const auto hidden = integer("hidden_size");
    const bool scaled = config_.contains("scale_emb");
    const double residual =
        scaled ? number("scale_depth") / std::sqrt(number("num_hidden_layers")) : 1;
    Rows x;
    for (const TokenId id : ids) {
      const Row& table = weight("model.embed_tokens.weight");
      Row row(table.begin() + id * hidden, table.begin() + (id + 1) * hidden);
      for (double& value : row) value *= scaled ? number("scale_emb") : 1;
      x.push_back(row);
    }
    const auto add = [&](const Rows& delta) {
      for (std::size_t t = 0; t < x.size(); ++t) {
        for (std::size_t c = 0; c < x[t].size(); ++c) x[t][c] += residual * delta[t][c];
      }
    };
    const auto n_layers = static_cast<std::size_t>(integer("num_hidden_layers"));
    for (std::size_t i = 0; i < n_layers; ++i) {
      const std::string layer = fmt::format("model.layers.{}.", i);
      const bool sala = config_["model_type"] == "minicpm_sala";
      const bool linear = sala && config_["mixer_types"][i] != "minicpm4";
      const Rows normed = norm(x, layer + "input_layernorm.weight");
      add(linear ? lightning(normed, layer + "self_attn.") : softmax(normed, layer + "self_attn."));
      add(mlp(norm(x, layer + "post_attention_layernorm.weight"), layer + "mlp."));
    }
    Rows y = norm(x, "model.norm.weight");
    for (Row& row : y) {
      for (double& value : row)
        value *= !scaled ? 1 : number("dim_model_base") / number("hidden_size");
    }
    const bool tied = config_["tie_word_embeddings"].get<bool>();
    return project(y, tied ? "model.embed_tokens.weight" : "lm_head.weight");
  }

 private:
  const Row& weight(const std::string& name) const { return weights_.at(name); }
  double number(const char* field) const { return config_[field].get<double>(); }
  std::int64_t integer(const char* field) const { return config_[field].get<std::int64_t>(); }
  std::size_t size(const char* field) const { return config_[field].get<std::size_t>(); }
  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

  Rows project(const Rows& x, const std::string& name) const {
    const Row& w = weight(name);
    Rows out;
    for (const Row& row : x) {
      Row y(w.size() / row.size());
      for (std::size_t o = 0; o < y.size(); ++o) {
        for (std::size_t c = 0; c < row.size(); ++c) y[o] += row[c] * w[o * row.size() + c];
      }
      out.push_back(y);
    }
    return out;
  }

  /// RMS norm of every run of as many elements as the weight has.
  Rows norm(Rows x, const std::string& name) const {
    const Row& w = weight(name);
    for (Row& row : x) {
      for (std::size_t begin = 0; begin < row.size(); begin += w.size()) {
        double squares = 0;
        for (std::size_t c = 0; c < w.size(); ++c) squares += row[begin + c] * row[begin + c];
        const double mean = squares / static_cast<double>(w.size());
        for (std::size_t c = 0; c < w.size(); ++c) {
          row[begin + c] *= w[c] / std::sqrt(mean + number("rms_norm_eps"));
        }
      }
    }
    return x;
  }

  Rows mlp(const Rows& x, const std::string& prefix) const {
    Rows gate = project(x, prefix + "gate_proj.weight");
    const Rows up = project(x, prefix + "up_proj.weight");
    for (std::size_t t = 0; t < x.size(); ++t) {
      for (std::size_t c = 0; c < gate[t].size(); ++c) {
        gate[t][c] *= sigmoid(gate[t][c]) * up[t][c];
      }
    }
    return project(gate, prefix + "down_proj.weight");
  }

  /// How many times slower pair i turns than without scaling. Source: model reference §6.
  double slowdown(std::size_t i) const {
    const nlohmann::json& scaling = config_["rope_scaling"];
    if (scaling.is_null()) return 1;
    const auto get = [&](const char* field) { return scaling[field].get<double>(); };
    if (scaling["rope_type"] == "longrope") return scaling["long_factor"][i].get<double>();
    const auto d = number("head_dim");
    const double theta = number("rope_theta");
    const double trained = get("original_max_position_embeddings");
    const double factor = get("factor");
    if (scaling["rope_type"] == "llama3") {
      const double wave = 2 * M_PI * std::pow(theta, 2 * static_cast<double>(i) / d);
      const double low = get("low_freq_factor");
      const double high = get("high_freq_factor");
      if (wave < trained / high) return 1;
      if (wave > trained / low) return factor;
      const double u = (trained / wave - low) / (high - low);
      return 1 / ((1 - u) / factor + u);
    }
    const auto pair = [&](double turns) {  // that makes so many turns in the trained length
      return d * std::log(trained / (turns * 2 * M_PI)) / (2 * std::log(theta));
    };
    const double low = std::max(std::floor(pair(32)), 0.0);
    const double high = std::min(std::ceil(pair(1)), d - 1);
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    return 1 / (ramp / factor + (1 - ramp));
  }

  /// Factor of every cosine and sine.
  double magnitude() const {
    const nlohmann::json& scaling = config_["rope_scaling"];
    if (scaling.is_null() || scaling["rope_type"] == "llama3") return 1;
    if (scaling["rope_type"] == "yarn") return 0.1 * std::log(scaling["factor"].get<double>()) + 1;
    const auto trained = scaling["original_max_position_embeddings"].get<double>();
    const double longer = number("max_position_embeddings") / trained;
    return std::sqrt(1 + std::log(longer) / std::log(trained));
  }

  /// By how much pair i is turned at position t. Published: MiniCPMLongRoPE of openbmb's
  /// modeling_minicpm.py, and without scaling that of every Hugging Face model.
  double angle(std::size_t i, std::size_t t) const {
    const double exponent = 2 * static_cast<double>(i) / number("head_dim");
    const double theta = number("rope_theta");
    if (!published_angles) return static_cast<double>(t) * std::pow(theta, -exponent) / slowdown(i);
    const float slower = 1.0F / static_cast<float>(slowdown(i));
    const float frequency =
        1.0F / std::pow(static_cast<float>(theta), static_cast<float>(exponent));
    return static_cast<float>(t) * slower * frequency;
  }

  /// Half-split rotary embedding of every head; row t is at position t.
  Rows rotate(Rows x) const {
    const std::size_t d = size("head_dim");
    const double scale = magnitude();
    for (std::size_t i = 0; i < d / 2; ++i) {
      for (std::size_t t = 0; t < x.size(); ++t) {
        const double turned = angle(i, t);
        const double cosine = scale * std::cos(turned);
        const double sine = scale * std::sin(turned);
        for (std::size_t head = 0; head < x[t].size(); head += d) {
          const double a = x[t][head + i];
          const double b = x[t][head + i + d / 2];
          x[t][head + i] = a * cosine - b * sine;
          x[t][head + i + d / 2] = b * cosine + a * sine;
        }
      }
    }
    return x;
  }

  void gate(Rows& out, const Rows& x, const std::string& name) const {
    const Rows z = project(x, name);
    for (std::size_t t = 0; t < out.size(); ++t) {
      for (std::size_t c = 0; c < out[t].size(); ++c) out[t][c] *= sigmoid(z[t][c]);
    }
  }

  /// The recurrence of §4.1 for power-of-two head counts.
  Rows lightning(const Rows& x, const std::string& prefix) const {
    const std::size_t d = size("head_dim");
    const std::size_t n_heads = size("lightning_nh");
    const std::size_t group = n_heads / size("lightning_nkv");
    const Rows q = rotate(norm(project(x, prefix + "q_proj.weight"), prefix + "q_norm.weight"));
    const Rows k = rotate(norm(project(x, prefix + "k_proj.weight"), prefix + "k_norm.weight"));
    const Rows v = project(x, prefix + "v_proj.weight");
    Rows out(x.size(), Row(n_heads * d));
    for (std::size_t h = 0; h < n_heads; ++h) {
      const double exponent = -8.0 * static_cast<double>(h + 1) / static_cast<double>(n_heads);
      const double decay = std::exp(-std::exp2(exponent));
      std::vector<Row> state(d, Row(d));  // [key][value]
      for (std::size_t t = 0; t < x.size(); ++t) {
        for (std::size_t i = 0; i < d; ++i) {
          for (std::size_t j = 0; j < d; ++j) {
            state[i][j] = decay * state[i][j] + k[t][h / group * d + i] * v[t][h / group * d + j];
            out[t][h * d + j] += q[t][h * d + i] / std::sqrt(static_cast<double>(d)) * state[i][j];
          }
        }
      }
    }
    out = norm(out, prefix + "o_norm.weight");
    gate(out, x, prefix + "z_proj.weight");
    return project(out, prefix + "o_proj.weight");
  }

  Rows softmax(const Rows& x, const std::string& prefix) const {
    const bool sala = config_["model_type"] == "minicpm_sala";
    const bool rope = !sala || config_["attn_use_rope"].get<bool>();
    const std::size_t d = size("head_dim");
    const std::size_t n_heads = size("num_attention_heads");
    const std::size_t group = n_heads / size("num_key_value_heads");
    Rows q = project(x, prefix + "q_proj.weight");
    Rows k = project(x, prefix + "k_proj.weight");
    const Rows v = project(x, prefix + "v_proj.weight");
    if (config_["model_type"] == "qwen3") {
      q = norm(q, prefix + "q_norm.weight");
      k = norm(k, prefix + "k_norm.weight");
    }
    if (rope) {
      q = rotate(q);
      k = rotate(k);
    }
    Rows out(x.size(), Row(n_heads * d));
    for (std::size_t t = 0; t < x.size(); ++t) {
      for (std::size_t g = 0; g < n_heads / group; ++g) {
        const std::vector<bool> visible = visible_keys(q, k, t, g, group, d);
        for (std::size_t h = g * group; h < (g + 1) * group; ++h) {
          Row p(t + 1);
          double total = 0;
          for (std::size_t j = 0; j <= t; ++j) {
            if (visible[j]) p[j] = std::exp(dot(q[t], h * d, k[j], g * d, d));
            total += p[j];
          }
          for (std::size_t j = 0; j <= t; ++j) {
            for (std::size_t c = 0; c < d; ++c) out[t][h * d + c] += p[j] / total * v[j][g * d + c];
          }
        }
      }
    }
    if (sala) gate(out, x, prefix + "o_gate.weight");
    return project(out, prefix + "o_proj.weight");
  }

  /// q·k scaled by 1/sqrt(d).
  static double dot(const Row& q, std::size_t q_begin, const Row& k, std::size_t k_begin,
                    std::size_t d) {
    double sum = 0;
    for (std::size_t c = 0; c < d; ++c) sum += q[q_begin + c] * k[k_begin + c];
    return sum / std::sqrt(static_cast<double>(d));
  }

  /// Mean of the keys of head g at [begin, begin + count).
  static Row mean_key(const Rows& k, std::size_t g, std::size_t d, std::size_t begin,
                      std::size_t count) {
    Row mean(d);
    for (std::size_t t = begin; t < begin + count; ++t) {
      for (std::size_t c = 0; c < d; ++c) mean[c] += k[t][g * d + c] / static_cast<double>(count);
    }
    return mean;
  }

  /// Keys that row t of KV head g sees: all of them, or those of the selected blocks (§3.3 - §3.7).
  std::vector<bool> visible_keys(const Rows& q, const Rows& k, std::size_t t, std::size_t g,
                                 std::size_t group, std::size_t d) const {
    std::vector<bool> visible(t + 1, true);
    if (!config_.contains("sparse_config") || !sparse_on) return visible;
    const auto& sparse = config_["sparse_config"];
    const auto get = [&](const char* field) { return sparse[field].get<std::size_t>(); };
    const auto dense_len = sparse["dense_len"].get<std::int64_t>();
    const std::size_t prompt = n_prompt == 0 ? q.size() : n_prompt;
    const std::size_t seen = dense_rule_row ? t + 1 : std::max(prompt, t + 1);
    if (dense_len > 0 && static_cast<std::int64_t>(seen) < dense_len) return visible;

    const std::size_t stride = get("kernel_stride");
    const std::size_t block = get("block_size");
    const std::size_t local = get("window_size") / block;
    const std::size_t init = get("init_blocks");
    const std::size_t current = t / block;
    const std::size_t selected = get("topk") + local;
    if (current < selected) return visible;

    // Windows that lie wholly in the past; k2 is four times as coarse as k1.
    std::vector<Row> k1;
    std::vector<Row> k2;
    for (std::size_t j = 0; stride * j + 2 * stride <= t + 1; ++j) {
      k1.push_back(mean_key(k, g, d, stride * j, 2 * stride));
    }
    for (std::size_t j = 0; 4 * stride * j + 8 * stride <= t + 1; ++j) {
      k2.push_back(mean_key(k, g, d, 4 * stride * j, 8 * stride));
    }
    Row p(k1.size());
    for (std::size_t h = g * group; h < (g + 1) * group; ++h) {
      double normaliser = 0;
      for (const Row& key : exact_lse ? k1 : k2) {
        normaliser += std::exp(dot(q[t], h * d, key, 0, d));
      }
      for (std::size_t j = 0; j < k1.size(); ++j) {
        p[j] += std::exp(dot(q[t], h * d, k1[j], 0, d)) / normaliser;
      }
    }
    std::vector<std::pair<double, std::size_t>> ranked;  // (-score, block)
    for (std::size_t b = init; b + local < current; ++b) {
      double score = 0;
      for (std::size_t j = b == 0 ? 0 : 4 * b - 1; j <= 4 * b + 3 && j < p.size(); ++j) {
        score = std::max(score, p[j]);
      }
      const auto narrow = static_cast<float>(score);
      ranked.emplace_back(-(fp32_scores ? score : round_to_bf16(narrow)), b);
    }
    std::sort(ranked.begin(), ranked.end());
    std::vector<bool> chosen(current + 1);
    for (std::size_t b = 0; b < init; ++b) chosen[b] = true;
    for (std::size_t b = current - local; b <= current; ++b) chosen[b] = true;
    for (std::size_t i = 0; i < selected - init - local - 1; ++i) chosen[ranked[i].second] = true;
    for (std::size_t j = 0; j <= t; ++j) visible[j] = chosen[j / block];
    return visible;
  }

  nlohmann::json config_;
  std::map<std::string, std::vector<double>> weights_;
};

}  // namespace sala::testing
