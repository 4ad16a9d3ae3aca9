// rope: rotary position embedding, in place, in Hugging Face's layout (the two halves of a head are the pairs).
//
//   x[T, H*D] float32 (on CUDA also bfloat16), rows may be strided (the query or key columns of a fused projection); D even.
//   cosine[P, D/2], sine[P, D/2] float32: tables by position; positions[T] int32 in [0, P).
//   x1' = x1 cos - x2 sin, x2' = x2 cos + x1 sin, where x1, x2 are the halves of each head.
//   `inverse` rotates back: the backward pass is the inverse rotation of the gradient.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void rope(Context& context, Tensor x, Tensor positions, Tensor cosine, Tensor sine, bool inverse);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
