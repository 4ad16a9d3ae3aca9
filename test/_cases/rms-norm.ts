// Cases of rms-norm: with and without a residual, in place, by groups of columns, and its backward pass.
import { type Bfloat16Case, bfloat16Case, type Rounding, toBfloat16 } from './bfloat16.js'
import { dataOf, normal, type OpCase } from './case.js'

export interface RmsNormSizes {
  rows: number
  /** Columns of a group, and groups of a row. */
  c: number
  groups?: number
  gap?: number
  epsilon?: number
  /** Of s: x + residual in the forward pass, what is given in the backward pass. */
  rounding?: Rounding
}

function nameOf(
  kind: string,
  { rows, c, groups = 1, gap }: RmsNormSizes,
  ...more: (string | false)[]
): string {
  const marks = [...more, gap && 'strided'].filter(Boolean)
  return [`${kind} ${rows}x${groups > 1 ? `${groups}x` : ''}${c}`, ...marks].join(', ')
}

/** Which memory the results share with the arguments. */
export type ForwardSharing = 'none' | 'sum is x' | 'sum is residual' | 'out is x'

export function forwardCase(
  sizes: RmsNormSizes & {
    residual?: boolean
    saveRstd?: boolean
    sharing?: ForwardSharing
  },
): OpCase {
  const { rows, c, groups = 1, gap = 0, epsilon = 1e-6, residual = false, saveRstd = true } = sizes
  const { sharing = 'none', rounding = x => x } = sizes
  const width = groups * c
  const sumName = sharing === 'sum is x' ? 'x' : sharing === 'sum is residual' ? 'residual' : 'sum'
  const outName = sharing === 'out is x' ? 'x' : 'out'
  const hasSum = residual && sharing !== 'out is x'
  const matrix = { shape: [rows, width], gap }
  return {
    name: nameOf(
      'forward',
      sizes,
      residual && 'residual',
      sharing !== 'none' && sharing,
      !saveRstd && 'no rstd',
    ),
    flops: 4 * rows * width,
    bytes: 4 * rows * width * (residual ? (hasSum ? 4 : 3) : 2),
    make: random => ({
      x: normal(random, [rows, width], 1, gap),
      ...(residual ? { residual: normal(random, [rows, width], 2, gap) } : {}),
      weight: normal(random, [c]),
    }),
    outputs: {
      ...(outName === 'out' ? { out: matrix } : {}),
      ...(hasSum && sumName === 'sum' ? { sum: matrix } : {}),
      ...(saveRstd ? { rstd: { shape: [rows * groups] } } : {}),
    },
    written: sharing === 'none' ? [] : [sharing === 'sum is residual' ? 'residual' : 'x'],
    enqueue: ({ ops, handle }, tensors) =>
      ops.rmsNormForward(
        handle,
        tensors.x!.handle,
        residual ? tensors.residual!.handle : null,
        tensors.weight!.handle,
        epsilon,
        hasSum ? tensors[sumName]!.handle : null,
        tensors[outName]!.handle,
        tensors.rstd?.handle ?? null,
      ),
    reference(inputs) {
      const s = Float64Array.from(dataOf(inputs, 'x'))
      if (residual) for (let i = 0; i < s.length; i++) s[i] = rounding(s[i]! + dataOf(inputs, 'residual')[i]!)
      const weight = dataOf(inputs, 'weight')
      const out = new Float64Array(rows * width)
      const rstd = new Float64Array(rows * groups)
      for (let g = 0; g < rows * groups; g++) {
        let squares = 0
        for (let i = 0; i < c; i++) squares += s[g * c + i]! ** 2
        rstd[g] = 1 / Math.sqrt(squares / c + epsilon)
        for (let i = 0; i < c; i++) out[g * c + i] = s[g * c + i]! * rstd[g]! * weight[i]!
      }
      return { [outName]: out, ...(saveRstd ? { rstd } : {}), ...(hasSum ? { [sumName]: s } : {}) }
    },
  }
}

export type BackwardSharing = 'none' | 'gradX is gradOut' | 'gradX is gradSum'

export function backwardCase(sizes: RmsNormSizes & { gradSum?: boolean; sharing?: BackwardSharing }): OpCase {
  const { rows, c, groups = 1, gap = 0, epsilon = 1e-6, gradSum = false, sharing = 'none' } = sizes
  const width = groups * c
  const resultName = { none: 'gradX', 'gradX is gradOut': 'gradOut', 'gradX is gradSum': 'gradSum' }[sharing]
  const statistics = (s: ArrayLike<number>) =>
    Float64Array.from({ length: rows * groups }, (_, g) => {
      let squares = 0
      for (let i = 0; i < c; i++) squares += s[g * c + i]! ** 2
      return 1 / Math.sqrt(squares / c + epsilon)
    })
  return {
    name: nameOf('backward', sizes, gradSum && 'gradient of the sum', sharing !== 'none' && sharing),
    flops: 9 * rows * width,
    bytes: 4 * rows * width * (gradSum ? 4 : 3),
    make(random) {
      const s = normal(random, [rows, width], 1, gap)
      if (sizes.rounding) s.data = Float32Array.from(s.data, sizes.rounding)
      return {
        gradOut: normal(random, [rows, width], 1, gap),
        s,
        weight: normal(random, [c]),
        rstd: { dtype: 'float32', shape: [rows * groups], data: Float32Array.from(statistics(s.data)) },
        ...(gradSum ? { gradSum: normal(random, [rows, width], 1, gap) } : {}),
        gradWeight: normal(random, [c]),
      }
    },
    outputs: sharing === 'none' ? { gradX: { shape: [rows, width], gap } } : {},
    written: sharing === 'none' ? ['gradWeight'] : [resultName, 'gradWeight'],
    enqueue: ({ ops, handle }, tensors) =>
      ops.rmsNormBackward(
        handle,
        tensors.gradOut!.handle,
        tensors.s!.handle,
        tensors.weight!.handle,
        tensors.rstd!.handle,
        tensors.gradSum?.handle ?? null,
        tensors[resultName]!.handle,
        tensors.gradWeight!.handle,
      ),
    reference(inputs) {
      const gradOut = dataOf(inputs, 'gradOut')
      const s = dataOf(inputs, 's')
      const weight = dataOf(inputs, 'weight')
      const rstd = statistics(s)
      const gradX = gradSum ? Float64Array.from(dataOf(inputs, 'gradSum')) : new Float64Array(rows * width)
      const gradWeight = Float64Array.from(dataOf(inputs, 'gradWeight'))
      for (let g = 0; g < rows * groups; g++) {
        // out_i = s_i r w_i with r = (mean s^2 + e)^-1/2, so that dr/ds_j = -r^3 s_j / c.
        let dot = 0
        for (let i = 0; i < c; i++) dot += gradOut[g * c + i]! * weight[i]! * s[g * c + i]!
        for (let i = 0; i < c; i++) {
          const at = g * c + i
          gradX[at]! += gradOut[at]! * weight[i]! * rstd[g]! - (dot * rstd[g]! ** 3 * s[at]!) / c
          gradWeight[i]! += gradOut[at]! * s[at]! * rstd[g]!
        }
      }
      return { [resultName]: gradX, gradWeight }
    },
  }
}

const sizes: readonly RmsNormSizes[] = [
  { rows: 0, c: 5 },
  { rows: 1, c: 1, epsilon: 3 },
  { rows: 3, c: 17, groups: 3 },
  { rows: 17, c: 123, gap: 5 },
  { rows: 131, c: 16, groups: 7, gap: 3 },
  { rows: 5, c: 1031, epsilon: 0.5 },
  // Fewer groups than the warps of a block, and columns beyond those in registers.
  { rows: 3, c: 391 },
]

export const cases: readonly OpCase[] = [
  ...sizes.flatMap(size => [
    forwardCase(size),
    forwardCase({ ...size, residual: true }),
    backwardCase(size),
    backwardCase({ ...size, gradSum: true }),
  ]),
  forwardCase({ rows: 17, c: 123, gap: 2, saveRstd: false }),
  forwardCase({ rows: 17, c: 123, gap: 2, residual: true, sharing: 'sum is x' }),
  forwardCase({ rows: 17, c: 123, gap: 2, residual: true, sharing: 'sum is residual' }),
  forwardCase({ rows: 17, c: 123, gap: 2, sharing: 'out is x' }),
  forwardCase({ rows: 17, c: 123, gap: 2, residual: true, sharing: 'out is x' }),
  backwardCase({ rows: 17, c: 123, gap: 2, gradSum: true, sharing: 'gradX is gradOut' }),
  backwardCase({ rows: 17, c: 123, gap: 2, gradSum: true, sharing: 'gradX is gradSum' }),
  backwardCase({ rows: 17, c: 64, groups: 2, sharing: 'gradX is gradOut' }),
  forwardCase({ rows: 70_001, c: 5, residual: true }),
  backwardCase({ rows: 70_001, c: 5 }),
]

/** Statistics and the gradient of the weight are float32. */
export const bfloat16Cases: readonly Bfloat16Case[] = [
  ...sizes.slice(0, 4),
  { rows: 9, c: 64, groups: 2 },
  { rows: 3, c: 1032, gap: 8 },
].flatMap(size => [
  bfloat16Case(forwardCase(size), ['x', 'weight', 'out']),
  bfloat16Case(forwardCase({ ...size, residual: true, rounding: toBfloat16 }), [
    'x',
    'residual',
    'weight',
    'sum',
    'out',
  ]),
  bfloat16Case(backwardCase({ ...size, rounding: toBfloat16 }), ['gradOut', 's', 'weight', 'gradX']),
  bfloat16Case(backwardCase({ ...size, gradSum: true, rounding: toBfloat16 }), [
    'gradOut',
    's',
    'weight',
    'gradSum',
    'gradX',
  ]),
])
