// Calls of attention over chosen blocks on the GPU, choices to call it with, and its reference.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <random>

#include "engine/backend/cuda/hopper.h"
#include "tests/kernel/cuda/infllm_v2_fixture.h"

namespace sala::testing {

using Blocks = std::vector<std::int32_t>;
/// Blocks that the row at t reads for one KV head; only asked for ranked rows.
using Choice = std::function<Blocks(std::int64_t t, std::int64_t head)>;

/// One call over rows [start, start + n) and what it gave.
struct Call {
  std::vector<float> q;    // (n, q_dim)
  std::vector<float> out;  // the same
};

class InfllmV2Attend : public DeviceTest {
 protected:
  /// Masks (n, n_kv_heads, words) of the rows at `start` on; those of rows that are not ranked stay
  /// poisoned.
  static std::vector<std::uint32_t> masks(const kernels::Shape& shape, std::int64_t start,
                                          std::int64_t n, std::int64_t words,
                                          std::int64_t ranked_begin, const Choice& choice) {
    std::vector<std::uint32_t> all(static_cast<std::size_t>(n * shape.n_kv_heads * words),
                                   0xffffffffU);
    for (std::int64_t list = 0; list < n * shape.n_kv_heads; ++list) {
      const std::int64_t t = start + list / shape.n_kv_heads;
      if (t < ranked_begin) continue;
      const auto mask = mask_of(choice(t, list % shape.n_kv_heads), kernels::mask_words(t / 64));
      std::copy(mask.begin(), mask.end(), all.begin() + list * words);
    }
    return all;
  }

  /// By every body that this GPU has. q: (n, q_dim), of the rows at `start` on; gives the same.
  std::vector<float> attend(const kernels::Cache& cache, const kernels::Shape& shape,
                            const std::vector<float>& q, std::int64_t start,
                            std::int64_t ranked_begin, const Choice& choice) {
    const std::int64_t n = static_cast<std::int64_t>(q.size()) / shape.q_dim();
    const std::int64_t words = kernels::mask_words((start + n - 1) / kernels::kBlock);
    const bool ranked = start + n > ranked_begin;
    DeviceBuffer<std::uint32_t> mask(ranked ? masks(shape, start, n, words, ranked_begin, choice)
                                            : std::vector<std::uint32_t>(1));
    const auto run = [&](bool hopper) {
      return run_twice([&] {
        DeviceBuffer<Bf16Bits> rows(to_bf16(q));
        SALA_CUDA(kernels::launch_attend({.q = bf16(rows),
                                          .out = bf16(rows),
                                          .cache = cache,
                                          .shape = shape,
                                          .masks = ranked ? mask.data() : nullptr,
                                          .mask_stride = words,
                                          .start = start,
                                          .n_tokens = n,
                                          .ranked_begin = ranked_begin,
                                          .hopper = hopper},
                                         stream()));
        sync();
        rows.expect_guards_intact();
        return from_bf16(rows.download());
      });
    };
    const std::vector<float> out = run(false);
    if (cuda::is_hopper(backend_->properties())) {
      EXPECT_EQ(run(true), out);
    }
    return out;
  }

  /// The same of random queries, which depend on `start` alone.
  Call attend(DeviceSequence& sequence, std::int64_t start, std::int64_t n,
              std::int64_t ranked_begin = kernels::kNever, const Choice& choice = {}) {
    Call call;
    call.q = random_rows(n, sequence.shape.q_dim(), static_cast<std::uint64_t>(1000 + start), 2.0F);
    call.out = attend(sequence.cache(), sequence.shape, call.q, start, ranked_begin, choice);
    return call;
  }

  /// The row at t through the kernels of a step.
  std::vector<float> step(DeviceSequence& sequence, const std::vector<float>& q, std::int64_t t,
                          std::int64_t ranked_begin = kernels::kNever, const Choice& choice = {}) {
    const kernels::Shape& shape = sequence.shape;
    const std::int64_t words = kernels::mask_words(t / kernels::kBlock);
    DeviceBuffer<std::uint32_t> mask(t < ranked_begin
                                         ? std::vector<std::uint32_t>(4)
                                         : masks(shape, t, 1, words, ranked_begin, choice));
    const DeviceBuffer<std::int32_t> position(std::vector{static_cast<std::int32_t>(t)});
    return run_twice([&] {
      DeviceBuffer<Bf16Bits> row(to_bf16(q));
      DeviceBuffer<unsigned char> partials(kernels::attend_step_workspace_bytes(shape));
      SALA_CUDA(kernels::launch_attend_step({.row = {.q = bf16(row),
                                                     .out = bf16(row),
                                                     .cache = sequence.cache(),
                                                     .shape = shape,
                                                     .masks = mask.data(),
                                                     .mask_stride = words,
                                                     .n_tokens = 1,
                                                     .ranked_begin = ranked_begin},
                                             .position = position.data(),
                                             .partials = reinterpret_cast<float*>(partials.data())},
                                            stream()));
      sync();
      row.expect_guards_intact();
      partials.expect_guards_intact();
      return from_bf16(row.download());
    });
  }

  /// Rows that are `every` apart.
  static void expect_reference(const DeviceSequence& sequence, const Call& call, std::int64_t start,
                               std::int64_t ranked_begin, const Choice& choice,
                               std::int64_t every = 1) {
    const kernels::Shape& shape = sequence.shape;
    const std::int64_t group = shape.group * shape.head_dim;
    std::vector<float> actual;
    std::vector<double> expected;
    for (std::int64_t r = 0; r * shape.q_dim() < static_cast<std::int64_t>(call.q.size());
         r += every) {
      for (std::int64_t head = 0; head < shape.n_kv_heads; ++head) {
        const std::int64_t first = r * shape.q_dim() + head * group;
        const std::int64_t t = start + r;
        const auto row = reference_attention(sequence, call.q.data() + first, t, head,
                                             t < ranked_begin ? all_blocks(t) : choice(t, head));
        expected.insert(expected.end(), row.begin(), row.end());
        actual.insert(actual.end(), call.out.begin() + first, call.out.begin() + first + group);
      }
    }
    expect_within(actual, expected, tolerance::kAttentionOutput);
  }
};

/// The forced blocks of a row and `ranked` besides.
inline Blocks with_forced(const kernels::Shape& shape, std::int64_t t, Blocks ranked) {
  const auto off = static_cast<std::int32_t>(t / kernels::kBlock);
  for (std::int32_t b = 0; b < shape.init_blocks; ++b) ranked.push_back(b);
  for (auto b = static_cast<std::int32_t>(off - shape.local_blocks); b <= off; ++b) {
    ranked.push_back(b);
  }
  std::sort(ranked.begin(), ranked.end());
  return ranked;
}

/// slots() blocks drawn from the candidates with the seed.
inline Blocks random_choice(const kernels::Shape& shape, std::int64_t t, std::uint64_t seed) {
  Blocks candidates;
  for (auto b = static_cast<std::int32_t>(shape.init_blocks);
       b < shape.candidates_end(t / kernels::kBlock); ++b) {
    candidates.push_back(b);
  }
  std::mt19937_64 random(seed);
  std::shuffle(candidates.begin(), candidates.end(), random);
  candidates.resize(static_cast<std::size_t>(shape.slots()));
  return with_forced(shape, t, candidates);
}

}  // namespace sala::testing
