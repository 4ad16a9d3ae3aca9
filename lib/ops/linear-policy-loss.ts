// linear-policy-loss: the token objective from hidden states and the output matrix. Contract: native/ops/linear-policy-loss.h.
import type { Parameter, Tape } from '../autograd/tape.js'
import type { NativePolicyObjective } from '../native.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'
import { checkTargets, type TokenTargets, targetHandles } from './policy-loss.js'
import type { TokenLogProbs } from './token-log-prob.js'

/**
 * hidden [R, C], weight [V, C], tokens [R] int32. The loss is the root of the backward pass: the gradient of `hidden`
 * is on the tape and that of the weight is added when this returns.
 */
export function linearPolicyLoss(
  tape: Tape,
  hidden: Tensor,
  weight: Parameter,
  tokens: Tensor,
  temperature: number,
  targets: TokenTargets,
  objective: NativePolicyObjective,
  metrics: Tensor,
): TokenLogProbs {
  checkShapes(hidden, weight.value, tokens)
  checkTargets('linear-policy-loss', targets, hidden.rows)
  const { device } = hidden
  const logProbs = device.empty([hidden.rows])
  const entropy = device.empty([hidden.rows])
  tape.produce(hidden, gradHidden =>
    device.ops.linearPolicyLoss(
      device.handle,
      hidden.handle,
      weight.value.handle,
      tokens.handle,
      temperature,
      ...targetHandles(targets),
      objective,
      logProbs.handle,
      entropy.handle,
      gradHidden.handle,
      weight.gradient.handle,
      metrics.handle,
    ),
  )
  return { logProbs, entropy }
}

/** The forward half: log-probabilities and entropy [R], the same bits. */
export function linearLogProb(
  hidden: Tensor,
  weight: Tensor,
  tokens: Tensor,
  temperature: number,
): TokenLogProbs {
  checkShapes(hidden, weight, tokens)
  const { device } = hidden
  const logProbs = device.empty([hidden.rows])
  const entropy = device.empty([hidden.rows])
  device.ops.linearLogProb(
    device.handle,
    hidden.handle,
    weight.handle,
    tokens.handle,
    temperature,
    logProbs.handle,
    entropy.handle,
  )
  return { logProbs, entropy }
}

function checkShapes(hidden: Tensor, weight: Tensor, tokens: Tensor): void {
  const dtype = activationDtype(weight)
  checkTensor('linear-policy-loss', 'weight', weight, dtype, [-1, -1])
  checkTensor('linear-policy-loss', 'hidden', hidden, dtype, [-1, weight.columns])
  checkTensor('linear-policy-loss', 'tokens', tokens, 'int32', [hidden.rows])
}
