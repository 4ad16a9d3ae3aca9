// The matrix product behind matmul and linear on CUDA: one function, any layout of the operands. Sums run as matmul.h
// says, the bias comes last, and an element has the same bits whichever tile computed it.
#pragma once

#include "../core/context.h"
#include "../core/cu.cuh"

namespace luffy {
namespace cuda {

struct MatrixProduct {
  int64_t m, n, k;
  const float* a;    // [m,k], or [k,m] when a_transposed
  int64_t a_stride;  // between rows of what is stored
  bool a_transposed;
  const float* b;  // [k,n], or [n,k] when b_transposed
  int64_t b_stride;
  bool b_transposed;
  const float* bias;  // [n] or null
  float* out;         // [m,n]
  int64_t out_stride;
  bool accumulate;
};

void run_matrix_product(Context& context, const MatrixProduct& product);

// Of the device, for choices that change no result.
int64_t multiprocessors();

}  // namespace cuda
}  // namespace luffy
