// linear: out[T,N] = x[T,K] · weight[N,K]^T + bias[N]. Contract: native/ops/linear.h.
import type { Parameter, Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'

/**
 * A weight [N, K] in the order in which the product reads it; equal results, faster for few rows. Of a bfloat16 weight,
 * which is read where it is, nothing.
 */
export function packWeight(weight: Tensor): Tensor {
  checkTensor('linear', 'weight', weight, activationDtype(weight), [-1, -1])
  const { device } = weight
  const packed = device.empty([packedSize(weight)])
  if (packed.size === 0) return packed
  device.ops.linearPack(device.handle, weight.handle, packed.handle)
  return packed
}

function packedSize(weight: Tensor): number {
  const { ops, handle } = weight.device
  return weight.dtype === 'float32' ? ops.linearPackedSize(handle, weight.rows, weight.columns) : 0
}

/**
 * swiglu(x · weight^T): x [T, K], weight [2F, K] with the gate's rows before up's -> [T, F]. The bits of `linear` and `swiglu`
 * one after the other, without their [T, 2F] between; nothing is kept for a backward pass.
 */
export function linearSwiglu(x: Tensor, weight: Parameter, packed?: Tensor): Tensor {
  const w = weight.value
  const dtype = activationDtype(w)
  checkTensor('linearSwiglu', 'weight', w, dtype, [-1, -1])
  if (w.rows % 2 !== 0) throw new RangeError(`linearSwiglu: expected an even number of rows, got ${w}`)
  checkTensor('linearSwiglu', 'x', x, dtype, [-1, w.columns])
  if (packed) checkTensor('linearSwiglu', 'packed', packed, 'float32', [packedSize(w)])
  const { device } = x
  const out = device.empty([x.rows, w.rows / 2], dtype)
  device.ops.linearSwigluForward(device.handle, x.handle, w.handle, packed?.handle ?? null, out.handle)
  return out
}

/** x [T, K] -> [T, N], float32 or bfloat16 as the weight is; gradients of weight and bias are float32. `residual` [T, N] is added. */
export function linear(
  tape: Tape | undefined,
  x: Tensor,
  weight: Parameter,
  bias?: Parameter,
  packed?: Tensor,
  residual?: Tensor,
): Tensor {
  const w = weight.value
  const n = w.rows
  const dtype = activationDtype(w)
  checkTensor('linear', 'weight', w, dtype, [-1, -1])
  checkTensor('linear', 'x', x, dtype, [-1, w.columns])
  if (bias) checkTensor('linear', 'bias', bias.value, dtype, [n])
  if (residual) checkTensor('linear', 'residual', residual, dtype, [x.rows, n])
  const { device } = x
  const { ops, handle } = device
  if (packed) checkTensor('linear', 'packed', packed, 'float32', [packedSize(w)])
  const out = device.empty([x.rows, n], dtype)
  ops.linearForward(
    handle,
    x.handle,
    w.handle,
    packed?.handle ?? null,
    bias?.value.handle ?? null,
    residual?.handle ?? null,
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
    const gradient = residual && tape.take(out)
    if (gradient) tape.accumulate(residual, gradient)
    else tape.consume(out)
  })
  return out
}
