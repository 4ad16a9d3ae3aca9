// gather-rows on CUDA; the kernels are in indexed-rows.cu. See gather-rows.h. Indices are checked where they are used:
// a row that is not there leaves a fault.
#include "gather-rows.h"

#include "indexed-rows.cuh"

namespace luffy {
namespace cuda {

void gather_rows_forward(Context& context, Tensor x, Tensor rows, Tensor out) {
  const DType dtype = x.dtype == DType::i32 ? DType::i32 : activation_dtype(x);
  check_matrix("gather-rows", "x", x, dtype, -1, -1);
  check_vector("gather-rows", "rows", rows, DType::i32, -1);
  check_matrix("gather-rows", "out", out, dtype, rows.shape[0], x.shape[1]);
  copy_indexed_rows(context, FaultOp::gather_rows, x, rows, out);
}

void gather_rows_backward(Context& context, Tensor grad_out, Tensor rows, Tensor grad_x) {
  const DType dtype = activation_dtype(grad_x);
  check_matrix("gather-rows", "gradX", grad_x, dtype, -1, -1);
  check_vector("gather-rows", "rows", rows, DType::i32, -1);
  check_matrix("gather-rows", "gradOut", grad_out, dtype, rows.shape[0], grad_x.shape[1]);
  add_indexed_rows(context, FaultOp::gather_rows, "gather-rows", grad_out, rows, grad_x);
}

}  // namespace cuda
}  // namespace luffy
