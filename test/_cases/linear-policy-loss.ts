// Cases of linear-policy-loss and of its forward half: the token objective from hidden states and the output matrix.
import { type Bfloat16Case, bfloat16Case, type Rounding, toBfloat16 } from './bfloat16.js'
import { dataOf, type HostTensors, integers, normal, type OpCase } from './case.js'
import { type LogitsLossSizes, logitsReference } from './logits-policy-loss.js'
import { makeTargets, plainObjective, targetHandles, variants } from './policy-loss.js'
import { rowStatistics } from './token-log-prob.js'

export type LinearLossSizes = Omit<LogitsLossSizes, 'holes' | 'spoiled' | 'deviation'> & {
  /** Hidden size. */
  c: number
  /** Of the logits and of their gradient. */
  rounding?: Rounding
}

function logitsOf(inputs: HostTensors, { rows, c, v, rounding = x => x }: LinearLossSizes): Float64Array {
  const [hidden, weight] = [dataOf(inputs, 'hidden'), dataOf(inputs, 'weight')]
  const logits = new Float64Array(rows * v)
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < v; i++) {
      let sum = 0
      for (let k = 0; k < c; k++) sum += hidden[r * c + k]! * weight[i * c + k]!
      logits[r * v + i] = rounding(sum)
    }
  }
  return logits
}

function makeHidden(random: Parameters<OpCase['make']>[0], { rows, c, v }: LinearLossSizes): HostTensors {
  return {
    hidden: normal(random, [rows, c]),
    weight: normal(random, [v, c], 2 / Math.sqrt(c)),
    tokens: integers(random, rows, v),
  }
}

export function linearLossCase(sizes: LinearLossSizes): OpCase {
  const { rows, c, v, temperature = 1, name = 'nothing on', targets = {}, rounding = x => x } = sizes
  const objective = { ...plainObjective, ...sizes.objective }
  return {
    name: `${rows}x${c}x${v}, ${name}${temperature === 1 ? '' : `, temperature ${temperature}`}`,
    flops: 6 * rows * c * v,
    bytes: 4 * (2 * rows * c + 3 * v * c),
    make(random) {
      const inputs = makeHidden(random, sizes)
      // A guess of the log-probabilities is near enough for targets of large vocabularies.
      const logits = rows * v < 1e5 ? logitsOf(inputs, sizes) : undefined
      const logProbs = Float64Array.from(dataOf(inputs, 'tokens'), (token, r) =>
        logits
          ? rowStatistics(logits.subarray(r * v, (r + 1) * v), temperature).logProbs[token]!
          : -Math.log(v),
      )
      return {
        ...inputs,
        ...makeTargets(random, logProbs, targets),
        gradWeight: normal(random, [v, c], 0.01),
      }
    },
    outputs: { logProbs: { shape: [rows] }, entropy: { shape: [rows] }, gradHidden: { shape: [rows, c] } },
    written: ['gradWeight', 'metrics'],
    enqueue: ({ ops, handle }, tensors) =>
      ops.linearPolicyLoss(
        handle,
        tensors.hidden!.handle,
        tensors.weight!.handle,
        tensors.tokens!.handle,
        temperature,
        ...targetHandles(tensors),
        objective,
        tensors.logProbs!.handle,
        tensors.entropy!.handle,
        tensors.gradHidden!.handle,
        tensors.gradWeight!.handle,
        tensors.metrics!.handle,
      ),
    reference(inputs) {
      const { gradient, ...rest } = logitsReference(
        logitsOf(inputs, sizes),
        v,
        temperature,
        objective,
        inputs,
      )
      const gradHidden = new Float64Array(rows * c)
      const gradWeight = Float64Array.from(dataOf(inputs, 'gradWeight'))
      for (let r = 0; r < rows; r++) {
        for (let i = 0; i < v; i++) {
          const g = rounding(gradient[r * v + i]!)
          for (let k = 0; k < c; k++) {
            gradHidden[r * c + k]! += g * dataOf(inputs, 'weight')[i * c + k]!
            gradWeight[i * c + k]! += g * dataOf(inputs, 'hidden')[r * c + k]!
          }
        }
      }
      return { gradHidden, gradWeight, ...rest }
    },
  }
}

export function linearLogProbCase(sizes: LinearLossSizes & { entropy?: boolean }): OpCase {
  const { rows, c, v, temperature = 1, entropy = true } = sizes
  return {
    name: `forward half ${rows}x${c}x${v}${entropy ? '' : ', no entropy'}`,
    flops: 2 * rows * c * v,
    bytes: 4 * (rows * c + v * c),
    make: random => makeHidden(random, sizes),
    outputs: { logProbs: { shape: [rows] }, ...(entropy ? { entropy: { shape: [rows] } } : {}) },
    enqueue: ({ ops, handle }, tensors) =>
      ops.linearLogProb(
        handle,
        tensors.hidden!.handle,
        tensors.weight!.handle,
        tensors.tokens!.handle,
        temperature,
        tensors.logProbs!.handle,
        tensors.entropy?.handle ?? null,
      ),
    reference(inputs) {
      const logits = logitsOf(inputs, sizes)
      const all = Array.from(dataOf(inputs, 'tokens'), (token, r) => {
        const row = rowStatistics(logits.subarray(r * v, (r + 1) * v), temperature)
        return { logProb: row.logProbs[token]!, entropy: row.entropy }
      })
      return {
        logProbs: all.map(row => row.logProb),
        ...(entropy ? { entropy: all.map(row => row.entropy) } : {}),
      }
    },
  }
}

export const cases: readonly OpCase[] = [
  linearLossCase({ rows: 0, c: 3, v: 5 }),
  linearLossCase({ rows: 1, c: 1, v: 1 }),
  linearLossCase({ rows: 3, c: 17, v: 123 }),
  ...variants.map(variant => linearLossCase({ rows: 37, c: 17, v: 53, ...variant })),
  linearLossCase({
    rows: 67,
    c: 33,
    v: 523,
    temperature: 0.6,
    name: 'entropy',
    objective: { entropyShare: 0.01, shaping: 1 },
  }),
  // Several chunks of rows: at most 4 Mi logits exist at a time, and at least 64 rows.
  linearLossCase({
    rows: 101,
    c: 3,
    v: 65_537,
    name: 'two chunks',
    objective: { shaping: 1, entropyShare: 1e-3 },
  }),
  // Two chunks on the emulated device.
  linearLossCase({ rows: 67, c: 1, v: 16_411, name: 'entropy', objective: { entropyShare: 1e-3 } }),
  linearLogProbCase({ rows: 67, c: 1, v: 16_411 }),
  linearLogProbCase({ rows: 0, c: 3, v: 5 }),
  linearLogProbCase({ rows: 17, c: 123, v: 131, temperature: 0.5 }),
  linearLogProbCase({ rows: 17, c: 123, v: 131, entropy: false }),
]

/** hidden, weight, logits and gradHidden in bfloat16; a plain computation rounds the logits and their gradient too. */
const bfloat16Sizes: readonly LinearLossSizes[] = [
  { rows: 3, c: 17, v: 123 },
  ...variants.slice(0, 2).map(variant => ({ rows: 37, c: 24, v: 56, ...variant })),
  {
    rows: 67,
    c: 33,
    v: 131,
    temperature: 0.6,
    name: 'entropy',
    objective: { entropyShare: 0.01, shaping: 1 },
  },
  // Two chunks.
  { rows: 67, c: 1, v: 16_411, name: 'entropy', objective: { entropyShare: 1e-3 } },
]
const halfNames = ['hidden', 'weight', 'gradHidden']
const rounding = toBfloat16
const forwardSize = { rows: 17, c: 123, v: 131, temperature: 0.5 }
export const bfloat16Cases: readonly Bfloat16Case[] = [
  ...bfloat16Sizes.map(size =>
    bfloat16Case(linearLossCase(size), halfNames, linearLossCase({ ...size, rounding })),
  ),
  bfloat16Case(linearLogProbCase(forwardSize), halfNames, linearLogProbCase({ ...forwardSize, rounding })),
]
