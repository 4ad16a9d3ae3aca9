// rms-norm: out = s / sqrt(mean(s^2) + epsilon) * weight, with s = x + residual (s = x without a residual).
//
//   x[T, G*C], weight[C] float32 (on CUDA also bfloat16, with rstd and gradWeight in float32); each row of x holds G groups of C numbers and every group is normalised by itself
//   (G = 1: the block norms; G = number of heads: Qwen3's query and key norms). rstd[T*G] float32 is saved.
//   forward    sum = s when given (may be x or residual itself); out = (may be x when sum is not needed); rstd =.
//   backward   from s, weight, rstd, gradOut and, when given, gradSum (the gradient that reaches s by other paths):
//              gradX[T, G*C] = d loss / d s (it is also the gradient of x and of residual; may be gradOut or gradSum
//              itself); gradWeight[C] += over rows in an order that T alone decides.
//   The statistics of a row depend on that row alone. x, residual, sum, out, gradOut, gradSum, gradX may have strided rows.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void rms_norm_forward(Context& context, Tensor x, Tensor residual /* optional */, Tensor weight, double epsilon,
                      Tensor sum /* optional */, Tensor out, Tensor rstd /* optional */);
void rms_norm_backward(Context& context, Tensor grad_out, Tensor s, Tensor weight, Tensor rstd,
                       Tensor grad_sum /* optional */, Tensor grad_x, Tensor grad_weight);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
