// Cases of gradient-norm: {norm, factor, ok, non-finite elements} of a flat gradient.
import { dataOf, normal, type OpCase } from './case.js'

/** `bad`: that many elements are NaN or infinite. */
export function gradientNormCase(n: number, maxNorm: number, bad = 0): OpCase {
  return {
    name: `${n}, maxNorm ${maxNorm}${bad > 0 ? `, ${bad} not finite` : ''}`,
    flops: 2 * n,
    bytes: 4 * n,
    make(random) {
      const grads = normal(random, [n])
      for (let i = 0; i < bad; i++)
        grads.data[(i * 7919) % n] = [Number.NaN, Number.POSITIVE_INFINITY][i % 2]!
      return { grads }
    },
    outputs: { control: { shape: [4] } },
    enqueue: ({ ops, handle }, { grads, control }) =>
      ops.gradientNorm(handle, grads!.handle, maxNorm, control!.handle),
    reference(inputs) {
      let squares = 0
      for (const x of dataOf(inputs, 'grads')) squares += x * x
      const norm = Math.sqrt(squares)
      if (!Number.isFinite(norm)) return { control: [norm, 0, 0, bad] }
      return { control: [norm, maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1, 1, 0] }
    },
  }
}

export const cases: readonly OpCase[] = [
  gradientNormCase(0, 1),
  gradientNormCase(1, 0.25),
  gradientNormCase(3, 0),
  gradientNormCase(17, 100),
  gradientNormCase(123, 1),
  gradientNormCase(70_001, 0.5),
  gradientNormCase(1_000_003, 1e9),
  gradientNormCase(17, 1, 1),
  gradientNormCase(70_001, 1, 2),
  gradientNormCase(70_001, 0, 37),
]
