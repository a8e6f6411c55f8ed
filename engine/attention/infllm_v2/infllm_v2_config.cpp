// Checks the options of block-sparse attention.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/infllm_v2/infllm_v2_config.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"

namespace sala {

InfllmV2Config InfllmV2Config::read(const LayerSpec& spec) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  const Options options = layer_options(spec);
  InfllmV2Config config;
  config.heads = read_heads(options);
  if (!options.has("sparse")) throw Error(spec.prefix, "option 'sparse' is missing");

  const Options sparse(options.object("sparse"), spec.prefix + "sparse",
                       {"kernel_size", "kernel_stride", "init_blocks", "block_size", "window_size",
                        "topk", "dense_len"});
  config.stride = sparse.integer("kernel_stride", 1, 1 << 12);
  const std::int64_t kernel_size = sparse.integer("kernel_size", 1, kMost);
  const std::int64_t block_size = sparse.integer("block_size", 1, kMost);
  const std::int64_t window_size = sparse.integer("window_size", 1, kMost);
  if (kernel_size != 2 * config.stride) {
    throw Error(sparse.where(), "kernel_size: expected 2 * kernel_stride = {}, got {}",
                2 * config.stride, kernel_size);
  }
  if (block_size != config.block()) {
    throw Error(sparse.where(), "block_size: expected 4 * kernel_stride = {}, got {}",
                config.block(), block_size);
  }
  if (window_size % block_size != 0) {
    throw Error(sparse.where(), "window_size: expected a multiple of block_size {}, got {}",
                block_size, window_size);
  }
  config.local_blocks = window_size / block_size;
  config.init_blocks = sparse.integer("init_blocks", 0, kMost);
  config.topk = sparse.integer("topk", 1, kMost);
  if (config.topk < config.init_blocks + 1) {
    throw Error(sparse.where(), "topk: expected init_blocks + 1 = {} or more, got {}",
                config.init_blocks + 1, config.topk);
  }
  config.dense_len = sparse.integer("dense_len", std::numeric_limits<std::int64_t>::min(),
                                    std::numeric_limits<std::int64_t>::max());
  config.dense_rule_row = options.choice("dense_rule", {"request", "row"}) == 1;
  config.sparse_on = options.flag("sparse_on", true);
  config.exact_lse = options.choice("lse", {"approx", "exact"}) == 1;
  config.fp32_scores = options.choice("select_score", {"bf16", "fp32"}) == 1;
  return config;
}

}  // namespace sala
