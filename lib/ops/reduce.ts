// reduce: one float64 number from a float32 vector; add: a sum of two matrices. Contract: native/ops/reduce.h.
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'

const reductions = { sum: 0, 'sum-of-squares': 1, 'largest-absolute': 2, 'non-finite': 3 } as const
export type Reduction = keyof typeof reductions

/** Returns [1] float64. Fixed order: the same bits for any number of threads. */
export function reduce(x: Tensor, reduction: Reduction): Tensor {
  checkTensor('reduce', 'x', x, 'float32', [-1])
  const { device } = x
  const out = device.empty([1], 'float64')
  device.ops.reduce(device.handle, x.handle, reductions[reduction], out.handle)
  return out
}

/** a + b, [T, C]. */
export function add(a: Tensor, b: Tensor): Tensor {
  checkTensor('add', 'a', a, 'float32', [-1, -1])
  checkTensor('add', 'b', b, 'float32', [a.rows, a.columns])
  const { device } = a
  const out = device.empty([a.rows, a.columns])
  device.ops.addRows(device.handle, a.handle, b.handle, out.handle)
  return out
}
