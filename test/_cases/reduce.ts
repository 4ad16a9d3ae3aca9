// Cases of reduce (one number from a vector) and of add (the sum of two matrices).
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, normal, type OpCase } from './case.js'

export const reductionNames = ['sum', 'sum-of-squares', 'largest-absolute', 'non-finite'] as const

function reduced(x: ArrayLike<number>, kind: number): number {
  let result = 0
  let lost = 0 // what rounding took from the sums so far (Kahan)
  for (let i = 0; i < x.length; i++) {
    const value = x[i]!
    if (kind < 2) {
      const term = (kind === 0 ? value : value * value) - lost
      const sum = result + term
      lost = sum - result - term
      result = sum
    } else if (kind === 2) result = Number.isNaN(value) || Math.abs(value) > result ? Math.abs(value) : result
    else result += Number.isFinite(value) ? 0 : 1
  }
  return result
}

/** `spoiled`: some elements are NaN or infinite. */
export function reduceCase(kind: number, n: number, spoiled = false): OpCase {
  return {
    name: `${reductionNames[kind]} of ${n}${spoiled ? ', not all finite' : ''}`,
    flops: n * (kind === 1 ? 2 : 1),
    bytes: 4 * n,
    make(random) {
      const x = normal(random, [n], 3)
      for (let i = 0; i < n; i++) x.data[i] = x.data[i]! + 1 // a sum far from 0
      if (spoiled) {
        for (let i = 5; i < n; i += 11)
          x.data[i] = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][i % 3]!
      }
      return { x }
    },
    outputs: { result: { shape: [1], dtype: 'float64' } },
    enqueue: ({ ops, handle }, { x, result }) => ops.reduce(handle, x!.handle, kind, result!.handle),
    reference: inputs => ({ result: [reduced(dataOf(inputs, 'x'), kind)] }),
  }
}

/** `into`: out is a matrix of its own, or an argument. */
export function addCase(rows: number, columns: number, gap = 0, into: 'out' | 'a' | 'b' = 'out'): OpCase {
  return {
    name: `add ${rows}x${columns}${gap > 0 ? ', strided' : ''}${into === 'out' ? '' : `, into ${into}`}`,
    flops: rows * columns,
    bytes: 12 * rows * columns,
    make: random => ({
      a: normal(random, [rows, columns], 1, gap),
      b: normal(random, [rows, columns], 1, gap),
    }),
    outputs: into === 'out' ? { out: { shape: [rows, columns], gap } } : {},
    written: into === 'out' ? [] : [into],
    enqueue: ({ ops, handle }, tensors) =>
      ops.addRows(handle, tensors.a!.handle, tensors.b!.handle, tensors[into]!.handle),
    // One rounding: float32 addition is known to the bit.
    reference(inputs) {
      const [a, b] = [dataOf(inputs, 'a'), dataOf(inputs, 'b')]
      return { [into]: Float64Array.from(a, (x, i) => Math.fround(x + b[i]!)) }
    },
  }
}

export const cases: readonly OpCase[] = [
  ...[0, 1, 2, 3].flatMap(kind => [
    ...[0, 1, 3, 17, 123, 65_537, 1_000_003].map(n => reduceCase(kind, n)),
    ...(kind === 3 ? [3, 17, 70_001].map(n => reduceCase(kind, n, true)) : []),
  ]),
  addCase(0, 3),
  addCase(1, 1),
  addCase(17, 123, 5),
  addCase(5, 6, 2),
  addCase(131, 257, 1, 'a'),
  addCase(131, 257, 2, 'b'),
  addCase(70_001, 3),
]

export const bfloat16Cases: readonly Bfloat16Case[] = [
  addCase(0, 3),
  addCase(17, 123, 5),
  addCase(5, 8, 4),
  addCase(13, 25, 1, 'a'),
  addCase(13, 24, 0, 'b'),
].map(oneCase => bfloat16Case(oneCase, ['a', 'b', 'out']))
