// embedding: out[t] = table[tokens[t]].
//
//   tokens[T] int32, table[V,C], out[T,C] (=) float32; on CUDA both, and gradOut, may be bfloat16.
//   backward: gradTable[tokens[t]] += gradOut[t], in ascending t for each row of the table, so the bits depend neither
//   on threads nor on scheduling. A token outside [0, V) fails the op before anything is written.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void embedding_forward(Context& context, Tensor tokens, Tensor table, Tensor out);
void embedding_backward(Context& context, Tensor tokens, Tensor grad_out, Tensor grad_table);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
