// rope: rotary position embedding, in place. Contract: native/ops/rope.h.
import type { Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'

/** Cosines and sines by position, [P, D/2] each (lib/policy/rope-table.ts makes them). */
export interface RopeTable {
  cosine: Tensor
  sine: Tensor
}

/** Rotates the heads of x [T, H*D] (rows may be strided) in place by their positions [T] int32, and returns x. */
export function rope(tape: Tape | undefined, x: Tensor, positions: Tensor, table: RopeTable): Tensor {
  checkTensor('rope', 'positions', positions, 'int32', [x.rows])
  const { ops, handle } = x.device
  const { cosine, sine } = table
  ops.rope(handle, x.handle, positions.handle, cosine.handle, sine.handle, false)
  tape?.record([positions], () => {
    ops.rope(handle, tape.gradient(x).handle, positions.handle, cosine.handle, sine.handle, true)
  })
  return x
}
