// Cases of attention: packed sequences, shared prefixes, grouped queries; forward and backward by plain loops.
import type { Rounding } from './bfloat16.js'
import { dataOf, type HostTensors, int32, normal, type OpCase } from './case.js'

/** {start, length, prefixStart, prefixLength}, as the op takes it. */
export type Sequence = readonly [start: number, length: number, prefixStart: number, prefixLength: number]

export interface AttentionSizes {
  /** Query heads, key/value heads, head dimension. */
  h: number
  k: number
  d: number
  /** Rows of q, k and v. */
  tokens: number
  sequences: readonly Sequence[]
  gap?: number
  scale?: number
  /** Of q and k: large ones make every softmax certain. */
  deviation?: number
  /** Of the arguments, before out and lse are made of them. */
  argumentRounding?: Rounding
  /** Of scores, probabilities and their gradients, in the reference. */
  stepRounding?: Rounding
}

const exact: Rounding = x => x

/** Sequences of these lengths, end to end. */
export function packed(...lengths: number[]): { tokens: number; sequences: Sequence[] } {
  let start = 0
  const sequences = lengths.map(length => {
    start += length
    return [start - length, length, 0, 0] as const
  })
  return { tokens: start, sequences }
}

/** Rows of keys that position i of the sequence sees, in order. */
function rowsSeen([start, , prefixStart, prefixLength]: Sequence, i: number): number[] {
  return [
    ...Array.from({ length: prefixLength }, (_, p) => prefixStart + p),
    ...Array.from({ length: i + 1 }, (_, p) => start + p),
  ]
}

interface Softmax {
  row: number
  seen: number[]
  probabilities: Float64Array
  lse: number
}

/** The softmax of every query of a head, in float64. */
function* softmaxes(inputs: HostTensors, sizes: AttentionSizes, head: number): Generator<Softmax> {
  const { h, k, d, sequences, scale = 1 / Math.sqrt(d), stepRounding = exact } = sizes
  const [q, keys] = [dataOf(inputs, 'q'), dataOf(inputs, 'k')]
  const group = Math.floor(head / (h / k))
  for (const sequence of sequences) {
    for (let i = 0; i < sequence[1]; i++) {
      const row = sequence[0] + i
      const seen = rowsSeen(sequence, i)
      const scores = Float64Array.from(seen, from => {
        let dot = 0
        for (let e = 0; e < d; e++) dot += q[(row * h + head) * d + e]! * keys[(from * k + group) * d + e]!
        return stepRounding(dot * scale)
      })
      const largest = scores.reduce((a, b) => Math.max(a, b))
      const lse = largest + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - largest), 0))
      yield { row, seen, probabilities: scores.map(s => stepRounding(Math.exp(s - lse))), lse }
    }
  }
}

/** out and lse; rows that no sequence owns stay NaN. */
export function attentionReference(inputs: HostTensors, sizes: AttentionSizes) {
  const { h, k, d, tokens } = sizes
  const v = dataOf(inputs, 'v')
  const out = new Float64Array(tokens * h * d).fill(Number.NaN)
  const lse = new Float64Array(tokens * h).fill(Number.NaN)
  for (let head = 0; head < h; head++) {
    const group = Math.floor(head / (h / k))
    for (const softmax of softmaxes(inputs, sizes, head)) {
      lse[softmax.row * h + head] = softmax.lse
      for (let e = 0; e < d; e++) {
        let sum = 0
        softmax.seen.forEach((from, p) => {
          sum += softmax.probabilities[p]! * v[(from * k + group) * d + e]!
        })
        out[(softmax.row * h + head) * d + e] = sum
      }
    }
  }
  return { out, lse }
}

function makeInputs(random: Parameters<OpCase['make']>[0], sizes: AttentionSizes): HostTensors {
  const { h, k, d, tokens, sequences, gap = 0, deviation = 1, argumentRounding = exact } = sizes
  const matrix = (heads: number, deviation: number) => {
    const result = normal(random, [tokens, heads * d], deviation, gap)
    return { ...result, data: Float32Array.from(result.data, argumentRounding) }
  }
  return {
    q: matrix(h, deviation),
    k: matrix(k, deviation),
    v: matrix(k, 1),
    sequences: int32(sequences.flat(), [sequences.length, 4]),
  }
}

/** Pairs of a query and a key that it sees. */
function pairs(sequences: readonly Sequence[]): number {
  return sequences.reduce((sum, [, n, , p]) => sum + n * p + (n * (n + 1)) / 2, 0)
}

function nameOf(kind: string, sizes: AttentionSizes, what: string): string {
  const { h, k, d, tokens, gap } = sizes
  return `${kind} ${what}, ${tokens} tokens, ${h}/${k} heads of ${d}${gap ? ', strided' : ''}`
}

/** `lse: false`: it is not asked for; the heads then follow from the rank of q. */
export function forwardCase(what: string, sizes: AttentionSizes, { lse = true } = {}): OpCase {
  const { h, k, d, tokens, sequences, gap = 0, scale = 1 / Math.sqrt(d) } = sizes
  return {
    name: nameOf('forward', sizes, lse ? what : `${what}, no lse`),
    flops: 4 * h * d * pairs(sequences),
    bytes: 4 * tokens * (2 * h + 2 * k) * d,
    make(random) {
      const inputs = makeInputs(random, sizes)
      if (!lse) inputs.q = { ...inputs.q!, shape: [tokens, h, d] }
      return inputs
    },
    outputs: { out: { shape: [tokens, h * d], gap }, ...(lse ? { lse: { shape: [tokens, h] } } : {}) },
    enqueue: ({ ops, handle }, tensors) =>
      ops.attentionForward(
        handle,
        tensors.q!.handle,
        tensors.k!.handle,
        tensors.v!.handle,
        tensors.sequences!.handle,
        scale,
        tensors.out!.handle,
        tensors.lse?.handle ?? null,
      ),
    reference(inputs) {
      const result = attentionReference(inputs, sizes)
      return lse ? result : { out: result.out }
    },
  }
}

export function backwardCase(what: string, sizes: AttentionSizes): OpCase {
  const { h, k, d, tokens, sequences, gap = 0, scale = 1 / Math.sqrt(d), stepRounding = exact } = sizes
  return {
    name: nameOf('backward', sizes, what),
    flops: 10 * h * d * pairs(sequences),
    bytes: 4 * tokens * (4 * h + 4 * k) * d,
    make(random) {
      const inputs = makeInputs(random, sizes)
      const { out, lse } = attentionReference(inputs, sizes)
      return {
        ...inputs,
        gradOut: normal(random, [tokens, h * d], 1, gap),
        out: { dtype: 'float32', shape: [tokens, h * d], data: Float32Array.from(out), gap },
        lse: { dtype: 'float32', shape: [tokens, h], data: Float32Array.from(lse) },
      }
    },
    outputs: {
      gradQ: { shape: [tokens, h * d], gap },
      gradK: { shape: [tokens, k * d], gap },
      gradV: { shape: [tokens, k * d], gap },
    },
    enqueue: ({ ops, handle }, tensors) =>
      ops.attentionBackward(
        handle,
        tensors.gradOut!.handle,
        tensors.q!.handle,
        tensors.k!.handle,
        tensors.v!.handle,
        tensors.out!.handle,
        tensors.lse!.handle,
        tensors.sequences!.handle,
        scale,
        tensors.gradQ!.handle,
        tensors.gradK!.handle,
        tensors.gradV!.handle,
      ),
    reference(inputs) {
      const [q, keys, v, gradOut] = ['q', 'k', 'v', 'gradOut'].map(name => dataOf(inputs, name)) as [
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
      ]
      const owned = new Set(sequences.flatMap(([start, n]) => Array.from({ length: n }, (_, i) => start + i)))
      const unowned = (width: number) =>
        Float64Array.from({ length: tokens * width }, (_, i) =>
          owned.has(Math.floor(i / width)) ? 0 : Number.NaN,
        )
      const [gradQ, gradK, gradV] = [unowned(h * d), unowned(k * d), unowned(k * d)]
      for (let head = 0; head < h; head++) {
        const group = Math.floor(head / (h / k))
        for (const { row, seen, probabilities } of softmaxes(inputs, sizes, head)) {
          const at = (row * h + head) * d
          // d loss / d probability, then through the softmax: dS = P (dP - sum P dP).
          const gradP = seen.map(from => {
            let dot = 0
            for (let e = 0; e < d; e++) dot += gradOut[at + e]! * v[(from * k + group) * d + e]!
            return stepRounding(dot)
          })
          const mean = gradP.reduce((sum, g, p) => sum + probabilities[p]! * g, 0)
          seen.forEach((from, p) => {
            const gradS = stepRounding(probabilities[p]! * (gradP[p]! - mean) * scale)
            const key = (from * k + group) * d
            for (let e = 0; e < d; e++) {
              gradQ[at + e]! += gradS * keys[key + e]!
              gradK[key + e]! += gradS * q[at + e]!
              gradV[key + e]! += probabilities[p]! * gradOut[at + e]!
            }
          })
        }
      }
      return { gradQ, gradK, gradV }
    },
  }
}

export const heads = { h: 4, k: 2, d: 16 }
export const layouts: readonly (readonly [string, AttentionSizes])[] = [
  ['nothing', { ...heads, tokens: 0, sequences: [] }],
  ['no sequence', { ...heads, tokens: 3, sequences: [] }],
  ['one token and two', { h: 1, k: 1, d: 8, ...packed(1, 2) }],
  ['odd lengths', { ...heads, ...packed(3, 1, 0, 17, 63, 64, 65) }],
  ['one longer than two blocks', { h: 3, k: 3, d: 34, ...packed(131), gap: 5 }],
  ['one of five blocks', { h: 2, k: 1, d: 64, ...packed(257) }],
  ['the smallest and an odd half', { h: 6, k: 1, d: 10, ...packed(70, 5), gap: 3 }],
  ['the largest heads', { h: 2, k: 2, d: 256, ...packed(67) }],
  ['two slices of a head', { h: 2, k: 1, d: 80, ...packed(70) }],
  ['four slices of a head', { h: 1, k: 1, d: 256, ...packed(65) }],
  ['four slices of a head, of odd quarters', { h: 1, k: 1, d: 198, ...packed(66, 3), gap: 2 }],
  ['another scale', { ...heads, ...packed(33), scale: 0.9 }],
  ['certain', { ...heads, ...packed(129), deviation: 3 }],
  // Rows between the sequences, and after them, belong to none.
  [
    'gaps',
    {
      ...heads,
      tokens: 90,
      sequences: [
        [70, 13, 0, 0],
        [2, 5, 0, 0],
        [10, 41, 0, 0],
      ],
    },
  ],
  [
    'a prompt shared by three',
    {
      ...heads,
      tokens: 122,
      sequences: [
        [0, 67, 0, 0],
        [67, 5, 0, 67],
        [72, 33, 0, 67],
        [105, 17, 0, 67],
      ],
    },
  ],
  [
    'a part of a prompt',
    {
      ...heads,
      tokens: 100,
      gap: 1,
      sequences: [
        [20, 80, 0, 0],
        [0, 20, 25, 64],
      ],
    },
  ],
  [
    'a prefix of one block less one',
    {
      ...heads,
      tokens: 140,
      sequences: [
        [0, 63, 0, 0],
        [63, 70, 0, 63],
        [133, 7, 3, 1],
      ],
    },
  ],
]

const hundreds = Array.from({ length: 601 }, (_, i) => i % 4)

export const cases: readonly OpCase[] = [
  ...layouts.flatMap(([what, sizes]) => [forwardCase(what, sizes), backwardCase(what, sizes)]),
  forwardCase('odd lengths', { ...heads, ...packed(3, 1, 0, 17, 65) }, { lse: false }),
  forwardCase('many short', {
    h: 1,
    k: 1,
    d: 8,
    ...packed(...Array.from({ length: 35_001 }, (_, i) => 1 + (i % 3))),
  }),
  // More than the threads that plan them, and few enough for the emulator.
  forwardCase('hundreds', { h: 1, k: 1, d: 8, ...packed(...hundreds) }),
  backwardCase('hundreds', { h: 1, k: 1, d: 8, ...packed(...hundreds) }),
  backwardCase('many short', {
    h: 1,
    k: 1,
    d: 8,
    ...packed(...Array.from({ length: 35_001 }, (_, i) => 1 + (i % 3))),
  }),
]
