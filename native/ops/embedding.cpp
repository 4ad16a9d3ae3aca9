// embedding on the CPU: a gather of rows, and its scatter. See embedding.h.
#include "embedding.h"

#include "indexed-rows.h"

namespace luffy {
namespace LUFFY_BACKEND {

void embedding_forward(Context& context, Tensor tokens, Tensor table, Tensor out) {
  check_vector("embedding", "tokens", tokens, DType::i32, -1);
  check_matrix("embedding", "table", table, DType::f32, -1, -1);
  check_matrix("embedding", "out", out, DType::f32, tokens.shape[0], table.shape[1]);
  check_indices("embedding", "tokens", tokens, table.shape[0]);
  copy_indexed_rows(context, table, tokens.i32(), out);
}

void embedding_backward(Context& context, Tensor tokens, Tensor grad_out, Tensor grad_table) {
  check_vector("embedding", "tokens", tokens, DType::i32, -1);
  check_matrix("embedding", "gradTable", grad_table, DType::f32, -1, -1);
  check_matrix("embedding", "gradOut", grad_out, DType::f32, tokens.shape[0], grad_table.shape[1]);
  check_indices("embedding", "tokens", tokens, grad_table.shape[0]);
  add_indexed_rows(context, grad_out, tokens.i32(), grad_table);
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
