// linear: out[T,N] = x[T,K] · weight[N,K]^T + bias[N] + residual[T,N]. The layout of Hugging Face's weights.
//
//   forward          out =      (bit-equal with and without `packed`; bias, then residual are added, each when given; in bfloat16 the sum is
//                    rounded once, after them)
//   swiglu_forward   out[T,F] = swiglu(x · weight[2F,K]^T), with the bits of linear and swiglu one after the other; nothing is
//                    saved for a backward pass. In bfloat16 the sums are rounded before swiglu, as those two do.
//   backward_input   gradX[T,K]  = gradOut[T,N] · weight[N,K]         (+= when accumulate)
//   backward_weight  gradWeight[N,K] += gradOut^T · x;  gradBias[N] += column sums of gradOut, when given
//   pack             a copy of weight in the order the product reads it, for weights that stay the same over many
//                    calls (decoding). Its size in floats is linear_packed_size(N, K); its layout is private.
// All float32; on CUDA also x, weight, bias, out, gradOut and gradX in bfloat16, where sums and the gradients of weight
// and bias are float32 (matmul-bf16.cuh) and `packed` is empty. x, out, gradOut, gradX may have strided rows. Saved for
// backward: x. The gradient of the residual is gradOut.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void linear_forward(Context& context, Tensor x, Tensor weight, Tensor packed /* optional */, Tensor bias /* optional */,
                    Tensor residual /* optional */, Tensor out);
void linear_swiglu_forward(Context& context, Tensor x, Tensor weight, Tensor packed /* optional */, Tensor out);
void linear_backward_input(Context& context, Tensor grad_out, Tensor weight, Tensor grad_x, bool accumulate);
void linear_backward_weight(Context& context, Tensor grad_out, Tensor x, Tensor grad_weight,
                            Tensor grad_bias /* optional */);
void linear_pack(Context& context, Tensor weight, Tensor packed);
int64_t linear_packed_size(int64_t n, int64_t k);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
