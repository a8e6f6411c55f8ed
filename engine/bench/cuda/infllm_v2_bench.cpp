// Block-sparse attention in the shape of the 9B hybrid, kernel by kernel.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/attention/infllm_v2/cuda/append.h"
#include "engine/attention/infllm_v2/cuda/attend.h"
#include "engine/attention/infllm_v2/cuda/score.h"
#include "engine/attention/infllm_v2/cuda/select.h"
#include "engine/backend/cuda/cuda_error.h"
#include "engine/backend/cuda/hopper.h"
#include "engine/bench/cuda/device_bench.h"
#include "engine/bench/cuda/selection.h"

namespace sala {

namespace {

namespace kernels = cuda::infllm_v2;

const kernels::Shape kShape{.n_kv_heads = 2,
                            .group = 16,
                            .head_dim = 128,
                            .scale = 1.0F / std::sqrt(128.0F),
                            .init_blocks = 1,
                            .local_blocks = 32,
                            .topk = 64};
constexpr std::int64_t kRows = 8192;

using Memory = std::shared_ptr<const std::vector<Buffer>>;

template <typename T>
T* piece(const Memory& memory, std::size_t i = 0) {
  return static_cast<T*>((*memory)[i].data());
}

/// Random keys and values of `length` tokens, and means of them that vary as much as real ones.
struct Sequence {
  Sequence(const DeviceBench& bench, std::int64_t length)
      : kv(bench.random(2, kShape.kv_dim() / 128 * length, 128)),
        k1(bench.random(1, kShape.kv_dim() / 128 * length / kernels::kStride, 128,
                        std::sqrt(2.0F * kernels::kStride))),
        k2(bench.random(1, kShape.kv_dim() / 128 * length / kernels::kBlock, 128,
                        std::sqrt(2.0F * kernels::kBlock))),
        cache{bf16((*kv)[0]), bf16((*kv)[1]), bf16((*k1)[0]), bf16((*k2)[0]), length} {}

  Operands kv, k1, k2;
  kernels::Cache cache;
};

std::int64_t score_stride(std::int64_t length) {
  return kernels::padded_scores(kShape.candidates_end((length - 1) / kernels::kBlock));
}
std::int64_t mask_stride(std::int64_t length) {
  return kernels::mask_words((length - 1) / kernels::kBlock);
}

void add_append(const DeviceBench& bench) {
  bench.add(fmt::format("infllm_v2/append/{}", kRows), [=] {
    const Sequence sequence(bench, kRows);
    const Operands kv = bench.random(2, kRows, kShape.kv_dim());
    const kernels::AppendParams params{.k = bf16((*kv)[0]),
                                       .v = bf16((*kv)[1]),
                                       .cache = sequence.cache,
                                       .shape = kShape,
                                       .n_tokens = kRows};
    return DeviceCase{.cost = kernels::append_cost(params),
                      .launch = [=, keep = std::pair(sequence, kv)](std::int64_t) {
                        SALA_CUDA(kernels::launch_append(params, bench.stream()));
                      }};
  });
}

/// Scores of the last kRows rows before `length`.
struct Scored {
  Scored(const DeviceBench& bench, std::int64_t length)
      : sequence(bench, length),
        q(bench.random(1, kRows, kShape.q_dim())),
        scores(bench.memory(1, kRows * kShape.n_kv_heads * score_stride(length) * 2)),
        params{.q = bf16((*q)[0]),
               .cache = sequence.cache,
               .shape = kShape,
               .scores = piece<__nv_bfloat16>(scores),
               .score_stride = score_stride(length),
               .start = length - kRows,
               .n_tokens = kRows,
               .hopper = cuda::is_hopper(bench.backend().properties())} {}

  Sequence sequence;
  Operands q;
  Memory scores;
  kernels::ScoreParams params;
};

void add_score(const DeviceBench& bench, std::int64_t length) {
  bench.add(fmt::format("infllm_v2/score/{}", length), [=] {
    const Scored scored(bench, length);
    return DeviceCase{.cost = kernels::score_cost(scored.params), .launch = [=](std::int64_t) {
                        SALA_CUDA(kernels::launch_score(scored.params, bench.stream()));
                      }};
  });
}

void add_select(const DeviceBench& bench, std::int64_t length) {
  bench.add(fmt::format("infllm_v2/select/{}", length), [=] {
    const Scored scored(bench, length);
    SALA_CUDA(kernels::launch_score(scored.params, bench.stream()));
    bench.backend().wait();
    const Memory masks = bench.memory(1, kRows * kShape.n_kv_heads * mask_stride(length) * 4);
    const kernels::SelectParams params{.scores = scored.params.scores,
                                       .score_stride = scored.params.score_stride,
                                       .shape = kShape,
                                       .masks = piece<std::uint32_t>(masks),
                                       .mask_stride = mask_stride(length),
                                       .start = length - kRows,
                                       .n_tokens = kRows};
    return DeviceCase{.cost = kernels::select_cost(params),
                      .launch = [=, keep = std::pair(scored.scores, masks)](std::int64_t) {
                        SALA_CUDA(kernels::launch_select(params, bench.stream()));
                      }};
  });
}

void add_attend(const DeviceBench& bench, std::int64_t length, double overlap, const char* name) {
  bench.add(fmt::format("infllm_v2/attend/{}/{}", name, length), [=] {
    const Sequence sequence(bench, length);
    const Operands q = bench.random(2, kRows, kShape.q_dim());
    const std::int64_t start = length - kRows;
    const auto host = kernels::made_up_masks(kShape, start, kRows, mask_stride(length), overlap);
    const std::size_t bytes = host.size() * sizeof(host[0]);
    const Memory masks = bench.memory(1, static_cast<std::int64_t>(bytes));
    SALA_CUDA(cudaMemcpyAsync(piece<std::uint32_t>(masks), host.data(), bytes,
                              cudaMemcpyHostToDevice, bench.stream()));
    bench.backend().wait();
    const kernels::AttendParams params{.q = bf16((*q)[0]),
                                       .out = bf16((*q)[1]),
                                       .cache = sequence.cache,
                                       .shape = kShape,
                                       .masks = piece<std::uint32_t>(masks),
                                       .mask_stride = mask_stride(length),
                                       .start = start,
                                       .n_tokens = kRows,
                                       .ranked_begin = 0,
                                       .hopper = cuda::is_hopper(bench.backend().properties())};
    return DeviceCase{.cost = kernels::attend_cost(params),
                      .launch = [=, keep = std::tuple(sequence, q, masks)](std::int64_t) {
                        SALA_CUDA(kernels::launch_attend(params, bench.stream()));
                      }};
  });
}

/// What one token needs besides its sequence.
struct StepScratch {
  StepScratch(const DeviceBench& bench, std::int64_t length)
      : q(bench.random(2, 1, kShape.q_dim())),
        pieces{bench.memory(1, kShape.n_kv_heads * score_stride(length) * 2),
               bench.memory(1, kernels::score_step_workspace_bytes(kShape, length, false)),
               bench.memory(1, kShape.n_kv_heads * mask_stride(length) * 4),
               bench.memory(1, kernels::attend_step_workspace_bytes(kShape))} {}

  Operands q;
  std::vector<Memory> pieces;  // scores, their partial sums, masks, partial outputs
};

struct StepParams {
  kernels::ScoreStepParams score;
  kernels::SelectParams select;
  kernels::AttendStepParams attend;

  StepParams(const DeviceBench& bench, std::int64_t length, const kernels::Cache& cache,
             const StepScratch& scratch)
      : score{.row = {.q = bf16((*scratch.q)[0]),
                      .cache = cache,
                      .shape = kShape,
                      .scores = piece<__nv_bfloat16>(scratch.pieces[0]),
                      .score_stride = score_stride(length),
                      .n_tokens = 1},
              .position = bench.backend().position(),
              .ranked_begin = 0,
              .partials = piece<float2>(scratch.pieces[1])},
        select{.scores = score.row.scores,
               .score_stride = score.row.score_stride,
               .shape = kShape,
               .masks = piece<std::uint32_t>(scratch.pieces[2]),
               .mask_stride = mask_stride(length),
               .n_tokens = 1,
               .position = bench.backend().position(),
               .ranked_begin = 0},
        attend{.row = {.q = bf16((*scratch.q)[0]),
                       .out = bf16((*scratch.q)[1]),
                       .cache = cache,
                       .shape = kShape,
                       .masks = select.masks,
                       .mask_stride = select.mask_stride,
                       .n_tokens = 1,
                       .ranked_begin = 0},
               .position = bench.backend().position(),
               .partials = piece<float>(scratch.pieces[3])} {}

  Cost cost(std::int64_t t) const {
    kernels::SelectParams row = select;
    row.start = t;
    const Cost parts[] = {kernels::score_step_cost(score, t), kernels::select_cost(row),
                          kernels::attend_step_cost(attend, t)};
    Cost sum;
    for (const Cost& part : parts) {
      sum.flops += part.flops;
      sum.bytes += part.bytes;
    }
    return sum;
  }
};

/// Scoring, selection and attention of the token that ends a sequence of `length`.
void add_step(const DeviceBench& bench, std::int64_t length) {
  bench.add(fmt::format("infllm_v2/step/{}", length), [=] {
    const StepScratch scratch(bench, length);
    const Cost cost = StepParams(bench, length, {}, scratch).cost(length - 1);
    const std::int64_t copies = bench.copies_of(cost.bytes);
    std::vector<Sequence> sequences;
    std::vector<StepParams> params;
    for (std::int64_t copy = 0; copy < copies; ++copy) {
      sequences.emplace_back(bench, length);
      params.emplace_back(bench, length, sequences.back().cache, scratch);
    }
    bench.backend().set_position(length - 1);
    return DeviceCase{.cost = cost,
                      .copies = copies,
                      .launch =
                          [=, keep = std::pair(scratch, sequences)](std::int64_t copy) {
                            const StepParams& step = params[static_cast<std::size_t>(copy)];
                            SALA_CUDA(kernels::launch_score_step(step.score, bench.stream()));
                            SALA_CUDA(kernels::launch_select(step.select, bench.stream()));
                            SALA_CUDA(kernels::launch_attend_step(step.attend, bench.stream()));
                          },
                      .is_recorded = true};
  });
}

}  // namespace

void add_infllm_v2(const DeviceBench& bench) {
  add_append(bench);
  for (const std::int64_t length : {32 << 10, 128 << 10, 1 << 20}) {
    add_score(bench, length);
    add_select(bench, length);
  }
  for (const std::int64_t length : {128 << 10, 1 << 20}) {
    add_attend(bench, length, 1, "identical");
    add_attend(bench, length, 0.87, "drifting");
    add_attend(bench, length, 0, "random");
  }
  for (const std::int64_t length : {8 << 10, 128 << 10, 1 << 20}) add_step(bench, length);
}

}  // namespace sala
