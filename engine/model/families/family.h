// Model families: how each one's config.json becomes a ModelConfig.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/model/config.h"

namespace sala {

/// Whether a number is positive and such that ratios of two of them are finite in fp32.
bool is_plausible(double number);

/// A JSON object of a config whose fields must all be accounted for. Errors name file and field.
class ConfigReader {
 public:
  /// prefix: of field names in messages, e.g. "sparse_config.".
  ConfigReader(const nlohmann::json& object, std::string file, std::string prefix = "");

  bool has(const std::string& field) const;  // present and not null
  const nlohmann::json& required(const std::string& field);
  std::int64_t integer(const std::string& field);
  /// most: what keeps products of sizes, such as the bytes of a whole model, far from overflow.
  std::int64_t positive(const std::string& field, std::int64_t most = INT32_MAX);
  double number(const std::string& field);  // one that is_plausible()
  bool boolean(const std::string& field);
  const std::string& text(const std::string& field);
  /// A field that may be absent, but must have this value when it is there.
  void only(const std::string& field, const nlohmann::json& value, const std::string& why);
  /// Fields that do not change the forward pass.
  void ignore(std::initializer_list<const char*> fields);
  /// Throws Error listing the fields that nobody asked for.
  void finish() const;
  [[noreturn]] void fail(const std::string& field, const std::string& problem) const;

  const std::string& file() const { return file_; }

 private:
  const nlohmann::json& object_;
  std::string file_;
  std::string prefix_;
  std::set<std::string> known_;
};

/// Token ids of a field that holds one id, a list of ids or null.
std::vector<TokenId> read_token_ids(ConfigReader& reader, const std::string& field);

/// Sizes, norms and token ids that every family has under the same names; reads no layers. Names
/// the fields that carry no meaning for inference.
void read_shell(ConfigReader& reader, ModelConfig& config);

/// read_shell() with the muP factors of the MiniCPM families.
void read_minicpm_shell(ConfigReader& reader, ModelConfig& config);

/// The part of a softmax or linear layer's options that says how heads are laid out.
nlohmann::json head_options(ConfigReader& reader, const char* n_heads, const char* n_kv_heads,
                            std::int64_t head_dim);

/// num_hidden_layers, of a plausible number.
std::int64_t read_n_layers(ConfigReader& reader);

/// A field of a head's size.
std::int64_t read_head_dim(ConfigReader& reader, const std::string& field = "head_dim");

/// head_dim, or the hidden size a head where the config leaves it out.
std::int64_t read_head_dim_or_share(ConfigReader& reader, const ModelConfig& config);

/// What the rotary embedding of a family may be.
struct RopeRules {
  std::vector<std::string> scalings = {};  // values of rope_type besides "default"
  std::optional<double> theta = {};        // that configs without a rope_theta mean
};

/// {"theta", "exact_angle"}, and {"slowdown", "magnitude"} when scaled, from rope_theta and
/// rope_scaling or, as transformers 5 writes them, rope_parameters. Source: model reference §6.
nlohmann::json read_rope(ConfigReader& reader, const Settings& settings, std::int64_t head_dim,
                         const RopeRules& rules = {});

/// num_hidden_layers softmax layers of one kind and with the same options.
void add_softmax_layers(ConfigReader& reader, const std::string& kind,
                        const nlohmann::json& options, ModelConfig& config);

/// Turns softmax options into those of "infllm_v2" when the config has a sparse_config, and says
/// the effective dense_len in `config`. Returns the kind. Checks the constraints of §3.1.
std::string add_sparse_options(ConfigReader& reader, const Settings& settings,
                               nlohmann::json& options, ModelConfig& config);

/// A row of the table in registry.cpp.
struct Family {
  const char* model_type;
  const char* architecture;
  void (*read)(ConfigReader& reader, const Settings& settings, ModelConfig& config);
};

/// By model_type, with which architectures[0] must agree, or by that alone when it is absent.
const Family& find_family(ConfigReader& reader);

}  // namespace sala
