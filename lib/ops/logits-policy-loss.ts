// logits-policy-loss: the token objective from logits, gradient in place. Contract: native/ops/logits-policy-loss.h.
import type { NativePolicyObjective } from '../native.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'
import { checkTargets, type TokenTargets, targetHandles } from './policy-loss.js'
import type { TokenLogProbs } from './token-log-prob.js'

/** logits [R, V] become their gradient; tokens [R] int32. Returns log-probabilities and entropy, [R] each. */
export function logitsPolicyLossKernel(
  logits: Tensor,
  tokens: Tensor,
  temperature: number,
  targets: TokenTargets,
  objective: NativePolicyObjective,
  metrics: Tensor,
): TokenLogProbs {
  checkTensor('logits-policy-loss', 'logits', logits, activationDtype(logits), [-1, -1])
  checkTensor('logits-policy-loss', 'tokens', tokens, 'int32', [logits.rows])
  checkTargets('logits-policy-loss', targets, logits.rows)
  const { device } = logits
  const logProbs = device.empty([logits.rows])
  const entropy = device.empty([logits.rows])
  device.ops.logitsPolicyLoss(
    device.handle,
    logits.handle,
    tokens.handle,
    temperature,
    ...targetHandles(targets),
    objective,
    logProbs.handle,
    entropy.handle,
    metrics.handle,
  )
  return { logProbs, entropy }
}
