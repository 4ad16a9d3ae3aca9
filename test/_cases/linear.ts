// Cases of linear: out = x W^T + bias, forward (packed or not) and both halves of the backward pass.
import { packWeight } from '../../lib/ops/linear.js'
import { type Bfloat16Case, bfloat16Case, toBfloat16 } from './bfloat16.js'
import { dataOf, normal, type OpCase } from './case.js'

export interface LinearSizes {
  /** Rows of x, outputs, inputs. */
  t: number
  n: number
  k: number
  bias?: boolean
  residual?: boolean
  /** Elements between the rows of x, out and their gradients. */
  gap?: number
}

function nameOf(
  kind: string,
  { t, n, k, bias, residual, gap }: LinearSizes,
  ...more: (string | false)[]
): string {
  const marks = [...more, bias && 'bias', residual && 'residual', gap && 'strided'].filter(Boolean)
  return [`${kind} ${t}x${n}x${k}`, ...marks].join(', ')
}

export function forwardCase(sizes: LinearSizes & { packed?: boolean }): OpCase {
  const { t, n, k, bias = false, residual = false, gap = 0, packed = false } = sizes
  return {
    name: nameOf('forward', sizes, packed && 'packed'),
    flops: 2 * t * n * k,
    bytes: 4 * (t * k + n * k + t * n),
    make: random => ({
      x: normal(random, [t, k], 1, gap),
      weight: normal(random, [n, k]),
      ...(bias ? { bias: normal(random, [n]) } : {}),
      ...(residual ? { residual: normal(random, [t, n], 1, gap) } : {}),
    }),
    outputs: { out: { shape: [t, n], gap } },
    prepare(_device, tensors) {
      if (packed) tensors.packed = packWeight(tensors.weight!)
    },
    enqueue: ({ ops, handle }, tensors) =>
      ops.linearForward(
        handle,
        tensors.x!.handle,
        tensors.weight!.handle,
        tensors.packed?.handle ?? null,
        tensors.bias?.handle ?? null,
        tensors.residual?.handle ?? null,
        tensors.out!.handle,
      ),
    reference(inputs) {
      const x = dataOf(inputs, 'x')
      const w = dataOf(inputs, 'weight')
      const out = new Float64Array(t * n)
      for (let i = 0; i < t; i++) {
        for (let j = 0; j < n; j++) {
          let sum = bias ? dataOf(inputs, 'bias')[j]! : 0
          for (let p = 0; p < k; p++) sum += x[i * k + p]! * w[j * k + p]!
          out[i * n + j] = sum + (residual ? dataOf(inputs, 'residual')[i * n + j]! : 0)
        }
      }
      return { out }
    },
  }
}

const silu = (x: number) => x / (1 + Math.exp(-x))

/** linear and swiglu in one; `rounded` makes the gate and up of the reference what a dtype can hold. */
export function swigluCase(
  { t, f, k, packed = false }: { t: number; f: number; k: number; packed?: boolean },
  rounded = (x: number) => x,
): OpCase {
  return {
    name: `swiglu ${t}x${f}x${k}${packed ? ', packed' : ''}`,
    flops: 4 * t * f * k,
    bytes: 4 * (t * k + 2 * f * k + t * f),
    make: random => ({ x: normal(random, [t, k]), weight: normal(random, [2 * f, k]) }),
    outputs: { out: { shape: [t, f] } },
    prepare(_device, tensors) {
      if (packed) tensors.packed = packWeight(tensors.weight!)
    },
    enqueue: ({ ops, handle }, { x, weight, packed, out }) =>
      ops.linearSwigluForward(handle, x!.handle, weight!.handle, packed?.handle ?? null, out!.handle),
    reference(inputs) {
      const [x, w] = [dataOf(inputs, 'x'), dataOf(inputs, 'weight')]
      const sum = (i: number, j: number) => {
        let sum = 0
        for (let p = 0; p < k; p++) sum += x[i * k + p]! * w[j * k + p]!
        return rounded(sum)
      }
      return {
        out: Float64Array.from({ length: t * f }, (_, at) => {
          const [i, j] = [Math.floor(at / f), at % f]
          return silu(sum(i, j)) * sum(i, f + j)
        }),
      }
    },
  }
}

export function backwardInputCase(sizes: LinearSizes & { accumulate?: boolean }): OpCase {
  const { t, n, k, gap = 0, accumulate = false } = sizes
  return {
    name: nameOf('backward to the input', sizes, accumulate && 'accumulating'),
    flops: 2 * t * n * k,
    bytes: 4 * (t * n + n * k + (accumulate ? 2 : 1) * t * k),
    make: random => ({
      gradOut: normal(random, [t, n], 1, gap),
      weight: normal(random, [n, k]),
      ...(accumulate ? { gradX: normal(random, [t, k], 1, gap) } : {}),
    }),
    outputs: accumulate ? {} : { gradX: { shape: [t, k], gap } },
    written: accumulate ? ['gradX'] : [],
    enqueue: ({ ops, handle }, { gradOut, weight, gradX }) =>
      ops.linearBackwardInput(handle, gradOut!.handle, weight!.handle, gradX!.handle, accumulate),
    reference(inputs) {
      const g = dataOf(inputs, 'gradOut')
      const w = dataOf(inputs, 'weight')
      const gradX = accumulate ? Float64Array.from(dataOf(inputs, 'gradX')) : new Float64Array(t * k)
      for (let i = 0; i < t; i++) {
        for (let j = 0; j < n; j++) {
          for (let p = 0; p < k; p++) gradX[i * k + p]! += g[i * n + j]! * w[j * k + p]!
        }
      }
      return { gradX }
    },
  }
}

export function backwardWeightCase(sizes: LinearSizes): OpCase {
  const { t, n, k, bias = false, gap = 0 } = sizes
  return {
    name: nameOf('backward to the weight', sizes),
    flops: 2 * t * n * k,
    bytes: 4 * (t * n + t * k + 2 * n * k),
    make: random => ({
      gradOut: normal(random, [t, n], 1, gap),
      x: normal(random, [t, k], 1, gap),
      gradWeight: normal(random, [n, k]),
      ...(bias ? { gradBias: normal(random, [n]) } : {}),
    }),
    outputs: {},
    written: bias ? ['gradWeight', 'gradBias'] : ['gradWeight'],
    enqueue: ({ ops, handle }, { gradOut, x, gradWeight, gradBias }) =>
      ops.linearBackwardWeight(
        handle,
        gradOut!.handle,
        x!.handle,
        gradWeight!.handle,
        gradBias?.handle ?? null,
      ),
    reference(inputs) {
      const g = dataOf(inputs, 'gradOut')
      const x = dataOf(inputs, 'x')
      const gradWeight = Float64Array.from(dataOf(inputs, 'gradWeight'))
      const gradBias = bias ? Float64Array.from(dataOf(inputs, 'gradBias')) : new Float64Array(n)
      for (let i = 0; i < t; i++) {
        for (let j = 0; j < n; j++) {
          gradBias[j]! += g[i * n + j]!
          for (let p = 0; p < k; p++) gradWeight[j * k + p]! += g[i * n + j]! * x[i * k + p]!
        }
      }
      return { gradWeight, ...(bias ? { gradBias } : {}) }
    },
  }
}

const sizes: readonly LinearSizes[] = [
  { t: 0, n: 3, k: 17 },
  { t: 1, n: 1, k: 1 },
  { t: 3, n: 17, k: 123, bias: true },
  { t: 17, n: 131, k: 521, gap: 3 },
  { t: 131, n: 67, k: 53, bias: true, gap: 1 },
]

export const cases: readonly OpCase[] = [
  ...sizes.flatMap(size => [
    forwardCase(size),
    forwardCase({ ...size, packed: true }),
    backwardInputCase(size),
    backwardInputCase({ ...size, accumulate: true }),
    backwardWeightCase(size),
  ]),
  forwardCase({ t: 1, n: 1009, k: 521, packed: true, bias: true }),
  forwardCase({ t: 17, n: 131, k: 53, residual: true, gap: 2 }),
  forwardCase({ t: 5, n: 36, k: 44, residual: true, bias: true, packed: true }),
  // Rows of a multiple of four floats, which not every backend packs.
  forwardCase({ t: 5, n: 37, k: 44, packed: true }),
  // Blocks of k side by side on a CUDA device, at once and in two goes.
  forwardCase({ t: 5, n: 37, k: 1031, bias: true }),
  forwardCase({ t: 2, n: 3, k: 9001, bias: true }),
  forwardCase({ t: 70_001, n: 3, k: 5, bias: true }),
  backwardInputCase({ t: 70_001, n: 3, k: 5 }),
  backwardWeightCase({ t: 70_001, n: 3, k: 5, bias: true }),
  swigluCase({ t: 0, f: 3, k: 5 }),
  swigluCase({ t: 3, f: 5, k: 7 }),
  swigluCase({ t: 1, f: 131, k: 53, packed: true }),
  swigluCase({ t: 70, f: 33, k: 17 }),
  // More rows than are multiplied at a time.
  swigluCase({ t: 1031, f: 3, k: 5 }),
  // Several chunks of rows and strips of columns of a bias gradient.
  backwardWeightCase({ t: 771, n: 131, k: 3, bias: true }),
]

const halfForward = (size: LinearSizes) =>
  bfloat16Case(forwardCase(size), ['x', 'weight', 'bias', 'residual', 'out'])
const halfInput = (size: LinearSizes & { accumulate?: boolean }) =>
  bfloat16Case(backwardInputCase(size), ['gradOut', 'weight', 'gradX'])
const halfWeight = (size: LinearSizes) => bfloat16Case(backwardWeightCase(size), ['gradOut', 'x'])

/** On the emulated device; sums of gradients of weight and bias stay float32. */
export const bfloat16Cases: readonly Bfloat16Case[] = [
  ...sizes
    .slice(0, 4)
    .flatMap(size => [
      halfForward(size),
      halfInput(size),
      halfInput({ ...size, accumulate: true }),
      halfWeight(size),
    ]),
  halfForward({ t: 24, n: 80, k: 64, bias: true }),
  halfForward({ t: 1, n: 104, k: 520, bias: true }),
  halfForward({ t: 24, n: 80, k: 64, residual: true }),
  halfForward({ t: 5, n: 40, k: 1040, bias: true, residual: true }),
  halfForward({ t: 24, n: 81, k: 65, residual: true, gap: 3 }),
  halfForward({ t: 5, n: 40, k: 1031, bias: true, gap: 1 }),
  ...[
    { t: 3, f: 5, k: 7 },
    { t: 1, f: 104, k: 520 },
    { t: 24, f: 40, k: 64 },
    { t: 70, f: 72, k: 40 },
    { t: 5, f: 24, k: 1040 },
  ].map(size => bfloat16Case(swigluCase(size), ['x', 'weight', 'out'], swigluCase(size, toBfloat16))),
  halfInput({ t: 24, n: 80, k: 64 }),
  halfWeight({ t: 80, n: 24, k: 72, bias: true }),
  halfWeight({ t: 771, n: 13, k: 3, bias: true }),
]
