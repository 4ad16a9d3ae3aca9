// Cases of matmul: out = A B (+ out), each side transposed or not.
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, normal, type OpCase } from './case.js'

export interface MatmulSizes {
  m: number
  n: number
  k: number
  transposeA?: boolean
  transposeB?: boolean
  accumulate?: boolean
  /** Elements between the rows of all three matrices. */
  gap?: number
}

export function matmulCase(sizes: MatmulSizes): OpCase {
  const { m, n, k, transposeA = false, transposeB = false, accumulate = false, gap = 0 } = sizes
  const marks = [
    transposeA && 'A transposed',
    transposeB && 'B transposed',
    accumulate && 'accumulating',
    gap > 0 && 'strided',
  ]
  return {
    name: [`${m}x${n}x${k}`, ...marks.filter(Boolean)].join(', '),
    flops: 2 * m * n * k,
    bytes: 4 * (m * k + k * n + (accumulate ? 2 : 1) * m * n),
    make: random => ({
      a: normal(random, transposeA ? [k, m] : [m, k], 1, gap),
      b: normal(random, transposeB ? [n, k] : [k, n], 1, gap),
      ...(accumulate ? { out: normal(random, [m, n], 1, gap) } : {}),
    }),
    outputs: accumulate ? {} : { out: { shape: [m, n], gap } },
    written: accumulate ? ['out'] : [],
    enqueue: ({ ops, handle }, { a, b, out }) =>
      ops.matmul(handle, a!.handle, b!.handle, out!.handle, transposeA, transposeB, accumulate),
    reference(inputs) {
      const a = dataOf(inputs, 'a')
      const b = dataOf(inputs, 'b')
      const out = accumulate ? Float64Array.from(dataOf(inputs, 'out')) : new Float64Array(m * n)
      for (let i = 0; i < m; i++) {
        for (let p = 0; p < k; p++) {
          const x = a[transposeA ? p * m + i : i * k + p]!
          for (let j = 0; j < n; j++) out[i * n + j]! += x * b[transposeB ? j * k + p : p * n + j]!
        }
      }
      return { out }
    },
  }
}

const flags = [false, true].flatMap(transposeA =>
  [false, true].map(transposeB => ({ transposeA, transposeB })),
)

export const cases: readonly OpCase[] = [
  // Empty in each direction: no rows, no columns, and sums of nothing (zeros, or what was there).
  matmulCase({ m: 0, n: 3, k: 17 }),
  matmulCase({ m: 3, n: 0, k: 17 }),
  matmulCase({ m: 3, n: 17, k: 0 }),
  matmulCase({ m: 3, n: 17, k: 0, accumulate: true }),
  matmulCase({ m: 1, n: 1, k: 1 }),
  ...flags.flatMap(flag => [
    matmulCase({ m: 3, n: 17, k: 123, ...flag }),
    // A prime above every block: rows of a tile, panels of columns, and the 512 of the longest block of k.
    matmulCase({ m: 37, n: 131, k: 521, ...flag, gap: 5 }),
    matmulCase({ m: 17, n: 33, k: 65, ...flag, accumulate: true, gap: 3 }),
  ]),
  matmulCase({ m: 1, n: 1009, k: 1031, transposeB: true }),
  matmulCase({ m: 70_001, n: 3, k: 5 }),
  matmulCase({ m: 3, n: 70_001, k: 5, transposeB: true }),
  matmulCase({ m: 2, n: 3, k: 70_001, transposeA: true }),
  matmulCase({ m: 257, n: 263, k: 269, accumulate: true }),
  // The CUDA kernel's largest tiles, whole and at the edges, and blocks of k side by side, on the emulated device.
  ...flags.flatMap(flag => [
    matmulCase({ m: 131, n: 258, k: 67, ...flag, gap: 2 }),
    matmulCase({ m: 132, n: 257, k: 68, ...flag, accumulate: true }),
  ]),
  matmulCase({ m: 2, n: 3, k: 9001, accumulate: true }),
  matmulCase({ m: 129, n: 66, k: 530, transposeB: true, accumulate: true, gap: 2 }),
]

/** On the emulated device: every tile, tails of k, runs of 16 bytes and single elements, blocks of k side by side. */
const half = (sizes: MatmulSizes, out = true) =>
  bfloat16Case(matmulCase(sizes), out ? ['a', 'b', 'out'] : ['a', 'b'])
export const bfloat16Cases: readonly Bfloat16Case[] = [
  half({ m: 0, n: 3, k: 17 }),
  half({ m: 3, n: 17, k: 0 }),
  half({ m: 3, n: 17, k: 0, accumulate: true }),
  half({ m: 1, n: 1, k: 1 }),
  ...flags.flatMap(flag => [
    half({ m: 3, n: 17, k: 123, ...flag }),
    half({ m: 19, n: 131, k: 67, ...flag, gap: 5 }),
    half({ m: 17, n: 33, k: 65, ...flag, accumulate: true, gap: 3 }),
    half({ m: 40, n: 72, k: 64, ...flag }),
    half({ m: 133, n: 136, k: 48, ...flag, gap: 8 }),
  ]),
  half({ m: 5, n: 37, k: 1031, transposeB: true }),
  half({ m: 2, n: 8, k: 20_008, transposeB: true, accumulate: true }),
]
export const mixedCases: readonly Bfloat16Case[] = [
  half({ m: 20, n: 131, k: 67, transposeA: true, accumulate: true }, false),
  half({ m: 24, n: 40, k: 1040, transposeA: true, accumulate: true, gap: 4 }, false),
  half({ m: 5, n: 17, k: 0 }, false),
]
