// Memory of a recurrent state.
// SPDX-License-Identifier: Apache-2.0
#include "engine/attention/lightning/lightning_state.h"

namespace sala {

LightningState::LightningState(Backend& backend, const HeadOptions& heads)
    : backend_(&backend),
      heads_(heads),
      state_(make_tensor(backend, heads.q_dim(), heads.head_dim, "linear_state")) {
  clear();
}

void LightningState::clear() {
  length_ = 0;
  backend_->fill_zero(state_.view);
}

std::unique_ptr<LayerState> LightningState::clone() const {
  auto copy = std::make_unique<LightningState>(*backend_, heads_);
  copy->length_ = length_;
  backend_->copy(state_.view, copy->state_.view);
  return copy;
}

}  // namespace sala
