// Stages and parities of the places in rings.
// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device/ring_place.h"

#include <gtest/gtest.h>

namespace sala::cuda {
namespace {

TEST(RingPlace, takes_stages_in_turn_with_another_parity_every_round) {
  for (const int n_stages : {1, 2, 3, 4, 5, 8}) {
    RingPlace place;
    for (int use = 0; use < 6 * n_stages; ++use, place.advance(n_stages)) {
      ASSERT_EQ(place.stage, use % n_stages) << n_stages << " " << use;
      ASSERT_EQ(place.parity, use / n_stages % 2 == 0 ? 0U : 1U) << n_stages << " " << use;
    }
  }
}

}  // namespace
}  // namespace sala::cuda
