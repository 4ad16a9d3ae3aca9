// swiglu: out = silu(gate) * up, with gate and up side by side. Contract: native/ops/swiglu.h.
import type { Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'

/** gateUp [T, 2F] -> [T, F]. */
export function swiglu(tape: Tape | undefined, gateUp: Tensor): Tensor {
  checkTensor('swiglu', 'gateUp', gateUp, activationDtype(gateUp), [-1, -1])
  if (gateUp.columns % 2 !== 0)
    throw new RangeError(`swiglu: expected an even number of columns, got ${gateUp}`)
  const { device } = gateUp
  const { ops, handle } = device
  const out = device.empty([gateUp.rows, gateUp.columns / 2], gateUp.dtype)
  ops.swigluForward(handle, gateUp.handle, out.handle)
  tape?.record([gateUp], () => {
    const gradOut = tape.gradient(out)
    tape.produce(gateUp, target => ops.swigluBackward(handle, gradOut.handle, gateUp.handle, target.handle))
    tape.consume(out)
  })
  return out
}
