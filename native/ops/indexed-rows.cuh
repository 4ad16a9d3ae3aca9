// Rows picked by an index on CUDA: the common part of embedding and gather-rows.
#pragma once

#include "cuda-rows.cuh"

namespace luffy {
namespace cuda {

// out[i] = table[index[i]], float32, bfloat16 or int32. Where index[i] is no row of the table, out[i] is NaN, or -2^31,
// and a fault is left.
void copy_indexed_rows(Context& context, FaultOp op, const Tensor& table, const Tensor& index, const Tensor& out);

// table[index[i]] += grad[i], in float32 and in ascending i for each row of the table, which is rounded once where it is
// bfloat16. The dtypes of grad and table may be float32 and float32, bfloat16 and float32, or bfloat16 twice. An index that is no row of it is passed over,
// and a fault is left.
void add_indexed_rows(Context& context, FaultOp op, const char* name, const Tensor& grad, const Tensor& index,
                      const Tensor& table);

}  // namespace cuda
}  // namespace luffy
