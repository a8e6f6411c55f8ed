// Reading helpers that the families share.
// SPDX-License-Identifier: Apache-2.0
#include "engine/model/families/family.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"

namespace sala {

using nlohmann::json;

namespace {

// Several times what any published model has.
constexpr std::int64_t kMostLayers = 1000;
constexpr std::int64_t kMostFeatures = 1 << 20;
constexpr std::int64_t kMostTokens = 1 << 24;
constexpr std::int64_t kMostHeadDim = 1024;
constexpr std::int64_t kMostHeadFeatures = 1 << 17;  // of all heads of a layer

}  // namespace

bool is_plausible(double number) {
  return number >= 1e-18 && number <= 1e18;
}

ConfigReader::ConfigReader(const json& object, std::string file, std::string prefix)
    : object_(object), file_(std::move(file)), prefix_(std::move(prefix)) {
  if (object.is_object()) return;
  throw Error(file_, "{} is not a JSON object", prefix_.empty() ? "the content" : prefix_);
}

void ConfigReader::fail(const std::string& field, const std::string& problem) const {
  throw Error(file_, "field '{}{}' {}", prefix_, field, problem);
}

bool ConfigReader::has(const std::string& field) const {
  const auto found = object_.find(field);
  return found != object_.end() && !found->is_null();
}

const json& ConfigReader::required(const std::string& field) {
  known_.insert(field);
  if (!has(field)) fail(field, "is missing; it shapes the model, so no default stands in for it");
  return object_.at(field);
}

std::int64_t ConfigReader::integer(const std::string& field) {
  const json& value = required(field);
  if (!value.is_number_integer()) {
    fail(field, fmt::format("must be an integer, got {}", value.dump()));
  }
  return value.get<std::int64_t>();
}

std::int64_t ConfigReader::positive(const std::string& field, std::int64_t most) {
  const std::int64_t value = integer(field);
  if (value < 1 || value > most) {
    fail(field, fmt::format("must be a positive integer of at most {}, got {}", most, value));
  }
  return value;
}

double ConfigReader::number(const std::string& field) {
  const json& value = required(field);
  const double number = value.is_number() ? value.get<double>() : 0;
  if (!is_plausible(number)) {
    fail(field, fmt::format("must be a positive number from 1e-18 to 1e18, got {}", value.dump()));
  }
  return number;
}

bool ConfigReader::boolean(const std::string& field) {
  const json& value = required(field);
  if (!value.is_boolean()) fail(field, fmt::format("must be true or false, got {}", value.dump()));
  return value.get<bool>();
}

const std::string& ConfigReader::text(const std::string& field) {
  const json& value = required(field);
  if (!value.is_string()) fail(field, fmt::format("must be a string, got {}", value.dump()));
  return value.get_ref<const std::string&>();
}

void ConfigReader::only(const std::string& field, const json& value, const std::string& why) {
  known_.insert(field);
  const auto found = object_.find(field);
  if (found != object_.end() && *found != value) {
    fail(field, fmt::format("is {}; only {} is supported ({})", found->dump(), value.dump(), why));
  }
}

void ConfigReader::ignore(std::initializer_list<const char*> fields) {
  known_.insert(fields.begin(), fields.end());
}

void ConfigReader::finish() const {
  std::vector<std::string> unknown;
  for (const auto& [field, value] : object_.items()) {
    if (!known_.contains(field)) unknown.push_back(prefix_ + field);
  }
  if (!unknown.empty()) {
    throw Error(file_,
                "unknown fields: {}; what they do is not implemented, remove those that do "
                "not change the model",
                fmt::join(unknown, ", "));
  }
}

std::vector<TokenId> read_token_ids(ConfigReader& reader, const std::string& field) {
  reader.ignore({field.c_str()});
  if (!reader.has(field)) return {};
  const json& value = reader.required(field);
  std::vector<TokenId> ids;
  for (const json& id : value.is_array() ? value : json::array({value})) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<TokenId>::max()) {
      reader.fail(field, fmt::format("must be a token id or a list of them, got {}", value.dump()));
    }
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

void read_shell(ConfigReader& reader, ModelConfig& config) {
  config.hidden = reader.positive("hidden_size", kMostFeatures);
  config.intermediate = reader.positive("intermediate_size", kMostFeatures);
  config.vocab = reader.positive("vocab_size", kMostTokens);
  config.rms_norm_eps = static_cast<float>(reader.number("rms_norm_eps"));
  config.tied_stated = reader.has("tie_word_embeddings");
  if (config.tied_stated) config.tied = reader.boolean("tie_word_embeddings");
  reader.ignore({"tie_word_embeddings"});

  const std::vector<TokenId> bos = read_token_ids(reader, "bos_token_id");
  if (bos.size() > 1) reader.fail("bos_token_id", "must be one token id");
  if (!bos.empty()) config.bos = bos.front();
  config.eos = read_token_ids(reader, "eos_token_id");

  reader.only("hidden_act", "silu", "the MLP is gated by silu");
  reader.only("attention_bias", false, "projections have no bias");
  reader.only("mlp_bias", false, "projections have no bias");
  reader.only("partial_rotary_factor", 1.0, "all of a head is rotated");
  // Training and bookkeeping, or how the reference splits its work.
  reader.ignore({"_attn_implementation",
                 "_attn_implementation_autoset",
                 "_name_or_path",
                 "attention_dropout",
                 "auto_map",
                 "dtype",
                 "initializer_range",
                 "max_position_embeddings",
                 "model_type",
                 "output_attentions",
                 "output_hidden_states",
                 "pad_token_id",
                 "pretraining_tp",
                 "return_dict",
                 "tokenizer_class",
                 "torch_dtype",
                 "transformers_version",
                 "unk_token_id",
                 "unsloth_fixed",
                 "unsloth_version",
                 "use_cache"});
}

void read_minicpm_shell(ConfigReader& reader, ModelConfig& config) {
  read_shell(reader, config);
  const auto n_layers = static_cast<double>(read_n_layers(reader));
  config.scale_emb = static_cast<float>(reader.number("scale_emb"));
  config.residual_scale = static_cast<float>(reader.number("scale_depth") / std::sqrt(n_layers));
  config.logit_divisor =
      static_cast<float>(static_cast<double>(config.hidden) / reader.number("dim_model_base"));
  reader.ignore({"mup_denominator", "shift_labels"});
}

json head_options(ConfigReader& reader, const char* n_heads, const char* n_kv_heads,
                  std::int64_t head_dim) {
  const std::int64_t heads = reader.positive(n_heads, kMostHeadFeatures / head_dim);
  const std::int64_t kv_heads = reader.positive(n_kv_heads);
  if (heads % kv_heads != 0) {
    reader.fail(n_kv_heads, fmt::format("{} does not divide {} {}", kv_heads, n_heads, heads));
  }
  return {{"n_heads", heads},
          {"n_kv_heads", kv_heads},
          {"head_dim", head_dim},
          {"scale", 1 / std::sqrt(static_cast<double>(head_dim))}};
}

std::int64_t read_n_layers(ConfigReader& reader) {
  return reader.positive("num_hidden_layers", kMostLayers);
}

std::int64_t read_head_dim(ConfigReader& reader, const std::string& field) {
  const std::int64_t head_dim = reader.positive(field, kMostHeadDim);
  if (head_dim % 2 != 0) reader.fail(field, fmt::format("must be even, got {}", head_dim));
  return head_dim;
}

std::int64_t read_head_dim_or_share(ConfigReader& reader, const ModelConfig& config) {
  if (reader.has("head_dim")) return read_head_dim(reader);
  reader.ignore({"head_dim"});
  const std::int64_t n_heads = reader.positive("num_attention_heads");
  if (config.hidden % n_heads != 0) {
    reader.fail("num_attention_heads", fmt::format("{} does not divide hidden_size {}; give "
                                                   "head_dim",
                                                   n_heads, config.hidden));
  }
  const std::int64_t head_dim = config.hidden / n_heads;
  if (head_dim > kMostHeadDim || head_dim % 2 != 0) {
    reader.fail(
        "num_attention_heads",
        fmt::format("makes heads of {}; they must be even and at most {}", head_dim, kMostHeadDim));
  }
  return head_dim;
}

void add_softmax_layers(ConfigReader& reader, const std::string& kind, const json& options,
                        ModelConfig& config) {
  const std::int64_t n_layers = read_n_layers(reader);
  for (std::int64_t i = 0; i < n_layers; ++i) {
    config.layers.push_back(
        {kind, options, fmt::format("model.layers.{}.self_attn.", i), config.hidden});
  }
}

std::string add_sparse_options(ConfigReader& reader, const Settings& settings, json& options,
                               ModelConfig& config) {
  reader.ignore({"sparse_config"});
  if (!reader.has("sparse_config")) return "dense";

  ConfigReader sparse(reader.required("sparse_config"), reader.file(), "sparse_config.");
  const std::int64_t kernel_size = sparse.positive("kernel_size");
  const std::int64_t kernel_stride = sparse.positive("kernel_stride");
  const std::int64_t block_size = sparse.positive("block_size");
  const std::int64_t window_size = sparse.positive("window_size");
  const std::int64_t init_blocks = sparse.integer("init_blocks");
  const std::int64_t topk = sparse.positive("topk");
  const std::int64_t dense_len = settings.dense_len.value_or(sparse.integer("dense_len"));
  sparse.only("use_nope", false, "blocks are scored by the keys that attention uses");
  sparse.finish();

  if (kernel_size != 2 * kernel_stride) sparse.fail("kernel_size", "must be 2 * kernel_stride");
  if (block_size != 4 * kernel_stride) sparse.fail("block_size", "must be 4 * kernel_stride");
  if (window_size % block_size != 0) sparse.fail("window_size", "must be a multiple of block_size");
  if (init_blocks < 0) sparse.fail("init_blocks", "must not be negative");
  if (topk < init_blocks + 1) sparse.fail("topk", "must be at least init_blocks + 1");

  options["sparse"] = {{"kernel_size", kernel_size}, {"kernel_stride", kernel_stride},
                       {"init_blocks", init_blocks}, {"block_size", block_size},
                       {"window_size", window_size}, {"topk", topk},
                       {"dense_len", dense_len}};
  options["dense_rule"] = settings.dense_rule;
  options["sparse_on"] = settings.sparse;
  options["lse"] = settings.lse;
  options["select_score"] = settings.select_score;
  config.settings["dense_len"] = fmt::format("{}", dense_len);
  return "infllm_v2";
}

}  // namespace sala
