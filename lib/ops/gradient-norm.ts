// gradient-norm: norm of a flat gradient, the factor that clips it, and whether it is finite. Contract: native/ops/gradient-norm.h.
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'

/** Returns control [4]: {norm, factor, ok, non-finite elements}; adamw reads it on the device. maxNorm 0 = no clipping. */
export function gradientNorm(grads: Tensor, maxNorm: number): Tensor {
  checkTensor('gradient-norm', 'grads', grads, 'float32', [-1])
  const { device } = grads
  const control = device.empty([4])
  device.ops.gradientNorm(device.handle, grads.handle, maxNorm, control.handle)
  return control
}
