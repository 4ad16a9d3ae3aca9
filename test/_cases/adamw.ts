// Cases of adamw: one step over flat buffers, with the factor and the verdict of gradient-norm.
import type { AdamWOptions } from '../../lib/ops/adamw.js'
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, float32, normal, type OpCase } from './case.js'

export const plainOptions: AdamWOptions = {
  learningRate: 1e-2,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  step: 1,
}

/** `half`: the parameters are written in bfloat16 too. */
export function adamwCase(n: number, options: Partial<AdamWOptions> = {}, factor = 1, half = false): OpCase {
  const o = { ...plainOptions, ...options }
  const marks = Object.entries(options).map(([name, value]) => `${name} ${value}`)
  return {
    name: [`${n}`, ...marks, factor !== 1 && `factor ${factor}`, half && 'half'].filter(Boolean).join(', '),
    flops: 14 * n,
    bytes: 28 * n,
    make(random) {
      const secondMoment = normal(random, [n])
      secondMoment.data = Float32Array.from(secondMoment.data, x => x ** 2)
      return {
        params: normal(random, [n]),
        grads: normal(random, [n]),
        firstMoment: normal(random, [n], 0.3),
        secondMoment,
        control: float32([1, factor, 1, 0]),
      }
    },
    outputs: half ? { half: { shape: [n], dtype: 'bfloat16' } } : {},
    written: ['params', 'firstMoment', 'secondMoment'],
    enqueue: ({ ops, handle }, tensors) =>
      ops.adamw(
        handle,
        tensors.params!.handle,
        tensors.grads!.handle,
        tensors.firstMoment!.handle,
        tensors.secondMoment!.handle,
        tensors.control!.handle,
        tensors.half?.handle ?? null,
        o,
      ),
    reference(inputs) {
      const params = Float64Array.from(dataOf(inputs, 'params'))
      const firstMoment = Float64Array.from(dataOf(inputs, 'firstMoment'))
      const secondMoment = Float64Array.from(dataOf(inputs, 'secondMoment'))
      for (let i = 0; i < n; i++) {
        const g = dataOf(inputs, 'grads')[i]! * Math.fround(factor)
        firstMoment[i] = o.beta1 * firstMoment[i]! + (1 - o.beta1) * g
        secondMoment[i] = o.beta2 * secondMoment[i]! + (1 - o.beta2) * g * g
        const mean = firstMoment[i]! / (1 - o.beta1 ** o.step)
        const square = secondMoment[i]! / (1 - o.beta2 ** o.step)
        params[i] =
          params[i]! * (1 - o.learningRate * o.weightDecay) -
          (o.learningRate * mean) / (Math.sqrt(square) + o.epsilon)
      }
      return { params, firstMoment, secondMoment, ...(half ? { half: params } : {}) }
    },
  }
}

export const cases: readonly OpCase[] = [
  ...[0, 1, 3, 17, 123, 70_001].map(n => adamwCase(n)),
  adamwCase(131, { step: 7 }),
  adamwCase(131, { step: 100_000 }),
  adamwCase(131, { weightDecay: 0 }),
  adamwCase(131, { weightDecay: 30 }),
  adamwCase(131, { epsilon: 0.5 }),
  adamwCase(131, { beta1: 0, step: 3 }),
  adamwCase(131, { beta2: 0.999, step: 3 }),
  adamwCase(131, { learningRate: 0 }),
  adamwCase(131, {}, 0.125),
  adamwCase(10_007, { step: 2 }),
]

/** With the copy of the parameters in bfloat16. */
export const bfloat16Cases: readonly Bfloat16Case[] = [0, 5, 131, 1031].map(n =>
  bfloat16Case(adamwCase(n, { step: 3 }, 1, true), ['half']),
)
