// Cases of rope: the rotation of the halves of each head, in place, and the rotation back.
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, integers, normal, type OpCase } from './case.js'

export interface RopeSizes {
  rows: number
  heads: number
  d: number
  positions?: number
  inverse?: boolean
  gap?: number
}

export function ropeCase(sizes: RopeSizes): OpCase {
  const { rows, heads, d, positions = 97, inverse = false, gap = 0 } = sizes
  const half = d / 2
  const marks = [inverse && 'inverse', gap > 0 && 'strided'].filter(Boolean)
  return {
    name: [`${rows}x${heads}x${d}`, ...marks].join(', '),
    flops: 3 * rows * heads * d,
    bytes: 8 * rows * heads * d,
    make(random) {
      const angles = Array.from({ length: positions * half }, () => 6.3 * random.uniform())
      const table = (f: (x: number) => number) => ({
        dtype: 'float32' as const,
        shape: [positions, half],
        data: Float32Array.from(angles, f),
      })
      return {
        x: normal(random, [rows, heads * d], 1, gap),
        positions: integers(random, rows, positions),
        cosine: table(Math.cos),
        sine: table(Math.sin),
      }
    },
    outputs: {},
    written: ['x'],
    enqueue: ({ ops, handle }, { x, positions, cosine, sine }) =>
      ops.rope(handle, x!.handle, positions!.handle, cosine!.handle, sine!.handle, inverse),
    reference(inputs) {
      const before = dataOf(inputs, 'x')
      const x = Float64Array.from(before)
      for (let r = 0; r < rows; r++) {
        const position = dataOf(inputs, 'positions')[r]!
        for (let h = 0; h < heads; h++) {
          for (let i = 0; i < half; i++) {
            const cosine = dataOf(inputs, 'cosine')[position * half + i]!
            const sine = dataOf(inputs, 'sine')[position * half + i]! * (inverse ? -1 : 1)
            const first = (r * heads + h) * d + i
            x[first] = before[first]! * cosine - before[first + half]! * sine
            x[first + half] = before[first + half]! * cosine + before[first]! * sine
          }
        }
      }
      return { x }
    },
  }
}

export const cases: readonly OpCase[] = [false, true].flatMap(inverse => [
  ropeCase({ rows: 0, heads: 2, d: 8, inverse }),
  ropeCase({ rows: 1, heads: 1, d: 2, inverse }),
  ropeCase({ rows: 3, heads: 17, d: 6, inverse }),
  ropeCase({ rows: 17, heads: 3, d: 64, inverse, gap: 5 }),
  ropeCase({ rows: 131, heads: 2, d: 34, inverse, gap: 1 }),
  ropeCase({ rows: 70_001, heads: 1, d: 4, inverse }),
  ropeCase({ rows: 19, heads: 3, d: 40, inverse, gap: 4 }),
  // Heads begin at multiples of 16 bytes, their second halves at multiples of 8.
  ropeCase({ rows: 19, heads: 4, d: 20, inverse }),
])

export const bfloat16Cases: readonly Bfloat16Case[] = [false, true].flatMap(inverse =>
  [
    ropeCase({ rows: 0, heads: 2, d: 8, inverse }),
    ropeCase({ rows: 3, heads: 17, d: 6, inverse }),
    ropeCase({ rows: 19, heads: 3, d: 40, inverse, gap: 4 }),
    ropeCase({ rows: 11, heads: 2, d: 34, inverse, gap: 1 }),
  ].map(oneCase => bfloat16Case(oneCase, ['x'])),
)
