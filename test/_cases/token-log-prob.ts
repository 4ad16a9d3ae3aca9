// Cases of token-log-prob: log-probability of a token per row, entropy of the row, and the gradient to the logits.
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, type HostTensors, integers, normal, type OpCase } from './case.js'

export interface RowStatistics {
  /** log softmax(x / temperature), per column. */
  logProbs: Float64Array
  entropy: number
}

/** One row in float64. NaN everywhere when a logit is NaN or +infinity, or when all are -infinity. */
export function rowStatistics(x: ArrayLike<number>, temperature: number): RowStatistics {
  const z = Float64Array.from(x, value => value / temperature)
  const largest = z.reduce(
    (a, b) => (Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.max(a, b)),
    Number.NEGATIVE_INFINITY,
  )
  const lse = largest + Math.log(z.reduce((sum, value) => sum + Math.exp(value - largest), 0))
  const logProbs = z.map(value => value - lse)
  let entropy = Number.isFinite(lse) ? 0 : Number.NaN
  for (const logProb of logProbs) {
    if (logProb !== Number.NEGATIVE_INFINITY) entropy -= Math.exp(logProb) * logProb
  }
  return { logProbs, entropy }
}

export interface RowSizes {
  rows: number
  /** Vocabulary. */
  v: number
  temperature?: number
  /** Of the logits. */
  deviation?: number
  /** A tenth of the logits are -infinity (never the token's own). */
  holes?: boolean
  /** Of logits and their gradient. */
  gap?: number
}

export function makeRows(
  random: Parameters<OpCase['make']>[0],
  { rows, v, deviation = 2, holes = false, gap = 0 }: RowSizes,
): HostTensors {
  const logits = normal(random, [rows, v], deviation, gap)
  const tokens = integers(random, rows, Math.max(v, 1))
  if (holes) {
    for (let i = 0; i < rows * v; i++) {
      if (random.chance(0.1) && i % v !== tokens.data[Math.floor(i / v)])
        logits.data[i] = Number.NEGATIVE_INFINITY
    }
  }
  return { logits, tokens }
}

function nameOf(
  kind: string,
  { rows, v, temperature = 1, deviation = 2, holes, gap }: RowSizes,
  ...more: (string | false)[]
): string {
  const marks = [
    temperature !== 1 && `temperature ${temperature}`,
    deviation !== 2 && `deviation ${deviation}`,
    holes && 'logits of -infinity',
    gap && 'strided',
    ...more,
  ]
  return [`${kind} ${rows}x${v}`, ...marks.filter(Boolean)].join(', ')
}

export function forwardCase(sizes: RowSizes & { entropy?: boolean }): OpCase {
  const { rows, v, temperature = 1, entropy = true } = sizes
  return {
    name: nameOf('forward', sizes, !entropy && 'no entropy'),
    flops: 4 * rows * v,
    bytes: 4 * rows * v,
    make: random => makeRows(random, sizes),
    outputs: { logProbs: { shape: [rows] }, ...(entropy ? { entropy: { shape: [rows] } } : {}) },
    enqueue: ({ ops, handle }, tensors) =>
      ops.tokenLogProbForward(
        handle,
        tensors.logits!.handle,
        tensors.tokens!.handle,
        temperature,
        tensors.logProbs!.handle,
        tensors.entropy?.handle ?? null,
      ),
    reference(inputs) {
      const logits = dataOf(inputs, 'logits')
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

/** `inPlace`: the gradient is written over the logits. */
export function backwardCase(sizes: RowSizes & { inPlace?: boolean }): OpCase {
  const { rows, v, temperature = 1, inPlace = false } = sizes
  const result = inPlace ? 'logits' : 'gradLogits'
  return {
    name: nameOf('backward', sizes, inPlace && 'in place'),
    flops: 6 * rows * v,
    bytes: 8 * rows * v,
    make: random => ({ ...makeRows(random, sizes), gradLogProbs: normal(random, [rows]) }),
    outputs: inPlace ? {} : { gradLogits: { shape: [rows, v], gap: sizes.gap } },
    written: inPlace ? ['logits'] : [],
    enqueue: ({ ops, handle }, tensors) =>
      ops.tokenLogProbBackward(
        handle,
        tensors.logits!.handle,
        tensors.tokens!.handle,
        temperature,
        tensors.gradLogProbs!.handle,
        tensors[result]!.handle,
      ),
    reference(inputs) {
      const logits = dataOf(inputs, 'logits')
      const gradient = new Float64Array(rows * v)
      for (let r = 0; r < rows; r++) {
        const { logProbs } = rowStatistics(logits.subarray(r * v, (r + 1) * v), temperature)
        for (let i = 0; i < v; i++) {
          const hit = i === dataOf(inputs, 'tokens')[r]! ? 1 : 0
          gradient[r * v + i] =
            (dataOf(inputs, 'gradLogProbs')[r]! * (hit - Math.exp(logProbs[i]!))) / temperature
        }
      }
      return { [result]: gradient }
    },
  }
}

const sizes: readonly RowSizes[] = [
  { rows: 0, v: 5 },
  { rows: 1, v: 1 },
  { rows: 3, v: 17 },
  { rows: 17, v: 123, temperature: 0.5, holes: true },
  { rows: 5, v: 2048 },
  { rows: 5, v: 2049, temperature: 3 },
  { rows: 7, v: 5003, deviation: 30, holes: true },
  { rows: 3, v: 131_071 },
  { rows: 70_001, v: 3 },
  { rows: 3, v: 20 },
  { rows: 3, v: 20, gap: 4 },
  { rows: 2, v: 1024, holes: true },
  { rows: 2, v: 20_012, temperature: 0.7 },
  { rows: 2, v: 16_411, deviation: 10 },
  // The shortest row of several segments.
  { rows: 2, v: 16_384 },
]

export const cases: readonly OpCase[] = [
  ...sizes.flatMap(size => [forwardCase(size), backwardCase(size)]),
  forwardCase({ rows: 17, v: 123, entropy: false }),
  backwardCase({ rows: 17, v: 2111, holes: true, inPlace: true }),
  backwardCase({ rows: 3, v: 9004, inPlace: true }),
]

/** Statistics are float32: only the gradient is rounded. */
export const bfloat16Cases: readonly Bfloat16Case[] = [
  { rows: 0, v: 5 },
  { rows: 3, v: 17 },
  { rows: 17, v: 124, temperature: 0.5, holes: true },
  { rows: 5, v: 2049, temperature: 3 },
  { rows: 2, v: 9012, deviation: 10 },
].flatMap(size => [
  bfloat16Case(forwardCase(size), ['logits']),
  bfloat16Case(backwardCase(size), ['logits', 'gradLogits']),
])
