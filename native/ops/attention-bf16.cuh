// attention in bfloat16 on CUDA, as attention.cu calls it once its arguments are checked and its plan is made.
#pragma once

#include "attention-operands.cuh"

namespace luffy {
namespace cuda {

// A matrix [T, heads * D] of bfloat16.
struct HalfMatrix {
  bf16* data;
  int64_t stride;  // between rows, in elements
  bool aligned;    // every eight elements of a head start at a multiple of 16 bytes
  DEV bf16* at(int64_t row, int64_t column) const { return data + row * stride + column; }
};

static inline HalfMatrix half_matrix(const Tensor& t, int dim) {
  return {static_cast<bf16*>(t.data), t.row_stride,
          reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && (t.row_stride % 8 == 0 || t.shape[0] <= 1) && dim % 8 == 0};
}

struct HalfAttention {
  AttentionPlan plan;
  HalfMatrix q, k, v, out;
  float* lse;  // [T, H]; may be null
  int heads, per_group, dim;
  float scale;  // of scores in powers of 2; the launcher's
};

// `blocks`: of threads; any number would do.
void launch_attention_forward_bf16(HalfAttention a, double scale, unsigned blocks, cudaStream_t stream);

}  // namespace cuda
}  // namespace luffy
