// Linear attention token by token, and the norm and gate behind it, on the GPU.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/cuda/step.h"

#include "engine/attention/lightning/cuda/output_gate.h"
#include "tests/kernel/cuda/lightning_fixture.h"

namespace sala::testing {
namespace {

class LightningStep : public DeviceTest {
 protected:
  /// The tokens of `in` one by one, without norms and rotation.
  LinearResult run_steps(const LinearInput& in) {
    const LinearShape& shape = in.shape;
    const DeviceBuffer<Bf16Bits> q(to_bf16(in.q));
    const DeviceBuffer<Bf16Bits> k(to_bf16(in.k));
    const DeviceBuffer<Bf16Bits> v(to_bf16(in.v));
    DeviceBuffer<Bf16Bits> out(in.n_tokens * shape.q_dim());
    const DeviceBuffer<float> state(in.state);
    const DeviceBuffer<float> slopes(slopes_log2(shape.n_heads));
    for (std::int64_t t = 0; t < in.n_tokens; ++t) {
      SALA_CUDA(kernels::launch_step({.q = bf16(q) + t * shape.q_dim(),
                                      .k = bf16(k) + t * shape.kv_dim(),
                                      .v = bf16(v) + t * shape.kv_dim(),
                                      .position = backend_->position(),
                                      .out = bf16(out) + t * shape.q_dim(),
                                      .state = state.data(),
                                      .slope_log2 = slopes.data(),
                                      .n_heads = static_cast<int>(shape.n_heads),
                                      .n_kv_heads = static_cast<int>(shape.n_kv_heads),
                                      .head_dim = static_cast<int>(shape.head_dim),
                                      .scale = shape.scale()},
                                     stream()));
    }
    out.expect_guards_intact();
    state.expect_guards_intact();
    return {from_bf16(out.download()), state.download()};
  }
};

TEST_F(LightningStep, a_thousand_steps_do_not_drift_from_the_recurrence) {
  const LinearInput in({2, 2, 64}, 3, 1000);
  const LinearExpected expected = linear_recurrence(in);
  const LinearResult result = run_steps(in);
  expect_within(result.out, expected.out, tolerance::kOneRounding);
  expect_within(result.state, expected.state, tolerance::kFloatOutput);
}

TEST_F(LightningStep, equals_the_recurrence_for_every_head_layout) {
  for (const LinearShape shape : {LinearShape{1, 1, 128}, {8, 2, 64}, {32, 32, 128}}) {
    const LinearInput in(shape, 9, 5);
    const LinearExpected expected = linear_recurrence(in);
    const LinearResult result = run_steps(in);
    expect_within(result.out, expected.out, tolerance::kOneRounding);
    expect_within(result.state, expected.state, tolerance::kFloatOutput);
  }
}

TEST_F(LightningStep, state_after_prefill_equals_state_after_steps) {
  const LinearInput in({4, 4, 128}, 0, 200);
  const LinearResult prefill = run_linear(in, stream());
  const LinearResult steps = run_steps(in);
  expect_within(prefill.state, steps.state, kStateBounds);
  expect_within(prefill.out, steps.out, tolerance::kAttentionOutput);
}

TEST_F(LightningStep, norms_and_rotates_as_the_backend_does) {
  const LinearShape shape{4, 2, 128};
  const LinearInput in(shape, 1, 1);
  const std::vector<float> q_norm = rounded_to_bf16(random_floats(128, 21, 0.2F, 1.0F));
  const std::vector<float> k_norm = rounded_to_bf16(random_floats(128, 22, 0.2F, 1.0F));
  const Rotary rotary{128, 10000.0, false};
  const DeviceMatrix q(1, shape.q_dim(), in.q);
  const DeviceMatrix k(1, shape.kv_dim(), in.k);
  const DeviceMatrix q_weight(1, 128, q_norm);
  const DeviceMatrix k_weight(1, 128, k_norm);
  const DeviceBuffer<Bf16Bits> v(to_bf16(in.v));
  const DeviceBuffer<float> slopes(slopes_log2(shape.n_heads));
  const auto pointer = [](const DeviceMatrix& x) {
    return static_cast<const __nv_bfloat16*>(x.view().data);
  };
  for (const std::int64_t position : {0, 1, 4095, 1048575}) {
    backend_->set_position(position);
    const auto run = [&](bool fused) {
      const DeviceBuffer<float> state(in.state);
      DeviceBuffer<Bf16Bits> out(shape.q_dim());
      kernels::StepParams params{.q = pointer(q),
                                 .k = pointer(k),
                                 .v = bf16(v),
                                 .rms_norm_eps = 1e-6F,
                                 .position = backend_->position(),
                                 .out = bf16(out),
                                 .state = state.data(),
                                 .slope_log2 = slopes.data(),
                                 .n_heads = 4,
                                 .n_kv_heads = 2,
                                 .head_dim = 128,
                                 .scale = shape.scale()};
      const DeviceMatrix turned_q(1, shape.q_dim(), in.q);
      const DeviceMatrix turned_k(1, shape.kv_dim(), in.k);
      if (fused) {
        params.q_norm = pointer(q_weight);
        params.k_norm = pointer(k_weight);
        params.rotates = true;
        for (int i = 0; i < 64; ++i) params.inv_freq[i] = rotary.frequency(i);
      } else {
        backend_->norm_rotary(turned_q.view(), q_weight.view(), 1e-6F, rotary, position);
        backend_->norm_rotary(turned_k.view(), k_weight.view(), 1e-6F, rotary, position);
        params.q = pointer(turned_q);
        params.k = pointer(turned_k);
      }
      SALA_CUDA(kernels::launch_step(params, stream()));
      std::vector<float> result = from_bf16(out.download());
      const std::vector<float> after = state.download();
      result.insert(result.end(), after.begin(), after.end());
      return result;
    };
    EXPECT_EQ(run(true), run(false)) << "at position " << position;
  }
}

class OutputGate : public DeviceTest {
 protected:
  /// Rows of `width` values; an empty norm or gate is none.
  struct Case {
    std::int64_t width;
    std::vector<float> x;
    std::vector<float> norm;
    std::vector<float> gate;
  };
  static Case random_case(std::int64_t n, std::int64_t width, bool norm, bool gate) {
    return {width, rounded_to_bf16(random_floats(n * width, 1, 3.0F)),
            norm ? rounded_to_bf16(random_floats(width, 2, 0.2F, 1.0F)) : std::vector<float>{},
            gate ? rounded_to_bf16(random_floats(n * width, 3, 2.0F)) : std::vector<float>{}};
  }

  std::vector<float> run(const Case& c) {
    DeviceBuffer<Bf16Bits> x(to_bf16(c.x));
    const DeviceBuffer<Bf16Bits> norm(to_bf16(c.norm));
    const DeviceBuffer<Bf16Bits> gate(to_bf16(c.gate));
    SALA_CUDA(
        kernels::launch_output_gate({.x = bf16(x),
                                     .gate = c.gate.empty() ? nullptr : bf16(gate),
                                     .norm = c.norm.empty() ? nullptr : bf16(norm),
                                     .rms_norm_eps = 1e-6F,
                                     .out = bf16(x),
                                     .n_tokens = static_cast<std::int64_t>(c.x.size()) / c.width,
                                     .width = c.width},
                                    stream()));
    x.expect_guards_intact();
    return from_bf16(x.download());
  }

  static std::vector<double> expected(const Case& c) {
    std::vector<double> x = widened(c.x);
    if (!c.norm.empty()) reference_rms_norm(x, widened(c.norm), 1e-6);
    if (!c.gate.empty()) reference_gate(x, widened(c.gate));
    return x;
  }
};

TEST_F(OutputGate, equals_the_reference_at_every_width) {
  for (const std::int64_t width : {64, 128, 1024, 2048, 2056, 4096, 4104, 8192, 16384}) {
    for (const bool norm : {false, true}) {
      for (const bool gate : {false, true}) {
        SCOPED_TRACE(width * 10 + norm * 2 + gate);
        const Case c = random_case(3, width, norm, gate);
        expect_within(run(c), expected(c), tolerance::kOneRounding);
      }
    }
  }
}

TEST_F(OutputGate, extreme_gates_and_rows_of_zeros_stay_finite) {
  Case c = random_case(2, 256, true, true);
  std::fill_n(c.x.begin(), 256, 0.0F);
  for (std::size_t i = 0; i < c.gate.size(); ++i) c.gate[i] = i % 2 == 0 ? 300.0F : -300.0F;
  expect_within(run(c), expected(c), tolerance::kOneRounding);
}

TEST_F(OutputGate, two_runs_give_the_same_bits) {
  const Case c = random_case(5, 4096, true, true);
  run_twice([&] { return run(c); });
}

}  // namespace
}  // namespace sala::testing
