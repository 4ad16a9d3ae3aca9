// Cases of logits-policy-loss: the token objective from logits, whose gradient takes the place of the logits.
import type { NativePolicyObjective } from '../../lib/native.js'
import { TokenKind } from '../../lib/ops/policy-objective.js'
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, type HostTensors, type OpCase } from './case.js'
import {
  makeTargets,
  metricsOf,
  plainObjective,
  type TargetOptions,
  targetHandles,
  tokenOf,
  tokenReference,
  variants,
} from './policy-loss.js'
import { makeRows, rowStatistics } from './token-log-prob.js'

export interface LogitsLossSizes {
  rows: number
  /** Vocabulary. */
  v: number
  temperature?: number
  deviation?: number
  /** A tenth of the logits are -infinity. */
  holes?: boolean
  /** Rows of masked tokens hold NaN. */
  spoiled?: boolean
  name?: string
  objective?: Partial<NativePolicyObjective>
  targets?: TargetOptions
}

/** Gradients of the logits, log-probabilities, entropies and metrics of all rows. */
export function logitsReference(
  logits: ArrayLike<number> & { subarray(begin: number, end: number): ArrayLike<number> },
  v: number,
  temperature: number,
  objective: NativePolicyObjective,
  inputs: HostTensors,
) {
  const tokens = dataOf(inputs, 'tokens')
  const rows = tokens.length
  const [gradient, logProbs, entropy] = [
    new Float64Array(rows * v),
    new Float64Array(rows),
    new Float64Array(rows),
  ]
  const sums: Record<string, number> = {}
  for (let r = 0; r < rows; r++) {
    const row = rowStatistics(logits.subarray(r * v, (r + 1) * v), temperature)
    logProbs[r] = row.logProbs[tokens[r]!]!
    entropy[r] = row.entropy
    const token = tokenOf(inputs, r, logProbs[r]!)
    const [, slope] = tokenReference(objective, token, sums)
    if (token.kind === TokenKind.masked) continue
    sums.entropy = (sums.entropy ?? 0) + row.entropy
    for (let i = 0; i < v; i++) {
      const q = Math.exp(row.logProbs[i]!)
      const bonus = q > 0 ? objective.entropyShare * q * (row.logProbs[i]! + row.entropy) : 0
      gradient[r * v + i] = (slope * ((i === tokens[r]! ? 1 : 0) - q) + bonus) / temperature
    }
  }
  return { gradient, logProbs, entropy, metrics: metricsOf(dataOf(inputs, 'metrics'), sums) }
}

export function logitsLossCase(sizes: LogitsLossSizes): OpCase {
  const { rows, v, temperature = 1, name = 'nothing on', targets = {}, spoiled = false } = sizes
  const objective = { ...plainObjective, ...sizes.objective }
  const marks = [
    name,
    temperature !== 1 && `temperature ${temperature}`,
    sizes.deviation !== undefined && `deviation ${sizes.deviation}`,
    sizes.holes && 'logits of -infinity',
    spoiled && 'masked rows of NaN',
  ]
  return {
    name: [`${rows}x${v}`, ...marks.filter(Boolean)].join(', '),
    flops: 10 * rows * v,
    bytes: 8 * rows * v,
    make(random) {
      const { logits, tokens } = makeRows(random, sizes)
      const logProbs = Float64Array.from(tokens!.data, (token, r) => {
        const { logProbs } = rowStatistics(logits!.data.subarray(r * v, (r + 1) * v), temperature)
        return logProbs[token]!
      })
      const inputs: HostTensors = {
        logits: logits!,
        tokens: tokens!,
        ...makeTargets(random, logProbs, targets),
      }
      for (let r = 0; spoiled && r < rows; r++) {
        if (inputs.kinds!.data[r] === TokenKind.masked) logits!.data.fill(Number.NaN, r * v, (r + 1) * v)
      }
      return inputs
    },
    outputs: { logProbs: { shape: [rows] }, entropy: { shape: [rows] } },
    written: ['logits', 'metrics'],
    enqueue: ({ ops, handle }, tensors) =>
      ops.logitsPolicyLoss(
        handle,
        tensors.logits!.handle,
        tensors.tokens!.handle,
        temperature,
        ...targetHandles(tensors),
        objective,
        tensors.logProbs!.handle,
        tensors.entropy!.handle,
        tensors.metrics!.handle,
      ),
    reference(inputs) {
      const { gradient, ...rest } = logitsReference(
        dataOf(inputs, 'logits'),
        v,
        temperature,
        objective,
        inputs,
      )
      return { logits: gradient, ...rest }
    },
  }
}

export const cases: readonly OpCase[] = [
  logitsLossCase({ rows: 0, v: 5 }),
  logitsLossCase({ rows: 1, v: 1 }),
  logitsLossCase({ rows: 3, v: 17 }),
  ...variants.map(variant => logitsLossCase({ rows: 67, v: 123, ...variant })),
  logitsLossCase({
    rows: 67,
    v: 123,
    temperature: 0.6,
    spoiled: true,
    name: 'entropy',
    objective: { entropyShare: 0.01 },
  }),
  logitsLossCase({
    rows: 17,
    v: 2111,
    temperature: 2,
    holes: true,
    name: 'entropy',
    objective: { entropyShare: -0.3 },
  }),
  logitsLossCase({
    rows: 17,
    v: 5003,
    deviation: 30,
    holes: true,
    name: 'entropy',
    objective: { entropyShare: 0.1, shaping: 1 },
  }),
  // Rows that a block and a warp of a CUDA device walk over in large steps, with a rest.
  logitsLossCase({ rows: 7, v: 8209, spoiled: true, name: 'entropy', objective: { entropyShare: 0.1 } }),
  logitsLossCase({ rows: 7, v: 709, spoiled: true, name: 'entropy', objective: { entropyShare: 0.1 } }),
  // A row of eight segments, which a block takes alone or the blocks of a cluster share.
  logitsLossCase({ rows: 1, v: 16_391, name: 'entropy', objective: { entropyShare: 0.1 } }),
  // More rows than one launch has metrics for.
  logitsLossCase({ rows: 16_500, v: 3, name: 'regularized', objective: { shaping: 1 } }),
  logitsLossCase({ rows: 3, v: 70_001, name: 'regularized', objective: { shaping: 1 } }),
  logitsLossCase({ rows: 70_001, v: 3, name: 'regularized', objective: { shaping: 1 } }),
]

export const bfloat16Cases: readonly Bfloat16Case[] = [
  logitsLossCase({ rows: 0, v: 5 }),
  ...variants.slice(0, 3).map(variant => logitsLossCase({ rows: 19, v: 123, ...variant })),
  logitsLossCase({ rows: 7, v: 2112, temperature: 2, name: 'entropy', objective: { entropyShare: -0.3 } }),
  logitsLossCase({ rows: 3, v: 9012, name: 'entropy', objective: { entropyShare: 0.1, shaping: 1 } }),
].map(oneCase => bfloat16Case(oneCase, ['logits']))
