// swiglu: out = silu(gate) * up, silu(g) = g / (1 + e^-g).
//
//   gateUp[T, 2F] float32, on CUDA all may be bfloat16 (gate in the first F columns, up in the last F), out[T, F] (=).
//   backward: gradGateUp[T, 2F] = (may be gateUp itself) from gradOut[T, F] and gateUp.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void swiglu_forward(Context& context, Tensor gate_up, Tensor out);
void swiglu_backward(Context& context, Tensor grad_out, Tensor gate_up, Tensor grad_gate_up);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
