// gradient-norm: the Euclidean norm of a flat gradient, the factor that clips it, and whether it is finite.
//
//   grads[n] float32; control[4] float32 =: {norm, factor, ok, number of non-finite elements (0 when ok)}.
//   factor = min(1, maxNorm / (norm + 1e-6)) as PyTorch's clip_grad_norm_ (1 when maxNorm is 0); ok = 1 when the norm is
//   finite, else 0 and factor 0. Sums in float64 over fixed chunks: the same bits for any number of threads.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void gradient_norm(Context& context, Tensor grads, double max_norm, Tensor control);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
