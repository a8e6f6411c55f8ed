// Runs the tests of a GPU program; tells CTest when there was no GPU to run them on.
// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  constexpr int kSkipped = 77;  // SKIP_RETURN_CODE of these tests
  int n_devices = 0;
  const bool has_device = cudaGetDeviceCount(&n_devices) == cudaSuccess && n_devices > 0;
  return result == 0 && !has_device ? kSkipped : result;
}
