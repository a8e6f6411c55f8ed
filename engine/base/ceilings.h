// What a machine can do at best, measured: the yardstick of every stage and benchmark.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sala {

struct Ceilings {
  double gemm_flops_per_s = 0;         // the matrix library's large square product
  double narrow_gemm_flops_per_s = 0;  // many rows, an eighth of the columns: keys and values
  double row_gemm_flops_per_s = 0;     // one row, as in decoding
  double copy_bytes_per_s = 0;  // bytes read plus bytes written by a copy larger than the caches
  double exp_per_s = 0;         // exponentials in registers or the first cache
  double launch_s = 0;          // one small kernel after another; 0 on a CPU
};

}  // namespace sala
