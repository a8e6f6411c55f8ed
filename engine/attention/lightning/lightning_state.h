// The recurrent state of one sequence in one linear-attention layer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/attention/lightning/lightning_config.h"

namespace sala {

/// fp32 state (n_heads, head_dim of k, head_dim of v); its size does not depend on the length.
class LightningState final : public LayerState {
 public:
  LightningState(Backend& backend, const HeadOptions& heads);
  static std::int64_t bytes(const HeadOptions& heads) {
    constexpr std::int64_t kFloat = 4;
    return heads.q_dim() * heads.head_dim * kFloat;
  }

  std::int64_t length() const override { return length_; }
  void clear() override;
  std::unique_ptr<LayerState> clone() const override;
  void extend(std::int64_t n) { length_ += n; }
  float* head(std::int64_t h) const {
    return state_.view.f32() + h * heads_.head_dim * heads_.head_dim;
  }

 private:
  Backend* backend_;
  HeadOptions heads_;
  std::int64_t length_ = 0;
  Tensor state_;
};

}  // namespace sala
