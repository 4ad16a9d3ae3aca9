// token-log-prob: log-probability of one token per row and the row's entropy. Contract: native/ops/token-log-prob.h.
import type { Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'

export interface TokenLogProbs {
  /** [R], of `tokens` under softmax(logits / temperature). */
  logProbs: Tensor
  /** [R], of the same distribution; carries no gradient. */
  entropy: Tensor
}

/** logits [R, V], tokens [R] int32. */
export function tokenLogProb(
  tape: Tape | undefined,
  logits: Tensor,
  tokens: Tensor,
  temperature: number,
): TokenLogProbs {
  checkTensor('token-log-prob', 'logits', logits, activationDtype(logits), [-1, -1])
  checkTensor('token-log-prob', 'tokens', tokens, 'int32', [logits.rows])
  const { device } = logits
  const { ops, handle } = device
  const logProbs = device.empty([logits.rows])
  const entropy = device.empty([logits.rows])
  ops.tokenLogProbForward(handle, logits.handle, tokens.handle, temperature, logProbs.handle, entropy.handle)
  tape?.record([logits, tokens], () => {
    const grad = tape.gradient(logProbs)
    tape.produce(logits, target =>
      ops.tokenLogProbBackward(handle, logits.handle, tokens.handle, temperature, grad.handle, target.handle),
    )
    tape.consume(logProbs)
  })
  return { logProbs, entropy }
}
