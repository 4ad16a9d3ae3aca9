// rope: rotary position embedding, in place. Contract: native/ops/rope.h.
import type { Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'

/** Cosines and sines by position, [P, D/2] each (lib/policy/rope-table.ts makes them). */
export interface RopeTable {
  cosine: Tensor
  sine: Tensor
}

/** Rotates the heads of x [T, H*D] (rows may be strided) in place by their positions [T] int32, and returns x. */
export function rope(tape: Tape | undefined, x: Tensor, positions: Tensor, table: RopeTable): Tensor {
  const { cosine, sine } = table
  const headDim = 2 * cosine.columns
  checkTensor('rope', 'positions', positions, 'int32', [x.rows])
  checkTensor('rope', 'cosine', cosine, 'float32', [-1, -1])
  checkTensor('rope', 'sine', sine, 'float32', [cosine.rows, cosine.columns])
  checkTensor('rope', 'x', x, activationDtype(x), [-1, -1])
  if (headDim === 0 || x.columns % headDim !== 0) {
    throw new RangeError(`rope: expected columns of x to be a multiple of ${headDim}, got ${x}`)
  }
  const { ops, handle } = x.device
  ops.rope(handle, x.handle, positions.handle, cosine.handle, sine.handle, false)
  tape?.record([positions], () => {
    ops.rope(handle, tape.gradient(x).handle, positions.handle, cosine.handle, sine.handle, true)
  })
  return x
}
