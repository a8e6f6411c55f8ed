// Index of attention kinds. To add one: write its folder, include its header, add a row.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <array>

#include "engine/attention/attention.h"
#include "engine/attention/dense/dense.h"
#include "engine/attention/infllm_v2/infllm_v2.h"
#include "engine/attention/lightning/lightning.h"
#include "engine/base/error.h"
#ifdef SALA_WITH_CUDA
#include "engine/attention/dense/cuda/dense_cuda.h"
#include "engine/attention/infllm_v2/cuda/infllm_v2_cuda.h"
#include "engine/attention/lightning/cuda/lightning_cuda.h"
#define SALA_CUDA_ONLY(make) make
#else
#define SALA_CUDA_ONLY(make) nullptr
#endif

namespace sala {

namespace {

using Make = std::unique_ptr<AttentionLayer> (*)(const LayerSpec&, WeightSource&, Backend&);

struct Kind {
  std::string_view name;
  std::array<Make, 2> make;  // by Device: cpu, cuda
};

constexpr Kind kKinds[] = {
    {"dense", {make_dense_cpu, SALA_CUDA_ONLY(make_dense_cuda)}},
    {"infllm_v2", {make_infllm_v2_cpu, SALA_CUDA_ONLY(make_infllm_v2_cuda)}},
    {"lightning", {make_lightning_cpu, SALA_CUDA_ONLY(make_lightning_cuda)}},
};

}  // namespace

std::vector<std::string_view> attention_kinds() {
  std::vector<std::string_view> names;
  for (const Kind& kind : kKinds) names.push_back(kind.name);
  return names;
}

std::unique_ptr<AttentionLayer> make_attention(const LayerSpec& spec, WeightSource& weights,
                                               Backend& backend) {
  for (const Kind& kind : kKinds) {
    if (kind.name != spec.kind) continue;
    const Make make = kind.make.at(static_cast<std::size_t>(backend.device()));
    if (make == nullptr) {
      throw Error(spec.prefix, "attention '{}' is not implemented for device {}", spec.kind,
                  device_name(backend.device()));
    }
    return make(spec, weights, backend);
  }
  throw Error(spec.prefix, "unknown attention kind '{}'; expected one of {}", spec.kind,
              fmt::join(attention_kinds(), ", "));
}

}  // namespace sala
