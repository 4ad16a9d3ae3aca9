// rms-norm: its arguments as every backend checks them. `dtype` is that of activations and weight; the statistics and
// the gradient of the weight are float32.
#pragma once

#include <cinttypes>

#include "rms-norm.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Groups of weight's size in a row of x.
LUFFY_INLINE int64_t check_groups(const Tensor& x, const Tensor& weight, DType dtype) {
  check_rows("rms-norm", "x", x, dtype, -1, -1);
  check_vector("rms-norm", "weight", weight, dtype, -1);
  const int64_t columns = weight.shape[0];
  LUFFY_CHECK(columns > 0 && x.shape[1] % columns == 0,
              "rms-norm: rows of %" PRId64 " numbers are no whole groups of %" PRId64 " weights", x.shape[1], columns);
  return x.shape[1] / columns;
}

LUFFY_INLINE int64_t check_rms_norm_forward(const Tensor& x, const Tensor& residual, const Tensor& weight,
                                            double epsilon, const Tensor& sum, const Tensor& out, const Tensor& rstd,
                                            DType dtype) {
  const int64_t groups = check_groups(x, weight, dtype);
  const int64_t rows = x.shape[0];
  if (residual) check_rows("rms-norm", "residual", residual, dtype, rows, x.shape[1]);
  if (sum) check_rows("rms-norm", "sum", sum, dtype, rows, x.shape[1]);
  check_rows("rms-norm", "out", out, dtype, rows, x.shape[1]);
  if (rstd) check_vector("rms-norm", "rstd", rstd, DType::f32, rows * groups);
  LUFFY_CHECK(epsilon >= 0, "rms-norm: epsilon is %g", epsilon);
  return groups;
}

LUFFY_INLINE int64_t check_rms_norm_backward(const Tensor& grad_out, const Tensor& s, const Tensor& weight,
                                             const Tensor& rstd, const Tensor& grad_sum, const Tensor& grad_x,
                                             const Tensor& grad_weight, DType dtype) {
  const int64_t groups = check_groups(s, weight, dtype);
  const int64_t rows = s.shape[0];
  check_rows("rms-norm", "gradOut", grad_out, dtype, rows, s.shape[1]);
  check_vector("rms-norm", "rstd", rstd, DType::f32, rows * groups);
  if (grad_sum) check_rows("rms-norm", "gradSum", grad_sum, dtype, rows, s.shape[1]);
  check_rows("rms-norm", "gradX", grad_x, dtype, rows, s.shape[1]);
  check_vector("rms-norm", "gradWeight", grad_weight, DType::f32, weight.shape[0]);
  return groups;
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
