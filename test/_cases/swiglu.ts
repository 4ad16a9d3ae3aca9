// Cases of swiglu: silu(gate) * up and its backward pass.
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, normal, type OpCase } from './case.js'

export interface SwigluSizes {
  rows: number
  f: number
  /** Deviation of the inputs: large ones reach both flat ends of the sigmoid. */
  deviation?: number
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

export function forwardCase({ rows, f, deviation = 1 }: SwigluSizes): OpCase {
  return {
    name: `forward ${rows}x${f}${deviation === 1 ? '' : `, deviation ${deviation}`}`,
    flops: 5 * rows * f,
    bytes: 12 * rows * f,
    make: random => ({ gateUp: normal(random, [rows, 2 * f], deviation) }),
    outputs: { out: { shape: [rows, f] } },
    enqueue: ({ ops, handle }, { gateUp, out }) => ops.swigluForward(handle, gateUp!.handle, out!.handle),
    reference(inputs) {
      const x = dataOf(inputs, 'gateUp')
      const out = new Float64Array(rows * f)
      for (let r = 0; r < rows; r++) {
        for (let i = 0; i < f; i++) {
          const gate = x[r * 2 * f + i]!
          out[r * f + i] = gate * sigmoid(gate) * x[r * 2 * f + f + i]!
        }
      }
      return { out }
    },
  }
}

/** `inPlace`: the gradient is written over gateUp. */
export function backwardCase({
  rows,
  f,
  deviation = 1,
  inPlace = false,
}: SwigluSizes & { inPlace?: boolean }): OpCase {
  const result = inPlace ? 'gateUp' : 'gradGateUp'
  const marks = [deviation !== 1 && `deviation ${deviation}`, inPlace && 'in place'].filter(Boolean)
  return {
    name: [`backward ${rows}x${f}`, ...marks].join(', '),
    flops: 11 * rows * f,
    bytes: 20 * rows * f,
    make: random => ({
      gradOut: normal(random, [rows, f]),
      gateUp: normal(random, [rows, 2 * f], deviation),
    }),
    outputs: inPlace ? {} : { gradGateUp: { shape: [rows, 2 * f] } },
    written: inPlace ? ['gateUp'] : [],
    enqueue: ({ ops, handle }, tensors) =>
      ops.swigluBackward(handle, tensors.gradOut!.handle, tensors.gateUp!.handle, tensors[result]!.handle),
    reference(inputs) {
      const x = dataOf(inputs, 'gateUp')
      const gradOut = dataOf(inputs, 'gradOut')
      const gradient = new Float64Array(rows * 2 * f)
      for (let r = 0; r < rows; r++) {
        for (let i = 0; i < f; i++) {
          const at = r * 2 * f + i
          const [gate, up, g] = [x[at]!, x[at + f]!, gradOut[r * f + i]!]
          const s = sigmoid(gate)
          gradient[at] = g * up * (s + gate * s * (1 - s))
          gradient[at + f] = g * gate * s
        }
      }
      return { [result]: gradient }
    },
  }
}

const sizes: readonly SwigluSizes[] = [
  { rows: 0, f: 3 },
  { rows: 3, f: 0 },
  { rows: 1, f: 1 },
  { rows: 3, f: 17 },
  { rows: 17, f: 123, deviation: 40 },
  { rows: 131, f: 257 },
  { rows: 70_001, f: 3 },
]

export const cases: readonly OpCase[] = [
  ...sizes.flatMap(size => [forwardCase(size), backwardCase(size)]),
  backwardCase({ rows: 17, f: 123, inPlace: true }),
]

/** Whole fours of columns and others, aligned or not. */
export const bfloat16Cases: readonly Bfloat16Case[] = [
  { rows: 0, f: 3 },
  { rows: 3, f: 17 },
  { rows: 17, f: 124, deviation: 40 },
  { rows: 5, f: 64 },
].flatMap(size => [
  bfloat16Case(forwardCase(size), ['gateUp', 'out']),
  bfloat16Case(backwardCase(size), ['gradOut', 'gateUp', 'gradGateUp']),
])
