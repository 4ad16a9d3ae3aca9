// cast: out = in, converted. float32, float16 and bfloat16 to each other (round to nearest even, NaN stays NaN,
// overflow becomes infinity), and fill.
//
//   in[n], out[n]; any of f32, f16, bf16 each. The same dtype copies (any dtype).
//   fill: out[n] = value, for f32 and i32, on CUDA also bf16.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void cast(Context& context, Tensor in, Tensor out);
void fill(Context& context, Tensor out, double value);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
