// Kernel traffic of ops over rows and vectors: bound by memory, every byte once.
import type { CounterRandom } from '../../lib/random.js'
import { adamwCase } from '../_cases/adamw.js'
import { bfloat16Case } from '../_cases/bfloat16.js'
import { int32, type OpCase } from '../_cases/case.js'
import { castCase, type FloatName } from '../_cases/cast.js'
import * as embedding from '../_cases/embedding.js'
import * as gatherRows from '../_cases/gather-rows.js'
import { gradientNormCase } from '../_cases/gradient-norm.js'
import { advantageCase } from '../_cases/group-advantages.js'
import { addCase, reduceCase } from '../_cases/reduce.js'
import * as rmsNorm from '../_cases/rms-norm.js'
import { ropeCase } from '../_cases/rope.js'
import * as swiglu from '../_cases/swiglu.js'
import type { Bound, TrafficCase } from './_traffic.js'

/** Bytes of an element. */
export type Width = 2 | 4

/** The case in float32 and, where `names` are bfloat16, again; its kernels by the bytes of an element. */
export function inBoth(
  stem: string,
  op: OpCase,
  names: readonly string[],
  kernels: (width: Width) => Readonly<Record<string, Bound>>,
): TrafficCase[] {
  return [
    { stem, op, kernels: kernels(4) },
    { stem, op: bfloat16Case(op, names), kernels: kernels(2) },
  ]
}

/** The case with other contents of one of its arguments. */
function withIndices(op: OpCase, name: string, indices: (random: CounterRandom) => Int32Array): OpCase {
  return { ...op, make: random => ({ ...op.make(random), [name]: int32(indices(random)) }) }
}

/** `count` of the numbers below `below`, no two the same, and all of them again up to `times`. */
function distinct(random: CounterRandom, count: number, below: number, times = 1): Int32Array {
  const numbers = random.shuffle(Int32Array.from({ length: below }, (_, i) => i)).subarray(0, count)
  return Int32Array.from({ length: count * times }, (_, i) => numbers[i % count] as number)
}

// ---- vectors

const adamw = (n: number, half: boolean): TrafficCase => ({
  stem: 'adamw',
  op: adamwCase(n, {}, 1, half),
  // Factor and verdict of gradient-norm: 8 bytes.
  kernels: {
    adamw_kernel: { reads: 16 * n + 8, writes: (half ? 14 : 12) * n, flops: 14 * n, scalars: 8 },
  },
})

const width = (dtype: FloatName): Width => (dtype === 'float32' ? 4 : 2)
const cast = (from: FloatName, to: FloatName, n: number): TrafficCase => ({
  stem: 'cast',
  op: castCase(from, to, n),
  kernels: { cast_kernel: { reads: width(from) * n, writes: width(to) * n, flops: 0 } },
})

const fill = (dtype: 'float32' | 'bfloat16', n: number): TrafficCase => ({
  stem: 'cast',
  op: {
    name: `fill ${n}, ${dtype}`,
    flops: 0,
    bytes: n * width(dtype),
    make: () => ({}),
    outputs: { out: { shape: [n], dtype } },
    enqueue: ({ ops, handle }, { out }) => ops.fill(handle, out!.handle, 1),
  },
  kernels: { fill_kernel: { reads: 0, writes: width(dtype) * n, flops: 0 } },
})

/** Of reduce and gradient-norm: native/ops/reduce-chunks.cuh. */
const chunkFloats = 8192

const reduce = (kind: number, n: number): TrafficCase => ({
  stem: 'reduce',
  op: reduceCase(kind, n),
  kernels: {
    reduce_chunks_kernel: { reads: 4 * n, writes: (8 * n) / chunkFloats, flops: n * (kind === 1 ? 2 : 1) },
    reduce_partials_kernel: { reads: (8 * n) / chunkFloats, writes: 8, flops: n / chunkFloats },
  },
})

const gradientNorm = (n: number): TrafficCase => ({
  stem: 'gradient-norm',
  op: gradientNormCase(n, 1),
  kernels: {
    gradient_norm_chunks_kernel: { reads: 4 * n, writes: (12 * n) / chunkFloats, flops: 2 * n },
    gradient_norm_control_kernel: { reads: (12 * n) / chunkFloats, writes: 16, flops: (2 * n) / chunkFloats },
  },
})

// ---- rows

const add = (rows: number, columns: number) =>
  inBoth('reduce', addCase(rows, columns), ['a', 'b', 'out'], bytes => ({
    add_rows_kernel: {
      reads: 2 * bytes * rows * columns,
      writes: bytes * rows * columns,
      flops: rows * columns,
    },
  }))

const normForward = (rows: number, c: number) =>
  inBoth(
    'rms-norm',
    rmsNorm.forwardCase({ rows, c, residual: true }),
    ['x', 'residual', 'weight', 'sum', 'out'],
    bytes => ({
      rms_norm_forward_kernel: {
        reads: bytes * (2 * rows * c + c),
        writes: 2 * bytes * rows * c + 4 * rows,
        flops: 4 * rows * c,
        again: { reads: bytes * (rows - 1) * c, why: 'the weight with every row, from the cache' },
      },
    }),
  )

const normBackward = (rows: number, c: number) =>
  inBoth(
    'rms-norm',
    rmsNorm.backwardCase({ rows, c, gradSum: true }),
    ['gradOut', 's', 'weight', 'gradSum', 'gradX'],
    bytes => {
      // Warps up to 512 columns, eight to a block, and blocks above, with four rows each.
      const workers = c <= 512 ? 8 * Math.ceil(rows / 32) : Math.ceil(rows / 4)
      const warps = c <= 512 ? 1 : 8
      return {
        rms_norm_backward_kernel: {
          reads: bytes * (3 * rows * c + c) + 4 * rows,
          writes: bytes * rows * c + 4 * workers * c,
          flops: 9 * rows * c,
          again: {
            reads: bytes * (2 * rows - 1) * c + 4 * rows * (warps - 1),
            why: 'the weight twice with every row, from the cache',
          },
          ...(bytes === 2
            ? { sectors: { stores: 0.7, why: "a worker's sums, 32 bytes a lane, in two stores" } }
            : {}),
        },
        rms_norm_add_partials_kernel: {
          reads: 4 * (workers * c + c),
          writes: 4 * c,
          flops: (workers + 1) * c,
        },
      }
    },
  )

const rope = (rows: number, heads: number, d: number) =>
  inBoth(
    'rope',
    withIndices(ropeCase({ rows, heads, d }), 'positions', random => distinct(random, rows, 97)),
    ['x'],
    bytes => ({
      rope_kernel: {
        reads: bytes * rows * heads * d + 4 * rows * d + 4 * rows,
        writes: bytes * rows * heads * d,
        flops: 3 * rows * heads * d,
      },
    }),
  )

const swigluForward = (rows: number, f: number) =>
  inBoth('swiglu', swiglu.forwardCase({ rows, f }), ['gateUp', 'out'], bytes => ({
    swiglu_forward_kernel: { reads: 2 * bytes * rows * f, writes: bytes * rows * f, flops: 5 * rows * f },
  }))
const swigluBackward = (rows: number, f: number) =>
  inBoth('swiglu', swiglu.backwardCase({ rows, f }), ['gradOut', 'gateUp', 'gradGateUp'], bytes => ({
    swiglu_backward_kernel: {
      reads: 3 * bytes * rows * f,
      writes: 2 * bytes * rows * f,
      flops: 11 * rows * f,
    },
  }))

// ---- rows by index

const copyRows = (rows: number, c: number, bytes: Width): Bound => ({
  reads: bytes * rows * c + 4 * rows,
  writes: bytes * rows * c,
  flops: 0,
  scalars: 4,
})

/** Pairs of key and place, sorted by so many digits of 8 bits. */
export const sorting = (n: number, digits: number): Record<string, Bound> => {
  const counts = 1024 * Math.ceil(n / 2048)
  return {
    sort_begin_kernel: { reads: 4 * n, writes: 8 * n, flops: 0 },
    sort_count_kernel: {
      reads: 4 * digits * n,
      writes: digits * counts,
      flops: 0,
      again: { reads: 4 * digits * n, why: 'the place beside each key' },
      sectors: { loads: 0.5, why: 'of a pair only the key is used' },
    },
    sort_place_kernel: {
      reads: digits * (8 * n + counts),
      writes: digits * 8 * n,
      flops: 0,
      again: { reads: digits * 8 * n, why: 'keys to find the places, pairs to move them' },
      sectors: { loads: 0.8, stores: 0.2, why: 'pairs go where their keys belong' },
    },
  }
}

/** `count` rows added to half as many of a table. */
const addRows = (count: number, c: number, bytes: Width, sum: Width): Bound => {
  const tiles = c / 128
  return {
    reads: bytes * count * c + (sum * count * c) / 2 + 8 * count,
    writes: (sum * count * c) / 2,
    flops: count * c,
    again: {
      reads: tiles * (16 * count + 128 * count),
      why: 'every warp looks at a pair and the one before, and at the next 32 where a row begins',
    },
    sectors: { loads: 0.95, why: '32 pairs begin within a sector' },
  }
}

const embeddingForward = (tokens: number, vocabulary: number, c: number) =>
  inBoth(
    'embedding',
    withIndices(embedding.forwardCase({ tokens, vocabulary, c }), 'tokens', random =>
      distinct(random, tokens, vocabulary),
    ),
    ['table', 'out'],
    bytes => ({ copy_indexed_rows_kernel: copyRows(tokens, c, bytes) }),
  )
const embeddingBackward = (tokens: number, vocabulary: number, c: number) =>
  inBoth(
    'embedding',
    withIndices(embedding.backwardCase({ tokens, vocabulary, c }), 'tokens', random =>
      distinct(random, tokens / 2, vocabulary, 2),
    ),
    ['gradOut'],
    bytes => ({ ...sorting(tokens, 2), add_indexed_rows_kernel: addRows(tokens, c, bytes, 4) }),
  )
const gatherForward = (picked: number, rows: number, c: number) =>
  inBoth(
    'gather-rows',
    withIndices(gatherRows.forwardCase({ picked, rows, c }), 'rows', random =>
      distinct(random, picked, rows),
    ),
    ['x', 'out'],
    bytes => ({ copy_indexed_rows_kernel: copyRows(picked, c, bytes) }),
  )
const gatherBackward = (picked: number, rows: number, c: number) =>
  inBoth(
    'gather-rows',
    withIndices(gatherRows.backwardCase({ picked, rows, c }), 'rows', random =>
      distinct(random, picked / 2, rows, 2),
    ),
    ['gradOut', 'gradX'],
    bytes => ({ ...sorting(picked, 1), add_indexed_rows_kernel: addRows(picked, c, bytes, bytes) }),
  )

const advantages = (n: number, groups: number): TrafficCase => ({
  stem: 'group-advantages',
  op: advantageCase({ baseline: 'mean-std', n, groups }),
  kernels: {
    ...sorting(n, 4),
    group_advantages_kernel: {
      reads: 13 * n,
      writes: 4 * n,
      flops: 8 * n,
      again: {
        reads: 64 * n + 8 * groups,
        why: 'one thread walks over a group three times: a step has a few thousand members',
      },
      sectors: { loads: 0.35, stores: 0.3, why: 'members are where they were given' },
    },
  },
})

export const rowCases: readonly TrafficCase[] = [
  adamw(16_384, false),
  adamw(16_384, true),
  cast('float32', 'bfloat16', 16_384),
  cast('bfloat16', 'float32', 16_384),
  cast('float32', 'float16', 16_384),
  cast('float16', 'float32', 16_384),
  fill('float32', 16_384),
  fill('bfloat16', 16_384),
  ...embeddingForward(64, 512, 256),
  ...embeddingBackward(256, 4096, 256),
  ...gatherForward(64, 128, 256),
  ...gatherBackward(64, 128, 256),
  gradientNorm(65_536),
  advantages(256, 32),
  ...[0, 1, 2, 3].map(kind => reduce(kind, 65_536)),
  ...add(32, 512),
  ...normForward(32, 512),
  ...normForward(16, 2048),
  ...normBackward(32, 512),
  ...normBackward(16, 2048),
  ...rope(64, 4, 64),
  ...swigluForward(32, 512),
  ...swigluBackward(32, 512),
]
