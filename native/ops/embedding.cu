// embedding on CUDA; the kernels are in indexed-rows.cu. See embedding.h. Tokens are checked where they are used: one
// outside the table leaves a fault.
#include "embedding.h"

#include "indexed-rows.cuh"

namespace luffy {
namespace cuda {

void embedding_forward(Context& context, Tensor tokens, Tensor table, Tensor out) {
  check_vector("embedding", "tokens", tokens, DType::i32, -1);
  const DType dtype = activation_dtype(table);
  check_matrix("embedding", "table", table, dtype, -1, -1);
  check_matrix("embedding", "out", out, dtype, tokens.shape[0], table.shape[1]);
  copy_indexed_rows(context, FaultOp::embedding, table, tokens, out);
}

void embedding_backward(Context& context, Tensor tokens, Tensor grad_out, Tensor grad_table) {
  check_vector("embedding", "tokens", tokens, DType::i32, -1);
  check_matrix("embedding", "gradTable", grad_table, DType::f32, -1, -1);
  check_matrix("embedding", "gradOut", grad_out, activation_dtype(grad_out), tokens.shape[0], grad_table.shape[1]);
  add_indexed_rows(context, FaultOp::embedding, "embedding", grad_out, tokens, grad_table);
}

}  // namespace cuda
}  // namespace luffy
