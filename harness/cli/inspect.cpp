// sala inspect: what a model is made of and what it will need, from its config alone.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/loaded_model.h"
#include "harness/cli/command.h"
#include "harness/cli/options.h"
#include "harness/plan/sizes.h"

namespace sala {
namespace {

using Json = nlohmann::ordered_json;

struct InspectFlags {
  std::string model;
  std::string lengths = "4k-1M*4";
  std::string attention = "model";
  bool json = false;
};

std::int64_t bytes_of(const std::vector<CategoryBytes>& plan,
                      std::initializer_list<std::string_view> categories) {
  std::int64_t bytes = 0;
  for (const CategoryBytes& row : plan) {
    if (std::find(categories.begin(), categories.end(), row.category) != categories.end()) {
      bytes += row.bytes;
    }
  }
  return bytes;
}

/// A plan for n_tokens in the dtype that a device computes in.
std::vector<CategoryBytes> plan_in(DType dtype, const Blueprint& blueprint, std::int64_t n_tokens) {
  const auto plan = blueprint.plan(n_tokens, default_chunk(Device::cpu), 1);
  return dtype == DType::bf16 ? in_bf16(plan) : plan;
}

/// Bytes that one more token of context takes.
std::int64_t cache_bytes_per_token(DType dtype, const Blueprint& blueprint) {
  constexpr std::int64_t kTokens = std::int64_t{1} << 20;
  const auto cache = [&](std::int64_t n_tokens) {
    return bytes_of(plan_in(dtype, blueprint, n_tokens), {"kv_full", "kv_sparse", "sparse_index"});
  };
  return (cache(2 * kTokens) - cache(kTokens)) / kTokens;
}

Json describe_layers(const ModelConfig& config) {
  Json kinds = Json::array();
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerSpec& layer = config.layers[i];
    const auto known = std::find_if(kinds.begin(), kinds.end(), [&](const Json& kind) {
      return kind["kind"] == layer.kind && kind["options"] == Json(layer.options);
    });
    if (known == kinds.end()) {
      kinds.push_back({{"kind", layer.kind}, {"layers", {i}}, {"options", Json(layer.options)}});
    } else {
      (*known)["layers"].push_back(i);
    }
  }
  return kinds;
}

/// The longest sequence that the memory of each device of this machine takes now.
Json longest_contexts(const ModelConfig& config) {
  Json devices = Json::array();
  for (const char* name : {"cpu", "cuda"}) {
    try {
      const auto backend = make_backend(name, 0);
      const std::int64_t budget = backend->ledger().live_bytes() + backend->available_bytes();
      const Blueprint blueprint(config, *backend);
      devices.push_back(
          {{"device", backend->info().id},
           {"name", backend->info().name},
           {"available_bytes", budget},
           {"tokens", longest_context(blueprint, default_chunk(backend->device()), budget)}});
    } catch (const Error&) {
      continue;  // no such device here, or none that takes this model
    }
  }
  return devices;
}

Json describe(const InspectFlags& flags) {
  const std::filesystem::path folder = resolve_model(flags.model);
  const ModelConfig config = read_model_config(folder, Settings{}, flags.attention);
  const auto cpu = make_backend("cpu", 0);
  const Blueprint blueprint(config, *cpu);

  Json result;
  result["name"] = std::filesystem::canonical(folder).filename().string();
  result["family"] = config.family;
  result["mode"] = config.is_hybrid() ? "hybrid" : "full";
  result["hidden_size"] = config.hidden;
  result["intermediate_size"] = config.intermediate;
  result["vocab_size"] = config.vocab;
  result["tied"] = config.tied;
  result["scale_emb"] = config.scale_emb;
  result["residual_scale"] = config.residual_scale;
  result["logit_divisor"] = config.logit_divisor;
  result["rms_norm_eps"] = config.rms_norm_eps;
  result["eos_token_ids"] = config.eos;
  result["n_layers"] = config.layers.size();
  for (const LayerSpec& layer : config.layers) result["layer_pattern"].push_back(layer.kind);
  result["layer_kinds"] = describe_layers(config);
  result["n_parameters"] = blueprint.n_parameters();
  result["n_tensors"] = blueprint.tensors().size();
  result["bf16_bytes"] = blueprint.n_parameters() * dtype_bytes(DType::bf16);
  for (const DType dtype : {DType::bf16, DType::f32}) {
    const char* name = dtype_name(dtype);
    result["cache_bytes_per_token"][name] = cache_bytes_per_token(dtype, blueprint);
    result["linear_state_bytes"][name] = bytes_of(plan_in(dtype, blueprint, 1), {"linear_state"});
    for (const std::int64_t length : parse_sizes(flags.lengths)) {
      const auto plan = plan_in(dtype, blueprint, length);
      Json row{{"compute_dtype", name}, {"length", length}, {"total_bytes", total_bytes(plan)}};
      for (const CategoryBytes& part : plan) row["bytes"][part.category] = part.bytes;
      result["memory"].push_back(std::move(row));
    }
  }
  result["longest_context"] = longest_contexts(config);
  return result;
}

void print_memory(const Json& model, const char* dtype, const char* where) {
  fmt::print("\nPredicted memory, weights and caches in {} ({}), chunk {}\n{:>8} {:>12}", dtype,
             where, default_chunk(Device::cpu), "tokens", "total");
  bool has_header = false;
  for (const Json& row : model["memory"]) {
    if (row["compute_dtype"] != dtype) continue;
    if (!has_header) {
      for (const auto& [category, bytes] : row["bytes"].items()) fmt::print(" {:>12}", category);
      has_header = true;
    }
    fmt::print("\n{:>8} {:>12}", format_size(row["length"]), format_bytes(row["total_bytes"]));
    for (const auto& [category, bytes] : row["bytes"].items()) {
      fmt::print(" {:>12}", format_bytes(bytes));
    }
  }
  fmt::print("\n");
}

void print_text(const Json& model) {
  fmt::print("{} ({}, {})\n\n", model["name"].get<std::string>(),
             model["family"].get<std::string>(), model["mode"].get<std::string>());
  const auto line = [](const char* name, const std::string& value) {
    fmt::print("{:<22}{}\n", name, value);
  };
  for (const char* field :
       {"n_layers", "hidden_size", "intermediate_size", "vocab_size", "tied", "scale_emb",
        "residual_scale", "logit_divisor", "rms_norm_eps", "eos_token_ids"}) {
    line(field, model[field].dump());
  }
  for (const Json& kind : model["layer_kinds"]) {
    line(kind["kind"].get_ref<const std::string&>().c_str(),
         fmt::format("{} layers: {}", kind["layers"].size(), kind["layers"].dump()));
    for (const auto& [option, value] : kind["options"].items()) {
      line(("  " + option).c_str(), value.dump());
    }
  }
  const auto grouped = [](const Json& number) {
    std::string digits = number.dump();
    for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
    return digits;
  };
  line("parameters",
       fmt::format("{} in {} tensors", grouped(model["n_parameters"]), model["n_tensors"].dump()));
  line("weights as bf16", grouped(model["bf16_bytes"]) + " bytes");
  for (const char* dtype : {"bf16", "f32"}) {
    line(fmt::format("cache in {}", dtype).c_str(),
         fmt::format("{} B/token + {} B of linear state",
                     grouped(model["cache_bytes_per_token"][dtype]),
                     grouped(model["linear_state_bytes"][dtype])));
  }
  print_memory(model, "bf16", "a device that computes in bf16");
  print_memory(model, "f32", "the CPU, which computes in fp32");
  fmt::print("\nLongest context that fits now\n");
  for (const Json& device : model["longest_context"]) {
    const auto tokens = device["tokens"].get<std::int64_t>();
    line(device["device"].get_ref<const std::string&>().c_str(),
         fmt::format("{} in {} of {}",
                     tokens == kEndlessContext ? "any" : grouped(device["tokens"]) + " tokens",
                     format_bytes(device["available_bytes"]), device["name"].get<std::string>()));
  }
}

int inspect(const InspectFlags& flags) {
  const Json model = describe(flags);
  if (flags.json) {
    fmt::print("{}\n", model.dump(2));
  } else {
    print_text(model);
  }
  return 0;
}

}  // namespace

Action setup_inspect(CLI::App& app) {
  const auto flags = std::make_shared<InspectFlags>();
  app.add_option("model", flags->model, "Model folder, or a name under data/models or data/configs")
      ->required();
  app.add_option("--lengths", flags->lengths, "Context lengths to predict memory for")
      ->capture_default_str();
  app.add_option("--attention", flags->attention,
                 "model, or dense: every sparse layer as full softmax attention")
      ->capture_default_str();
  app.add_flag("--json", flags->json, "Print one JSON object");
  return [flags] { return inspect(*flags); };
}

}  // namespace sala
