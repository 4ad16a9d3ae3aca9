// matmul: out[M,N] = A · B (+ out). The product that every other op builds on.
//
//   A is [M,K], or [K,M] when transpose_a; B is [K,N], or [N,K] when transpose_b; out is [M,N]. All float32; rows may
//   be strided. `accumulate`: out += instead of out =. On CUDA A and B may be bfloat16, and out then bfloat16 or float32:
//   sums in float32 in an order of their own (matmul-bf16.cuh), with the same promises about bits unless cuBLASLt takes
//   the product (cublaslt.h), which a device opened as deterministic never lets it.
//   out[m,n] = sum over k of A[m,k] * B[k,n], by fused multiply-adds in ascending k, in blocks of k whose size depends
//   on K alone. Hence: the same bits for any number of threads, and a row's bits do not depend on M, on the rows
//   beside it, on N, on either transpose flag, or on whether B was packed beforehand.
//   M, N or K may be 0 (K = 0: zeros, or unchanged out when accumulating).
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void matmul(Context& context, Tensor a, Tensor b, Tensor out, bool transpose_a, bool transpose_b, bool accumulate);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
