// What a kernel must do at least: the yardstick of its benchmark.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sala {

struct Cost {
  double flops = 0;  // of matrix products
  double bytes = 0;  // read and written in device memory, each byte once
};

}  // namespace sala
