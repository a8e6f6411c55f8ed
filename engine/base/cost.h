// What a piece of work must do at least: the yardstick of its time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sala {

struct Cost {
  double flops = 0;  // of matrix products
  double bytes = 0;  // read and written in the device's memory, each byte once
};

}  // namespace sala
