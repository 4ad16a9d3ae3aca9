// Cases of embedding and gather-rows: rows picked by index, and gradients added back in ascending order.
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, int32, integers, normal, type OpCase } from './case.js'

/** The sums of a backward pass: float32 additions in ascending order, hence known to the bit. */
export function addRowsByIndex(
  start: ArrayLike<number>,
  index: ArrayLike<number>,
  gradOut: ArrayLike<number>,
  columns: number,
): Float32Array {
  const sums = Float32Array.from(start)
  for (let r = 0; r < index.length; r++) {
    for (let c = 0; c < columns; c++) sums[index[r]! * columns + c]! += gradOut[r * columns + c]!
  }
  return sums
}

export function pickRows(rows: ArrayLike<number>, index: ArrayLike<number>, columns: number): Float64Array {
  const out = new Float64Array(index.length * columns)
  for (let r = 0; r < index.length; r++) {
    for (let c = 0; c < columns; c++) out[r * columns + c] = rows[index[r]! * columns + c]!
  }
  return out
}

export interface EmbeddingSizes {
  tokens: number
  vocabulary: number
  c: number
}

export function forwardCase({ tokens, vocabulary, c }: EmbeddingSizes): OpCase {
  return {
    name: `forward ${tokens} of ${vocabulary}x${c}`,
    flops: 0,
    bytes: 8 * tokens * c,
    make: random => ({
      tokens: integers(random, tokens, vocabulary),
      table: normal(random, [vocabulary, c]),
    }),
    outputs: { out: { shape: [tokens, c] } },
    enqueue: ({ ops, handle }, { tokens, table, out }) =>
      ops.embeddingForward(handle, tokens!.handle, table!.handle, out!.handle),
    reference: inputs => ({ out: pickRows(dataOf(inputs, 'table'), dataOf(inputs, 'tokens'), c) }),
  }
}

/** `sameToken`: every token is the same one, so that one row of the table receives all gradients. */
export function backwardCase({
  tokens,
  vocabulary,
  c,
  sameToken = false,
}: EmbeddingSizes & { sameToken?: boolean }): OpCase {
  return {
    name: `backward ${tokens} of ${vocabulary}x${c}${sameToken ? ', one token' : ''}`,
    flops: tokens * c,
    bytes: 12 * tokens * c,
    make: random => ({
      tokens: sameToken
        ? int32(new Int32Array(tokens).fill(vocabulary - 1))
        : integers(random, tokens, vocabulary),
      gradOut: normal(random, [tokens, c]),
      gradTable: normal(random, [vocabulary, c]),
    }),
    outputs: {},
    written: ['gradTable'],
    enqueue: ({ ops, handle }, { tokens, gradOut, gradTable }) =>
      ops.embeddingBackward(handle, tokens!.handle, gradOut!.handle, gradTable!.handle),
    reference(inputs) {
      const gradTable = addRowsByIndex(
        dataOf(inputs, 'gradTable'),
        dataOf(inputs, 'tokens'),
        dataOf(inputs, 'gradOut'),
        c,
      )
      return { gradTable }
    },
  }
}

const sizes: readonly EmbeddingSizes[] = [
  { tokens: 0, vocabulary: 3, c: 5 },
  { tokens: 1, vocabulary: 1, c: 1 },
  { tokens: 17, vocabulary: 3, c: 123 },
  { tokens: 123, vocabulary: 131, c: 17 },
  { tokens: 70_001, vocabulary: 101, c: 3 },
]

export const cases: readonly OpCase[] = [
  ...sizes.flatMap(size => [forwardCase(size), backwardCase(size)]),
  backwardCase({ tokens: 1009, vocabulary: 5, c: 257, sameToken: true }),
  backwardCase({ tokens: 67, vocabulary: 5, c: 36, sameToken: true }),
  forwardCase({ tokens: 67, vocabulary: 1009, c: 260 }),
  backwardCase({ tokens: 67, vocabulary: 1009, c: 260 }),
]

/** The gradient of the table is float32. */
export const bfloat16Cases: readonly Bfloat16Case[] = [
  ...sizes.slice(0, 4),
  { tokens: 67, vocabulary: 5, c: 36 },
].flatMap(size => [
  bfloat16Case(forwardCase(size), ['table', 'out']),
  bfloat16Case(backwardCase(size), ['gradOut']),
])
