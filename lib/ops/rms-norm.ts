// rms-norm: out = s / sqrt(mean(s^2) + epsilon) * weight, s = x + residual. Contract: native/ops/rms-norm.h.
import type { Parameter, Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'

export interface RmsNormResult {
  /** The normalised rows. */
  out: Tensor
  /** x + residual: the residual stream from here on (x itself without a residual). */
  sum: Tensor
}

/** x [T, G*C], weight [C]: each of a row's G groups is normalised by itself. */
export function rmsNorm(
  tape: Tape | undefined,
  x: Tensor,
  residual: Tensor | undefined,
  weight: Parameter,
  epsilon: number,
): RmsNormResult {
  const c = weight.value.rows
  const dtype = activationDtype(weight.value)
  checkTensor('rms-norm', 'weight', weight.value, dtype, [-1])
  checkTensor('rms-norm', 'x', x, dtype, [-1, -1])
  if (residual) checkTensor('rms-norm', 'residual', residual, dtype, [x.rows, x.columns])
  if (c === 0 || x.columns % c !== 0) {
    throw new RangeError(`rms-norm: expected columns of x to be a multiple of ${c}, got ${x}`)
  }
  const { device } = x
  const { ops, handle } = device
  const out = device.empty([x.rows, x.columns], dtype)
  const sum = residual ? device.empty([x.rows, x.columns], dtype) : x
  const rstd = tape ? device.empty([x.rows * (x.columns / c)]) : undefined
  ops.rmsNormForward(
    handle,
    x.handle,
    residual?.handle ?? null,
    weight.value.handle,
    epsilon,
    residual ? sum.handle : null,
    out.handle,
    rstd?.handle ?? null,
  )
  tape?.record([sum, rstd], () => {
    const gradOut = tape.gradient(out)
    const run = (gradSum: Tensor | undefined, target: Tensor) =>
      ops.rmsNormBackward(
        handle,
        gradOut.handle,
        sum.handle,
        weight.value.handle,
        (rstd as Tensor).handle,
        gradSum?.handle ?? null,
        target.handle,
        weight.gradient.handle,
      )
    // With a residual, the gradient of x and of the residual is the same tensor: both share it.
    if (residual) {
      const gradSum = tape.hasGradient(sum) ? tape.gradient(sum) : undefined
      const gradient = device.empty(sum.shape, dtype)
      run(gradSum, gradient)
      tape.consume(sum)
      tape.share(gradient, x, residual)
    } else {
      tape.produce(x, target => run(undefined, target))
    }
    tape.consume(out)
  })
  return { out, sum }
}
