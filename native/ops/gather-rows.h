// gather-rows: out[r] = x[rows[r]], and its backward. Picks the positions whose next token the loss looks at.
//
//   x[T,C] float32 or int32, on CUDA also bfloat16, rows[R] int32, out[R,C] (=), dtype of x. A row may be picked several times, or never.
//   backward (float32 or bfloat16): gradX[rows[r]] += gradOut[r], in ascending r for each row of gradX.
//   A row outside [0, T) fails the op before anything is written.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void gather_rows_forward(Context& context, Tensor x, Tensor rows, Tensor out);
void gather_rows_backward(Context& context, Tensor grad_out, Tensor rows, Tensor grad_x);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
