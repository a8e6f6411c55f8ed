// Products of activations with stored weights, in slices of rows.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

namespace sala {

/// y = x · weightᵀ. Slices of 1024 and 512 rows run a routine that oneDNN generates for the shape
/// and that never copies the whole weight; it is kept, so that only the first call of a shape pays
/// for generating it. The remaining rows run sgemm, which needs no generating.
class WeightProduct {
 public:
  WeightProduct();
  ~WeightProduct();
  WeightProduct(const WeightProduct&) = delete;
  WeightProduct& operator=(const WeightProduct&) = delete;

  /// x (rows, in), weight (out, in), y (rows, out); on as many threads as the library may use,
  /// which must be the same at every call.
  void run(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x,
           const float* weight, float* y);
  /// y += scale * x · weightᵀ.
  void run_add(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x,
               const float* weight, float scale, float* y);

 private:
  struct Routines;
  void run_slices(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x,
                  const float* weight, float alpha, float beta, float* y);
  std::unique_ptr<Routines> routines_;
};

}  // namespace sala
