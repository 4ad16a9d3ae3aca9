// adamw: one decoupled-decay Adam step over flat buffers. Contract: native/ops/adamw.h.
import type { NativeAdamWOptions } from '../native.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'

export type AdamWOptions = NativeAdamWOptions

export interface AdamWState {
  params: Tensor
  grads: Tensor
  firstMoment: Tensor
  secondMoment: Tensor
  /** The parameters once more, in bfloat16 (what a device computes with); written with them. */
  half?: Tensor
}

/** Updates params and both moments in place, unless control (of gradientNorm) says that the gradient is not finite. */
export function adamw(state: AdamWState, control: Tensor, options: AdamWOptions): void {
  const { params, grads, firstMoment, secondMoment, half } = state
  checkTensor('adamw', 'params', params, 'float32', [-1])
  for (const [name, tensor] of Object.entries({ grads, firstMoment, secondMoment })) {
    checkTensor('adamw', name, tensor, 'float32', [params.rows])
  }
  checkTensor('adamw', 'control', control, 'float32', [4])
  if (half) checkTensor('adamw', 'half', half, 'bfloat16', [params.rows])
  const { ops, handle } = params.device
  ops.adamw(
    handle,
    params.handle,
    grads.handle,
    firstMoment.handle,
    secondMoment.handle,
    control.handle,
    half?.handle ?? null,
    options,
  )
}
