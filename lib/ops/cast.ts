// cast: float32, float16 and bfloat16 to each other. Contract: native/ops/cast.h.
import type { DType } from '../native.js'
import type { Tensor } from '../tensor/tensor.js'

/** A new tensor of the same shape; rounds to nearest even, NaN stays NaN, overflow becomes infinity. */
export function cast(input: Tensor, dtype: DType): Tensor {
  const { device } = input
  const out = device.empty(input.shape, dtype)
  device.ops.cast(device.handle, input.handle, out.handle)
  return out
}
