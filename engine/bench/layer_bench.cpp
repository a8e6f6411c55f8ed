// The layers of the needle models as benchmarks.
// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/layer_bench.h"

#include <algorithm>
#include <cmath>

#include "engine/attention/dense/dense.h"
#include "engine/attention/infllm_v2/infllm_v2.h"
#include "engine/attention/lightning/lightning.h"
#include "engine/base/error.h"
#include "engine/model/weights.h"

namespace sala {

namespace {

constexpr std::int64_t kHidden = 192;
constexpr std::int64_t kBlock = 64;
constexpr std::int64_t kHeadDim = 64;

LayerSpec layer_spec(const std::string& kind, std::int64_t topk) {
  const bool linear = kind == "lightning";
  nlohmann::json options = {{"n_heads", 16},
                            {"n_kv_heads", linear ? 16 : 1},
                            {"head_dim", kHeadDim},
                            {"scale", 0.125},
                            {"rope", nullptr},
                            {"qk_norm", linear},
                            {"output_norm", linear},
                            {"output_gate", true},
                            {"rms_norm_eps", 1e-6},
                            {"sparse",
                             {{"kernel_size", 32},
                              {"kernel_stride", 16},
                              {"init_blocks", 1},
                              {"block_size", kBlock},
                              {"window_size", 512},
                              {"topk", topk},
                              {"dense_len", 0}}}};
  if (linear) options["rope"] = {{"theta", 10000.0}};
  return {kind, std::move(options), "layer.", kHidden};
}

Tensor random_input(Backend& backend, std::int64_t n_tokens) {
  return RandomWeights(1, backend).load("input", n_tokens, kHidden);
}

void expect_close(const char* what, std::span<const float> actual,
                  const std::vector<double>& expected) {
  constexpr double kAllowed = 1e-3;  // a wrong kernel is off by far more
  double squares = 0;
  for (const double e : expected) squares += e * e;
  const double typical = std::sqrt(squares / static_cast<double>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - expected[i]) / typical;
    if (!(error <= kAllowed)) {
      throw Error("bench", "{} is wrong: {} where the reference has {}; no speed is reported", what,
                  actual[i], expected[i]);
    }
  }
}

}  // namespace

BenchLayer::BenchLayer(const std::string& kind, std::int64_t max_chunk, std::int64_t max_tokens,
                       Backend& backend)
    : backend_(backend),
      weight_bytes_(-backend.ledger().live_bytes()),
      layer_([&] {
        RandomWeights weights(1, backend);
        return make_attention(layer_spec(kind, 32), weights, backend);
      }()),
      state_((weight_bytes_ += backend.ledger().live_bytes(), layer_->new_state(max_tokens))),
      scratch_(backend, layer_->scratch_bytes(max_chunk, max_tokens)),
      x_(random_input(backend, max_chunk)),
      out_(make_tensor(backend, max_chunk, kHidden, "activations")) {
  backend.fill_zero(out_.view);
}

Work BenchLayer::forward(std::int64_t n_tokens) {
  trace_.clear();
  route_.clear();
  ExecutionContext context{backend_, scratch_, trace_, route_, 0, 0};
  layer_->forward(x_.view.row_range(0, n_tokens), *state_, 1.0F, out_.view.row_range(0, n_tokens),
                  context);
  Work work;
  for (const StageTime& stage : trace_.stages()) work.flops += stage.flops;
  work.bytes = static_cast<double>(weight_bytes_ + 2 * n_tokens * kHidden * 4) + state_bytes_read();
  return work;
}

/// Keys are counted once, however many rows read them; a linear state is read and written.
double BenchLayer::state_bytes_read() const {
  const RouteEntry& entry = route_.entries().front();
  if (entry.path == "linear") {
    return 2.0 * static_cast<double>(layer_->state_bytes(1).front().bytes);
  }
  const std::int64_t length = state_->length();
  const bool reads_all = entry.blocks_read == entry.blocks_visible;
  const std::int64_t keys = reads_all ? length : std::min(entry.blocks_read * kBlock, length);
  const std::int64_t windows = reads_all ? 0 : length / 16 + length / 64;
  return static_cast<double>((2 * keys + windows) * kHeadDim * 4);
}

void check_kernels(Backend& backend) {
  constexpr std::int64_t kTokens = 400;
  RandomWeights weights(1, backend);
  const ReferenceWeights reference = [&](const std::string& name, std::int64_t rows,
                                         std::int64_t cols) {
    const Tensor tensor = weights.load(name, rows, cols);
    const float* values = tensor.view.f32();
    return std::vector<double>(values, values + tensor.view.size());
  };
  const Tensor x = random_input(backend, kTokens);
  const std::vector<double> input(x.view.f32(), x.view.f32() + x.view.size());
  for (const char* kind : {"dense", "infllm_v2", "lightning"}) {
    // So many blocks that all are chosen: no near tie between scores can tell the two apart.
    const LayerSpec spec = layer_spec(kind, 64);
    const auto layer = make_attention(spec, weights, backend);
    const auto state = layer->new_state(kTokens);
    Workspace scratch(backend, layer->scratch_bytes(kTokens, kTokens));
    Trace trace;
    RouteLog route;
    ExecutionContext context{backend, scratch, trace, route, 0, 0};
    std::vector<float> out(static_cast<std::size_t>(kTokens * kHidden));
    layer->forward(x.view, *state, 1.0F, {out.data(), DType::f32, kTokens, kHidden}, context);
    expect_close(kind, out,
                 spec.kind == "dense" ? dense_reference(spec, reference, input)
                 : spec.kind == "lightning"
                     ? lightning_reference(spec, reference, input)
                     : infllm_v2_reference(spec, reference, input, kTokens).out);
  }
  const std::vector<double> w = reference("w", 100, kHidden);
  const Tensor weight = weights.load("w", 100, kHidden);
  const Tensor product = make_tensor(backend, kTokens, 100, "workspace");
  backend.matmul(x.view, weight.view, product.view);
  expect_close("matmul", {product.view.f32(), static_cast<std::size_t>(product.view.size())},
               reference_product(input, w, kHidden));
}

}  // namespace sala
