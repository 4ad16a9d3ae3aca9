// Cases of sample-tokens, and the float64 reference: which tokens the filters keep, with what probability, and which of
// them a uniform number picks.
import type { NativeSamplingOptions } from '../../lib/native.js'
import { philox, seedWords, uniform } from '../../lib/random.js'
import { dataOf, type HostTensors, int32, normal, type OpCase } from './case.js'
import { rowStatistics } from './token-log-prob.js'

export const plainSampling: NativeSamplingOptions = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: 5 }

/** The distribution that a token is drawn from: log-probabilities, -infinity where a filter took the token away. */
export function drawnFrom(logits: ArrayLike<number>, o: NativeSamplingOptions): Float64Array {
  const { logProbs } = rowStatistics(logits, o.temperature)
  // Largest first, the lower index first among equals.
  const order = Array.from(logProbs.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b)
  let kept = o.topK > 0 ? order.slice(0, o.topK) : order
  const massOf = (tokens: number[]) => tokens.reduce((sum, i) => sum + Math.exp(logProbs[i]!), 0)
  if (o.topP < 1) {
    const target = o.topP * massOf(kept)
    let mass = 0
    let count = 0
    while (count < kept.length && (count === 0 || mass < target)) mass += Math.exp(logProbs[kept[count++]!]!)
    kept = kept.slice(0, count)
  }
  const least = logProbs[order[0]!]! + Math.log(o.minP)
  kept = kept.filter(i => logProbs[i]! >= least)
  const total = Math.log(massOf(kept))
  const result = new Float64Array(logProbs.length).fill(Number.NEGATIVE_INFINITY)
  for (const i of kept) result[i] = kept.length === 1 ? 0 : logProbs[i]! - total
  return result
}

/** The uniform number of a row: all that its draw depends on is the seed and its counter. */
export function uniformOf(seed: number, counter: ArrayLike<number>): number {
  const words = philox(...seedWords(seed), counter[0]!, counter[1]!, counter[2]!, 0)
  return uniform(words[0]!, words[1]!)
}

export interface Draw {
  token: number
  logProb: number
  drawnLogProb: number
  entropy: number
  bad: boolean
  /** How far the uniform number is from a boundary between tokens: below rounding, its neighbour is as right. */
  margin: number
}

export function drawReference(
  logits: ArrayLike<number>,
  counter: ArrayLike<number>,
  o: NativeSamplingOptions,
): Draw {
  const greedy = o.temperature === 0
  const unfiltered = rowStatistics(logits, greedy ? 1 : o.temperature)
  const { entropy } = unfiltered
  if (Number.isNaN(entropy))
    return { token: 0, logProb: Number.NaN, drawnLogProb: Number.NaN, entropy, bad: true, margin: 1 }
  if (greedy) {
    const token = Array.from(logits).indexOf(Array.from(logits).reduce((a, b) => Math.max(a, b)))
    return { token, logProb: unfiltered.logProbs[token]!, drawnLogProb: 0, entropy, bad: false, margin: 1 }
  }
  const distribution = drawnFrom(logits, o)
  const u = uniformOf(o.seed, counter)
  let sum = 0
  let token = 0
  let margin = 1
  for (let i = 0; i < distribution.length; i++) {
    if (distribution[i] === Number.NEGATIVE_INFINITY) continue
    if (sum > u) break
    token = i
    margin = u - sum
    sum += Math.exp(distribution[i]!)
    margin = Math.min(margin, Math.abs(sum - u))
  }
  return {
    token,
    logProb: unfiltered.logProbs[token]!,
    drawnLogProb: Math.min(0, distribution[token]!),
    entropy,
    bad: false,
    margin,
  }
}

export interface SamplingSizes {
  rows: number
  /** Vocabulary. */
  v: number
  options?: Partial<NativeSamplingOptions>
  deviation?: number
  gap?: number
}

export function samplingCase(sizes: SamplingSizes): OpCase {
  const { rows, v, options = {}, deviation = 2, gap = 0 } = sizes
  const o = { ...plainSampling, ...options }
  const marks = Object.entries(options).map(([name, value]) => `${name} ${value}`)
  if (gap > 0) marks.push('strided')
  return {
    name: [`${rows}x${v}`, ...marks].join(', '),
    flops: 3 * rows * v,
    bytes: 4 * rows * v,
    make: random => ({
      logits: normal(random, [rows, v], deviation, gap),
      counters: {
        ...int32(
          Array.from({ length: rows * 3 }, () => random.integer(1 << 30)),
          [rows, 3],
        ),
        gap,
      },
    }),
    outputs: {
      tokens: { shape: [rows], dtype: 'int32' },
      logProbs: { shape: [rows] },
      drawnLogProbs: { shape: [rows] },
      entropy: { shape: [rows] },
      bad: { shape: [rows], dtype: 'int32' },
    },
    enqueue: ({ ops, handle }, tensors) =>
      ops.sampleTokens(
        handle,
        tensors.logits!.handle,
        tensors.counters!.handle,
        o,
        tensors.tokens!.handle,
        tensors.logProbs!.handle,
        tensors.drawnLogProbs!.handle,
        tensors.entropy?.handle ?? null,
        tensors.bad!.handle,
      ),
    reference(inputs: HostTensors) {
      const logits = dataOf(inputs, 'logits')
      const counters = dataOf(inputs, 'counters')
      const draws = Array.from({ length: rows }, (_, r) =>
        drawReference(logits.subarray(r * v, (r + 1) * v), counters.subarray(3 * r, 3 * r + 3), o),
      )
      const unclear = draws.findIndex(draw => draw.margin < 1e-7)
      if (unclear >= 0)
        throw new Error(`row ${unclear} falls on a boundary between tokens: choose another seed`)
      return {
        tokens: draws.map(draw => draw.token),
        logProbs: draws.map(draw => draw.logProb),
        drawnLogProbs: draws.map(draw => draw.drawnLogProb),
        entropy: draws.map(draw => draw.entropy),
        bad: draws.map(draw => Number(draw.bad)),
      }
    },
  }
}

const filters: readonly Partial<NativeSamplingOptions>[] = [
  {},
  { temperature: 0 },
  { temperature: 0.5 },
  { temperature: 3 },
  { topK: 1 },
  { topK: 5 },
  { topP: 0.1 },
  { topP: 0.9 },
  { minP: 0.05 },
  { topK: 20, topP: 0.8 },
  { topK: 20, minP: 0.1 },
  { topP: 0.95, minP: 0.02 },
  { topK: 40, topP: 0.95, minP: 0.03, temperature: 0.8 },
  { topK: 1_000_000 },
  { seed: 2 ** 40 + 7 },
]

export const cases: readonly OpCase[] = [
  samplingCase({ rows: 0, v: 5 }),
  samplingCase({ rows: 1, v: 1 }),
  samplingCase({ rows: 3, v: 17 }),
  ...filters.flatMap(options => [
    samplingCase({ rows: 31, v: 123, options }),
    // More than one chunk of the statistics, and wide enough for the search by blocks.
    samplingCase({ rows: 3, v: 5003, options, gap: 3 }),
  ]),
  // Many rows for every thread; with so few columns they are more than the blocks of a grid, too.
  samplingCase({ rows: 331, v: 1009, options: { topK: 40, topP: 0.95, minP: 0.03 } }),
  samplingCase({ rows: 2111, v: 2 }),
  samplingCase({ rows: 3, v: 70_001, options: { topP: 0.9 } }),
  samplingCase({ rows: 70_001, v: 5 }),
]
