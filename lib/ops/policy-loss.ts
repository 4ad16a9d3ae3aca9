// policy-loss: the token objective from log-probabilities. Contract: native/ops/policy-loss.h.
import type { NativePolicyObjective } from '../native.js'
import type { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'
import { metricSums } from './policy-objective.js'

/** What the loss is told about each of R tokens. */
export interface TokenTargets {
  /** [R]; absent: the current log-probabilities are taken (ratio 1). */
  oldLogProbs?: Tensor | undefined
  /** [R] */
  advantages: Tensor
  /** [R]: the share of each token in the loss. */
  weights: Tensor
  /** [R] uint8, TokenKind */
  kinds: Tensor
  /** [R]; needed with klCoef. */
  refLogProbs?: Tensor | undefined
  /** [R]; absent: taken as 1. */
  teacherProbs?: Tensor | undefined
}

/** Zeroed sums for the loss kernels to add to. */
export function createMetricSums(device: Device): Tensor {
  return device.from(new Float64Array(metricSums.length), 'float64')
}

export function checkTargets(op: string, targets: TokenTargets, rows: number): void {
  checkTensor(op, 'advantages', targets.advantages, 'float32', [rows])
  checkTensor(op, 'weights', targets.weights, 'float32', [rows])
  checkTensor(op, 'kinds', targets.kinds, 'uint8', [rows])
  for (const name of ['oldLogProbs', 'refLogProbs', 'teacherProbs'] as const) {
    const tensor = targets[name]
    if (tensor) checkTensor(op, name, tensor, 'float32', [rows])
  }
}

/** The targets in the order in which the three loss kernels take them. */
export function targetHandles(targets: TokenTargets) {
  return [
    targets.oldLogProbs?.handle ?? null,
    targets.advantages.handle,
    targets.weights.handle,
    targets.kinds.handle,
    targets.refLogProbs?.handle ?? null,
    targets.teacherProbs?.handle ?? null,
  ] as const
}

/** logProbs [R] -> d loss / d logProbs [R]; the sums are added to `metrics`. */
export function policyLossKernel(
  logProbs: Tensor,
  targets: TokenTargets,
  objective: NativePolicyObjective,
  metrics: Tensor,
): Tensor {
  checkTensor('policy-loss', 'logProbs', logProbs, 'float32', [-1])
  checkTargets('policy-loss', targets, logProbs.rows)
  const { device } = logProbs
  const gradient = device.empty([logProbs.rows])
  device.ops.policyLoss(
    device.handle,
    logProbs.handle,
    ...targetHandles(targets),
    objective,
    gradient.handle,
    metrics.handle,
  )
  return gradient
}
