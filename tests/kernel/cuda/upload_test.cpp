// Uploads by several threads: every value arrives, whatever its dtype and however it is cut.
// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor/convert.h"
#include "tests/kernel/cuda/device_fixture.h"
#include "tests/random_weights.h"

namespace sala::testing {
namespace {

using UploadTest = DeviceTest;

constexpr std::int64_t kPiece = 1 << 20;  // elements that are sent at a time

/// A host matrix of one row, of 16-bit patterns or floats, and what bf16 makes of it.
struct HostRow {
  HostRow(std::int64_t n, DType as_dtype, std::uint64_t seed)
      : dtype(as_dtype), wide(random_floats(n, seed)), narrow(wide.size()) {
    for (std::size_t i = 0; i < narrow.size(); ++i) {
      // Patterns of bf16 or f16 alike, none of which is infinite or NaN.
      narrow[i] = static_cast<std::uint16_t>((seed * 31 + i * 7919) % 0x7800);
    }
  }
  TensorView view() {
    void* data = dtype == DType::f32 ? static_cast<void*>(wide.data()) : narrow.data();
    return {data, dtype, 1, static_cast<std::int64_t>(wide.size())};
  }
  std::vector<float> expected() {
    std::vector<float> values(wide.size());
    widen(view(), 0, static_cast<std::int64_t>(values.size()), values.data());
    return rounded_to_bf16(values);
  }

  DType dtype;
  std::vector<float> wide;
  std::vector<std::uint16_t> narrow;
};

TEST_F(UploadTest, matrices_of_every_dtype_and_length_arrive_at_once) {
  std::vector<HostRow> rows;
  std::uint64_t seed = 1;
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{7}, std::int64_t{4096}, kPiece - 1,
                               kPiece, kPiece + 1, 3 * kPiece + 5}) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      rows.emplace_back(n, dtype, seed++);
    }
  }
  std::vector<std::unique_ptr<DeviceMatrix>> targets;
  std::vector<Transfer> transfers;
  for (HostRow& row : rows) {
    const TensorView host = row.view();
    targets.push_back(std::make_unique<DeviceMatrix>(1, host.cols));
    transfers.push_back({host, targets.back()->view()});
  }
  backend_->upload_each(transfers);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(targets[i]->values(), rows[i].expected()) << "matrix " << i;
    targets[i]->expect_guards_intact();
  }
}

TEST_F(UploadTest, nothing_to_upload_is_nothing_done) {
  backend_->upload_each({});
  sync();
}

}  // namespace
}  // namespace sala::testing
