// linear: out[T,N] = x[T,K] · weight[N,K]^T + bias[N]. Contract: native/ops/linear.h.
import type { Parameter, Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'

/** A weight [N, K] in the order in which the product reads it; equal results, faster for few rows. */
export function packWeight(weight: Tensor): Tensor {
  checkTensor('linear', 'weight', weight, 'float32', [-1, -1])
  const { device } = weight
  const packed = device.empty([device.ops.linearPackedSize(device.handle, weight.rows, weight.columns)])
  device.ops.linearPack(device.handle, weight.handle, packed.handle)
  return packed
}

export function linear(
  tape: Tape | undefined,
  x: Tensor,
  weight: Parameter,
  bias?: Parameter,
  packed?: Tensor,
): Tensor {
  const w = weight.value
  const n = w.rows
  checkTensor('linear', 'weight', w, 'float32', [-1, -1])
  checkTensor('linear', 'x', x, 'float32', [-1, w.columns])
  if (bias) checkTensor('linear', 'bias', bias.value, 'float32', [n])
  const { device } = x
  const { ops, handle } = device
  if (packed) checkTensor('linear', 'packed', packed, 'float32', [ops.linearPackedSize(handle, n, w.columns)])
  const out = device.empty([x.rows, n])
  ops.linearForward(
    handle,
    x.handle,
    w.handle,
    packed?.handle ?? null,
    bias?.value.handle ?? null,
    out.handle,
  )
  tape?.record([x], () => {
    const gradOut = tape.gradient(out)
    ops.linearBackwardWeight(
      handle,
      gradOut.handle,
      x.handle,
      weight.gradient.handle,
      bias?.gradient.handle ?? null,
    )
    tape.produce(x, target => ops.linearBackwardInput(handle, gradOut.handle, w.handle, target.handle, false))
    tape.consume(out)
  })
  return out
}
