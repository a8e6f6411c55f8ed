// What the launchers of block-sparse attention refuse, with every body and before anything runs.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/hopper.h"
#include "tests/kernel/cuda/infllm_v2_fixture.h"

namespace sala::testing {
namespace {

/// What is wrong about a call that is right otherwise.
template <typename Params>
struct Mistake {
  const char* name;
  void (*make)(Params&);
};

/// Buffers fit every call, so that nothing but its mistake can be what is refused.
class InfllmV2Refusals : public DeviceTest {
 protected:
  static constexpr std::int64_t kStart = 1024;    // ranked, with 14 candidates
  static constexpr std::int64_t kRoom = 1 << 14;  // elements: more than any call reads or writes

  /// The call with each mistake is refused, starts nothing and writes nothing to `out`. Without one
  /// it writes there, where the GPU has the body.
  template <typename Params, typename Launch, std::size_t kCount>
  void expect_refusals(Params right, const DeviceBuffer<Bf16Bits>& out, const Launch& launch,
                       const Mistake<Params> (&mistakes)[kCount]) {
    const auto is_untouched = [&] {
      sync();
      out.expect_guards_intact();
      const std::vector<Bf16Bits> host = out.download();
      return std::all_of(host.begin(), host.end(), [](Bf16Bits x) { return x == 0xffff; });
    };
    for (const bool hopper : {true, false}) {
      SCOPED_TRACE(hopper ? "Hopper" : "any GPU");
      right.hopper = hopper;
      for (const auto& [name, make] : mistakes) {
        SCOPED_TRACE(name);
        Params wrong = right;
        make(wrong);
        cudaGetLastError();
        EXPECT_EQ(launch(wrong, stream()), cudaErrorInvalidValue);
        EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "the device was asked";
        ASSERT_TRUE(is_untouched());
      }
    }
    right.hopper = cuda::is_hopper(backend_->properties());
    SALA_CUDA(launch(right, stream()));
    EXPECT_FALSE(is_untouched());
  }
};

TEST_F(InfllmV2Refusals, scores_that_no_body_can_give) {
  DeviceSequence sequence(small_shape(128), kStart + 1, stream());
  sequence.append(0, kStart + 1);
  const DeviceBuffer<Bf16Bits> q(to_bf16(random_rows(1, kRoom, 3)));
  DeviceBuffer<Bf16Bits> out(kRoom);
  using Params = kernels::ScoreParams;
  const Mistake<Params> mistakes[] = {
      {"17 heads a KV head", [](Params& p) { p.shape.group = 17; }},
      {"head_dim 96", [](Params& p) { p.shape.head_dim = 96; }},
      {"head_dim 256", [](Params& p) { p.shape.head_dim = 256; }},
      {"no places", [](Params& p) { p.shape.topk = 0; }},
      {"a row that is not ranked", [](Params& p) { p.start = first_ranked(p.shape) - 1; }},
      {"less room than candidates", [](Params& p) { p.score_stride = 8; }},
      {"room that is not whole pieces", [](Params& p) { p.score_stride = 20; }},
  };
  expect_refusals(Params{.q = bf16(q),
                         .cache = sequence.cache(),
                         .shape = sequence.shape,
                         .scores = bf16(out),
                         .score_stride = 16,
                         .start = kStart,
                         .n_tokens = 1},
                  out, kernels::launch_score, mistakes);
}

TEST_F(InfllmV2Refusals, attention_that_no_body_can_give) {
  DeviceSequence sequence(small_shape(128), kStart + 1, stream());
  sequence.append(0, kStart + 1);
  const DeviceBuffer<Bf16Bits> q(to_bf16(random_rows(1, kRoom, 4)));
  const DeviceBuffer<std::uint32_t> masks(std::vector<std::uint32_t>{0x1c003U, 0x1c005U});
  DeviceBuffer<Bf16Bits> out(kRoom);
  using Params = kernels::AttendParams;
  const Mistake<Params> mistakes[] = {
      {"17 heads a KV head", [](Params& p) { p.shape.group = 17; }},
      {"head_dim 96", [](Params& p) { p.shape.head_dim = 96; }},
      {"head_dim 256", [](Params& p) { p.shape.head_dim = 256; }},
      {"ranked rows without masks", [](Params& p) { p.masks = nullptr; }},
      {"masks without the last words", [](Params& p) { p.mask_stride = 0; }},
  };
  expect_refusals(Params{.q = bf16(q),
                         .out = bf16(out),
                         .cache = sequence.cache(),
                         .shape = sequence.shape,
                         .masks = masks.data(),
                         .mask_stride = 1,
                         .start = kStart,
                         .n_tokens = 1,
                         .ranked_begin = first_ranked(sequence.shape)},
                  out, kernels::launch_attend, mistakes);
}

TEST_F(InfllmV2Refusals, choices_that_no_kernel_can_make) {
  const DeviceBuffer<Bf16Bits> scores(to_bf16(random_rows(1, kRoom, 5)));
  DeviceBuffer<std::uint32_t> masks(kRoom);
  using Params = kernels::SelectParams;
  const Params right{.scores = bf16(scores),
                     .score_stride = 16,
                     .shape = small_shape(128),
                     .masks = masks.data(),
                     .mask_stride = 1,
                     .start = kStart,
                     .n_tokens = 1};
  const Mistake<Params> mistakes[] = {
      {"a row that is not ranked", [](Params& p) { p.start = first_ranked(p.shape) - 1; }},
      {"fewer scores than candidates", [](Params& p) { p.score_stride = 8; }},
      {"scores that are not whole pieces", [](Params& p) { p.score_stride = 20; }},
      {"masks without the last words", [](Params& p) { p.mask_stride = 0; }},
  };
  for (const auto& [name, make] : mistakes) {
    SCOPED_TRACE(name);
    Params wrong = right;
    make(wrong);
    EXPECT_EQ(kernels::launch_select(wrong, stream()), cudaErrorInvalidValue);
  }
  SALA_CUDA(kernels::launch_select(right, stream()));
  sync();
  masks.expect_guards_intact();
}

}  // namespace
}  // namespace sala::testing
