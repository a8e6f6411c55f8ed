// Writes small random models with a byte-level tokenizer into a folder, for tests.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "engine/base/bf16.h"
#include "engine/base/token.h"
#include "engine/model/safetensors.h"

namespace sala::testing {

/// A folder that is removed with everything in it.
class TempFolder {
 public:
  TempFolder() {
    static std::atomic<int> counter{0};
    path_ = std::filesystem::temp_directory_path() /
            fmt::format("sala_test_{}_{}", ::getpid(), counter++);
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

struct TinyOptions {
  std::string family = "minicpm_sala";  // or minicpm4, qwen3, llama
  /// Layers of minicpm_sala; the others take as many softmax layers.
  std::vector<std::string> mixers = {"minicpm4", "lightning-attn", "lightning-attn", "minicpm4"};
  std::int64_t n_heads = 4;
  std::int64_t n_kv_heads = 2;
  std::int64_t head_dim = 16;
  std::int64_t lightning_nkv = 4;
  std::int64_t hidden = 48;
  std::int64_t intermediate = 80;
  std::int64_t vocab = 300;
  bool sparse = true;  // whether there is a sparse_config
  bool tied = false;
  bool attn_use_rope = false;
  DType dtype = DType::bf16;
  std::uint64_t seed = 1;
  nlohmann::json changes = nlohmann::json::object();  // merged into config.json
};

struct TinyModel {
  nlohmann::json config;
  std::map<std::string, std::vector<double>> weights;  // as stored, after rounding
};

/// Whether a family scales embedding, residual and logits.
inline bool is_minicpm(const std::string& family) {
  return family.starts_with("minicpm");
}

/// Everything before position 96 is visible to sparse rows: six blocks of 16 are selected.
inline nlohmann::json tiny_config(const TinyOptions& options) {
  nlohmann::json config = {{"model_type", options.family},
                           {"hidden_size", options.hidden},
                           {"intermediate_size", options.intermediate},
                           {"num_hidden_layers", options.mixers.size()},
                           {"num_attention_heads", options.n_heads},
                           {"num_key_value_heads", options.n_kv_heads},
                           {"head_dim", options.head_dim},
                           {"hidden_act", "silu"},
                           {"rms_norm_eps", 1e-6},
                           {"rope_theta", 10000.0},
                           {"rope_scaling", nullptr},
                           {"vocab_size", options.vocab},
                           {"bos_token_id", 0},
                           {"eos_token_id", 1},
                           {"tie_word_embeddings", options.tied},
                           {"torch_dtype", "bfloat16"}};
  if (is_minicpm(options.family)) {
    config.update({{"scale_emb", 3}, {"scale_depth", 1.4}, {"dim_model_base", 16}});
  }
  if (options.sparse && is_minicpm(options.family)) {
    config["sparse_config"] = {{"kernel_size", 8},  {"kernel_stride", 4}, {"init_blocks", 1},
                               {"block_size", 16},  {"window_size", 32},  {"topk", 4},
                               {"use_nope", false}, {"dense_len", 128}};
  }
  if (options.family == "minicpm_sala") {
    config.update({{"mixer_types", options.mixers},
                   {"lightning_nh", options.n_heads},
                   {"lightning_nkv", options.lightning_nkv},
                   {"lightning_head_dim", options.head_dim},
                   {"lightning_scale", "1/sqrt(d)"},
                   {"lightning_use_rope", true},
                   {"attn_use_rope", options.attn_use_rope},
                   {"attn_use_output_gate", true},
                   {"use_output_gate", true},
                   {"use_output_norm", true},
                   {"qk_norm", true}});
  }
  config.update(options.changes);
  return config;
}

/// Names and (rows, cols) of every weight; vectors have rows = 1.
inline std::map<std::string, std::pair<std::int64_t, std::int64_t>> tiny_shapes(
    const TinyOptions& options) {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> shapes;
  const std::int64_t q = options.n_heads * options.head_dim;
  shapes["model.embed_tokens.weight"] = {options.vocab, options.hidden};
  shapes["model.norm.weight"] = {1, options.hidden};
  if (!options.tied) shapes["lm_head.weight"] = {options.vocab, options.hidden};
  for (std::size_t i = 0; i < options.mixers.size(); ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    const bool linear = options.family == "minicpm_sala" && options.mixers[i] != "minicpm4";
    const std::int64_t kv =
        (linear ? options.lightning_nkv : options.n_kv_heads) * options.head_dim;
    shapes[layer + "input_layernorm.weight"] = {1, options.hidden};
    shapes[layer + "post_attention_layernorm.weight"] = {1, options.hidden};
    shapes[layer + "mlp.gate_proj.weight"] = {options.intermediate, options.hidden};
    shapes[layer + "mlp.up_proj.weight"] = {options.intermediate, options.hidden};
    shapes[layer + "mlp.down_proj.weight"] = {options.hidden, options.intermediate};
    shapes[layer + "self_attn.q_proj.weight"] = {q, options.hidden};
    shapes[layer + "self_attn.k_proj.weight"] = {kv, options.hidden};
    shapes[layer + "self_attn.v_proj.weight"] = {kv, options.hidden};
    shapes[layer + "self_attn.o_proj.weight"] = {options.hidden, q};
    if (linear) {
      shapes[layer + "self_attn.z_proj.weight"] = {q, options.hidden};
      shapes[layer + "self_attn.q_norm.weight"] = {1, options.head_dim};
      shapes[layer + "self_attn.k_norm.weight"] = {1, options.head_dim};
      shapes[layer + "self_attn.o_norm.weight"] = {1, q};
    } else if (options.family == "minicpm_sala") {
      shapes[layer + "self_attn.o_gate.weight"] = {q, options.hidden};
    } else if (options.family == "qwen3") {
      shapes[layer + "self_attn.q_norm.weight"] = {1, options.head_dim};
      shapes[layer + "self_attn.k_norm.weight"] = {1, options.head_dim};
    }
  }
  return shapes;
}

/// The value as stored in `dtype`; appends its bytes.
inline double store_value(float value, DType dtype, std::vector<std::byte>& out) {
  const auto append = [&](const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    out.insert(out.end(), bytes, bytes + size);
  };
  if (dtype == DType::f32) {
    append(&value, 4);
    return value;
  }
  if (dtype == DType::bf16) {
    const std::uint16_t bits = f32_to_bf16(value);
    append(&bits, 2);
    return bf16_to_f32(bits);
  }
  // fp16 by cutting the fraction off; values below its normal range become 0.
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const int exponent = static_cast<int>(bits >> 23 & 0xffU) - 127 + 15;
  const std::uint32_t fraction = bits >> 13 & 0x3ffU;
  const std::uint32_t sign = bits >> 31;
  const auto half = static_cast<std::uint16_t>(
      exponent < 1 ? 0U : sign << 15 | static_cast<std::uint32_t>(exponent) << 10 | fraction);
  append(&half, 2);
  if (half == 0) return 0;
  return (sign != 0 ? -1.0 : 1.0) * std::ldexp(1.0 + fraction / 1024.0, exponent - 15);
}

inline std::vector<TensorToWrite> tiny_tensors(const TinyOptions& options, TinyModel& model) {
  std::vector<TensorToWrite> tensors;
  std::mt19937_64 random(options.seed);
  std::normal_distribution<float> normal;
  for (const auto& [name, shape] : tiny_shapes(options)) {
    const auto [rows, cols] = shape;
    TensorToWrite tensor;
    tensor.name = name;
    tensor.dtype = options.dtype;
    tensor.shape = rows == 1 ? std::vector{cols} : std::vector{rows, cols};
    const bool norm = rows == 1;
    const float deviation = norm ? 0.2F : 1.0F / std::sqrt(static_cast<float>(cols));
    std::vector<double>& values = model.weights[name];
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      const float value = (norm ? 1.0F : 0.0F) + deviation * normal(random);
      values.push_back(store_value(value, options.dtype, tensor.bytes));
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

/// <s>, </s> and the 256 bytes in GPT-2's order of characters, without merges.
inline void write_tiny_tokenizer(const std::filesystem::path& folder) {
  nlohmann::json vocab = {{"<s>", 0}, {"</s>", 1}};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    const char32_t code = printable ? byte : next++;
    std::string character;
    if (code >= 0x80) character.push_back(static_cast<char>(0xc0 | code >> 6));
    character.push_back(static_cast<char>(code >= 0x80 ? 0x80 | (code & 0x3f) : code));
    vocab[character] = byte + 2;
  }
  nlohmann::json added = nlohmann::json::array();
  for (const auto& [name, id] : {std::pair("<s>", 0), std::pair("</s>", 1)}) {
    added.push_back({{"id", id}, {"content", name}, {"special", true}});
  }
  const nlohmann::json tokenizer = {
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  write_file(folder / "tokenizer.json", tokenizer.dump());
  write_file(folder / "tokenizer_config.json",
             R"({"add_bos_token": true, "bos_token": "<s>", "eos_token": "</s>"})");
}

/// Writes config.json, model.safetensors and the tokenizer's files.
inline TinyModel write_tiny_model(const std::filesystem::path& folder,
                                  const TinyOptions& options = {}) {
  TinyModel model;
  model.config = tiny_config(options);
  std::filesystem::create_directories(folder);
  write_file(folder / "config.json", model.config.dump(1));
  write_safetensors(folder / "model.safetensors", tiny_tensors(options, model));
  write_tiny_tokenizer(folder);
  return model;
}

/// n ids from 2 on, so that none of them is special.
inline std::vector<TokenId> random_ids(std::int64_t n, std::int64_t vocab, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<TokenId> ids(static_cast<std::size_t>(n));
  for (TokenId& id : ids) {
    id = static_cast<TokenId>(2 + random() % static_cast<std::uint64_t>(vocab - 2));
  }
  return ids;
}

}  // namespace sala::testing
