// Cases of gather-rows: rows picked by index (float32 and int32), and gradients added back.
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, integers, normal, type OpCase } from './case.js'
import { addRowsByIndex, pickRows } from './embedding.js'

export interface GatherSizes {
  /** Rows of x, rows picked, columns. */
  rows: number
  picked: number
  c: number
}

export function forwardCase({
  rows,
  picked,
  c,
  dtype = 'float32',
}: GatherSizes & { dtype?: 'float32' | 'int32' }): OpCase {
  return {
    name: `forward ${picked} of ${rows}x${c}, ${dtype}`,
    flops: 0,
    bytes: 8 * picked * c,
    make: random => ({
      x:
        dtype === 'float32'
          ? normal(random, [rows, c])
          : { ...integers(random, rows * c, 0x7fffffff), shape: [rows, c] },
      rows: integers(random, picked, rows),
    }),
    outputs: { out: { shape: [picked, c], dtype } },
    enqueue: ({ ops, handle }, { x, rows, out }) =>
      ops.gatherRowsForward(handle, x!.handle, rows!.handle, out!.handle),
    reference: inputs => ({ out: pickRows(dataOf(inputs, 'x'), dataOf(inputs, 'rows'), c) }),
  }
}

export function backwardCase({ rows, picked, c }: GatherSizes): OpCase {
  return {
    name: `backward ${picked} of ${rows}x${c}`,
    flops: picked * c,
    bytes: 12 * picked * c,
    make: random => ({
      gradOut: normal(random, [picked, c]),
      rows: integers(random, picked, rows),
      gradX: normal(random, [rows, c]),
    }),
    outputs: {},
    written: ['gradX'],
    enqueue: ({ ops, handle }, { gradOut, rows, gradX }) =>
      ops.gatherRowsBackward(handle, gradOut!.handle, rows!.handle, gradX!.handle),
    reference(inputs) {
      return {
        gradX: addRowsByIndex(dataOf(inputs, 'gradX'), dataOf(inputs, 'rows'), dataOf(inputs, 'gradOut'), c),
      }
    },
  }
}

const sizes: readonly GatherSizes[] = [
  { rows: 5, picked: 0, c: 3 },
  { rows: 1, picked: 1, c: 1 },
  { rows: 3, picked: 17, c: 123 },
  { rows: 131, picked: 67, c: 257 },
  { rows: 70_001, picked: 65_539, c: 3 },
  { rows: 131, picked: 65_539, c: 1 },
  { rows: 66_003, picked: 2503, c: 1 },
  { rows: 41, picked: 67, c: 132 },
]

export const cases: readonly OpCase[] = sizes.flatMap(size => [
  forwardCase(size),
  forwardCase({ ...size, dtype: 'int32' }),
  backwardCase(size),
])

export const bfloat16Cases: readonly Bfloat16Case[] = [
  ...sizes.slice(0, 3),
  { rows: 41, picked: 67, c: 132 },
].flatMap(size => [
  bfloat16Case(forwardCase(size), ['x', 'out']),
  bfloat16Case(backwardCase(size), ['gradOut', 'gradX']),
])
