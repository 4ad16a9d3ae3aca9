// gather-rows: out[r] = x[rows[r]]. Contract: native/ops/gather-rows.h.
import type { Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'

/** x [T, C], rows [R] int32 -> [R, C]; a row may be picked several times or never. */
export function gatherRows(tape: Tape | undefined, x: Tensor, rows: Tensor): Tensor {
  checkTensor('gather-rows', 'rows', rows, 'int32', [-1])
  checkTensor('gather-rows', 'x', x, x.dtype === 'int32' ? 'int32' : activationDtype(x), [-1, -1])
  const { device } = x
  const { ops, handle } = device
  const out = device.empty([rows.rows, x.columns], x.dtype)
  ops.gatherRowsForward(handle, x.handle, rows.handle, out.handle)
  tape?.record([rows], () => {
    const gradOut = tape.gradient(out)
    tape.produce(
      x,
      target => ops.gatherRowsBackward(handle, gradOut.handle, rows.handle, target.handle),
      true,
    )
    tape.consume(out)
  })
  return out
}
