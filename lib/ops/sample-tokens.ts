// sample-tokens: draws one token per row of logits. Contract: native/ops/sample-tokens.h.
import type { NativeSamplingOptions } from '../native.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'

export type SamplingSettings = NativeSamplingOptions

export interface SampledTokens {
  /** [B] int32; 0 where the row was bad. */
  tokens: Tensor
  /** [B]: under softmax(logits / temperature), before any filter: what the trainer computes for the same token. */
  logProbs: Tensor
  /** [B]: under the filtered distribution that the token was drawn from. */
  drawnLogProbs: Tensor
  /** [B] int32: 1 where a row of logits holds NaN or infinity. */
  bad: Tensor
}

/** logits [B, V], counters [B, 3] int32 {prompt, sample, position}; writes [B] results. */
export function sampleTokensInto(
  logits: Tensor,
  counters: Tensor,
  settings: SamplingSettings,
  into: SampledTokens,
): void {
  const b = logits.rows
  checkTensor('sample-tokens', 'logits', logits, 'float32', [-1, -1])
  checkTensor('sample-tokens', 'counters', counters, 'int32', [b, 3])
  checkTensor('sample-tokens', 'tokens', into.tokens, 'int32', [b])
  checkTensor('sample-tokens', 'logProbs', into.logProbs, 'float32', [b])
  checkTensor('sample-tokens', 'drawnLogProbs', into.drawnLogProbs, 'float32', [b])
  checkTensor('sample-tokens', 'bad', into.bad, 'int32', [b])
  const { ops, handle } = logits.device
  ops.sampleTokens(
    handle,
    logits.handle,
    counters.handle,
    settings,
    into.tokens.handle,
    into.logProbs.handle,
    into.drawnLogProbs.handle,
    null,
    into.bad.handle,
  )
}

/** As sampleTokensInto, with new tensors. */
export function sampleTokens(logits: Tensor, counters: Tensor, settings: SamplingSettings): SampledTokens {
  const { device } = logits
  const b = logits.rows
  const result = {
    tokens: device.empty([b], 'int32'),
    logProbs: device.empty([b]),
    drawnLogProbs: device.empty([b]),
    bad: device.empty([b], 'int32'),
  }
  sampleTokensInto(logits, counters, settings, result)
  return result
}
