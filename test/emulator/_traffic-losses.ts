// Kernel traffic of what walks over logits: the losses, log-probabilities and sampling.
import type { NativeSamplingOptions } from '../../lib/native.js'
import { logitsLossCase } from '../_cases/logits-policy-loss.js'
import { policyLossCase } from '../_cases/policy-loss.js'
import { samplingCase } from '../_cases/sample-tokens.js'
import * as tokenLogProb from '../_cases/token-log-prob.js'
import type { Bound, TrafficCase } from './_traffic.js'
import { inBoth, type Width } from './_traffic-rows.js'

/** Sums of the policy losses' metrics, float64 each. */
const metrics = 18
/** Of a row: old log-probability, advantage, weight and kind. */
const targets = 13

export const metricSums = (rows: number): Bound => ({
  reads: 8 * metrics * (rows + 1),
  writes: 8 * metrics,
  flops: metrics * rows,
})

/** Each logit is read once and written once. */
export const logitsLoss = (rows: number, v: number, bytes: Width): Bound => ({
  reads: bytes * rows * v + (targets + 4) * rows,
  writes: bytes * rows * v + (8 + 8 * metrics) * rows,
  flops: 10 * rows * v,
  // A row's token and the logit of it, and its targets for every block of a cluster.
  scalars: 8,
})

const secondWalk = 'the gradient needs the sum over the row: a second walk'
/** At most twice, and not again where the row is masked: short rows, and those that do not fit in shared memory. */
const logitsLossTwice = (rows: number, v: number, bytes: Width): Bound => ({
  ...logitsLoss(rows, v, bytes),
  again: { reads: bytes * rows * v, why: secondWalk },
})

export const logProbs = (rows: number, v: number, bytes: Width): Bound => ({
  reads: bytes * rows * v + 4 * rows,
  writes: 8 * rows,
  flops: 4 * rows * v,
  scalars: bytes,
})

const policyLoss = (rows: number): TrafficCase => ({
  stem: 'policy-loss',
  op: policyLossCase({ rows }),
  kernels: {
    policy_loss_kernel: {
      reads: (targets + 4) * rows,
      writes: (4 + 8 * metrics) * rows,
      flops: 40 * rows,
    },
    policy_metrics_kernel: metricSums(rows),
  },
})

const logitsPolicyLoss = (rows: number, v: number, how: 'staged' | 'twice', arch?: TrafficCase['arch']) =>
  inBoth(
    'logits-policy-loss',
    logitsLossCase({ rows, v, name: arch === undefined ? how : `${how}, clusters of sm_${arch}` }),
    ['logits'],
    (bytes): Record<string, Bound> => ({
      ...(how === 'staged'
        ? { logits_policy_loss_staged_kernel: logitsLoss(rows, v, bytes) }
        : { logits_policy_loss_kernel: logitsLossTwice(rows, v, bytes) }),
      policy_metrics_kernel: metricSums(rows),
    }),
  ).map(oneCase => (arch === undefined ? oneCase : { ...oneCase, arch }))

const logProbForward = (rows: number, v: number) =>
  inBoth('token-log-prob', tokenLogProb.forwardCase({ rows, v }), ['logits'], bytes => ({
    token_log_prob_forward_kernel: logProbs(rows, v, bytes),
  }))
const logProbBackward = (rows: number, v: number) =>
  inBoth('token-log-prob', tokenLogProb.backwardCase({ rows, v }), ['logits', 'gradLogits'], bytes => ({
    token_log_prob_backward_kernel: {
      reads: bytes * rows * v + 8 * rows,
      writes: bytes * rows * v,
      flops: 6 * rows * v,
      scalars: 8,
      again: { reads: bytes * rows * v, why: secondWalk },
    },
  }))

/** `filters`: by count or by weight; `ties`: walks in search of the last token kept. */
const sample = (
  rows: number,
  v: number,
  options: Partial<NativeSamplingOptions>,
  filters: number,
  ties: number,
): TrafficCase => ({
  stem: 'sample-tokens',
  op: samplingCase({ rows, v, options }),
  kernels: {
    sample_tokens_kernel: {
      reads: 4 * rows * v + (options.temperature === 0 ? 0 : 12 * rows),
      writes: 20 * rows,
      flops: 3 * rows * v,
      scalars: 64,
      again: {
        // A search reads a row, then a warp's part of what is left.
        reads: 4 * rows * v * (3 * filters + (v > 1024 ? 17 / 16 : 2) * (ties + 1)),
        why: 'after the statistics three walks for every filter, one for ties and one for the draw',
      },
    },
  },
})

export const lossCases: readonly TrafficCase[] = [
  policyLoss(1024),
  ...logitsPolicyLoss(8, 8192, 'staged'),
  ...logitsPolicyLoss(4, 32_768, 'staged', '120'),
  ...logitsPolicyLoss(4, 49_152, 'staged', '90'),
  ...logitsPolicyLoss(32, 512, 'twice'),
  ...logitsPolicyLoss(4, 49_152, 'twice'),
  ...logProbForward(8, 8192),
  ...logProbForward(32, 512),
  ...logProbBackward(8, 8192),
  ...logProbBackward(32, 512),
  sample(4, 8192, {}, 0, 0),
  sample(16, 512, {}, 0, 0),
  sample(4, 8192, { temperature: 0 }, 0, 0),
  sample(4, 8192, { topK: 50 }, 1, 1),
  sample(4, 8192, { topP: 0.9 }, 1, 1),
  sample(4, 8192, { minP: 0.05 }, 0, 0),
  sample(4, 8192, { topK: 50, topP: 0.95, minP: 0.05 }, 2, 1),
]
