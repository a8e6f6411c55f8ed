// Launcher of the second half of launch_attend(): rows that share no list with their neighbours.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/attention/infllm_v2/cuda/attend.h"

namespace sala::cuda::infllm_v2 {

/// A CTA for every row, which leaves at once unless its tile is marked in params.alone.
cudaError_t launch_attend_alone(const AttendParams& params, cudaStream_t stream);

}  // namespace sala::cuda::infllm_v2
