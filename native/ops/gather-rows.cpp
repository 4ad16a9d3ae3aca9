// gather-rows on the CPU. See gather-rows.h.
#include "gather-rows.h"

#include "indexed-rows.h"

namespace luffy {
namespace LUFFY_BACKEND {

void gather_rows_forward(Context& context, Tensor x, Tensor rows, Tensor out) {
  const DType dtype = x.dtype == DType::i32 ? DType::i32 : DType::f32;
  check_matrix("gather-rows", "x", x, dtype, -1, -1);
  check_vector("gather-rows", "rows", rows, DType::i32, -1);
  check_matrix("gather-rows", "out", out, dtype, rows.shape[0], x.shape[1]);
  check_indices("gather-rows", "rows", rows, x.shape[0]);
  copy_indexed_rows(context, x, rows.i32(), out);
}

void gather_rows_backward(Context& context, Tensor grad_out, Tensor rows, Tensor grad_x) {
  check_matrix("gather-rows", "gradX", grad_x, DType::f32, -1, -1);
  check_vector("gather-rows", "rows", rows, DType::i32, -1);
  check_matrix("gather-rows", "gradOut", grad_out, DType::f32, rows.shape[0], grad_x.shape[1]);
  check_indices("gather-rows", "rows", rows, grad_x.shape[0]);
  add_indexed_rows(context, grad_out, rows.i32(), grad_x);
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
