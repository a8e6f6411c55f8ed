// oneDNN's matmul primitive for full slices, sgemm for the rest.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/weight_product.h"

#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>
#include <utility>

#include "engine/backend/cpu/gemm.h"

namespace sala {

struct WeightProduct::Routines {
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, float, float>;
  struct Routine {
    dnnl::memory::desc x, weight, y;
    dnnl::matmul matmul;
  };

  /// y = alpha * x · weightᵀ + beta * y, beta 0 or 1.
  const Routine& find(std::int64_t rows, std::int64_t in, std::int64_t out, float alpha,
                      float beta) {
    const Key key{rows, in, out, alpha, beta};
    const auto found = by_shape.find(key);
    if (found != by_shape.end()) return found->second;
    using dnnl::memory;
    constexpr auto kF32 = memory::data_type::f32;
    const memory::desc x({rows, in}, kF32, memory::format_tag::ab);
    const memory::desc weight({in, out}, kF32, memory::format_tag::ba);
    const memory::desc y({rows, out}, kF32, memory::format_tag::ab);
    dnnl::primitive_attr attributes;
    attributes.set_output_scales(0, {alpha});
    if (beta != 0) {
      dnnl::post_ops sum;
      sum.append_sum(beta);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(x, weight, y), attributes,
                                                   engine);
    Routine routine{x, weight, y, dnnl::matmul(description)};
    return by_shape.emplace(key, std::move(routine)).first->second;
  }

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<Key, Routine> by_shape;
};

WeightProduct::WeightProduct() : routines_(std::make_unique<Routines>()) {}
WeightProduct::~WeightProduct() = default;

void WeightProduct::run(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x,
                        const float* weight, float* y) {
  run_slices(rows, in, out, x, weight, 1.0F, 0.0F, y);
}

void WeightProduct::run_add(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x,
                            const float* weight, float scale, float* y) {
  run_slices(rows, in, out, x, weight, scale, 1.0F, y);
}

void WeightProduct::run_slices(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x,
                               const float* weight, float alpha, float beta, float* y) {
  constexpr std::int64_t kLarge = 1024;
  constexpr std::int64_t kSmall = 512;
  while (rows >= kSmall) {
    const std::int64_t n = rows >= kLarge ? kLarge : kSmall;
    const Routines::Routine& routine = routines_->find(n, in, out, alpha, beta);
    // The library has no form for constant data.
    const auto memory = [&](const dnnl::memory::desc& shape, const float* data) {
      return dnnl::memory(shape, routines_->engine, const_cast<float*>(data));
    };
    routine.matmul.execute(routines_->stream, {{DNNL_ARG_SRC, memory(routine.x, x)},
                                               {DNNL_ARG_WEIGHTS, memory(routine.weight, weight)},
                                               {DNNL_ARG_DST, memory(routine.y, y)}});
    routines_->stream.wait();
    rows -= n;
    x += n * in;
    y += n * out;
  }
  if (rows > 0) gemm_transposed(rows, out, in, alpha, x, weight, beta, y);
}

}  // namespace sala
