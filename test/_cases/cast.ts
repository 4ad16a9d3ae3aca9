// Cases of cast: between float32, float16 and bfloat16, with a converter of our own as the reference.
import type { DType } from '../../lib/native.js'
import type { CounterRandom } from '../../lib/random.js'
import type { Bfloat16Case } from './bfloat16.js'
import { type Data, dataOf, type HostTensor, type OpCase } from './case.js'

export type FloatName = 'float32' | 'float16' | 'bfloat16'

const formats = {
  float16: { mantissa: 10, lowestExponent: -14, highestExponent: 15 },
  bfloat16: { mantissa: 7, lowestExponent: -126, highestExponent: 127 },
} as const

/** The number that 16 bits stand for. */
export function decode(bits: number, format: keyof typeof formats): number {
  const { mantissa, lowestExponent, highestExponent } = formats[format]
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits & 0x7fff) >> mantissa
  const fraction = (bits & (2 ** mantissa - 1)) / 2 ** mantissa
  if (exponent === highestExponent - lowestExponent + 2)
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  if (exponent === 0) return sign * fraction * 2 ** lowestExponent
  return sign * (1 + fraction) * 2 ** (exponent + lowestExponent - 1)
}

/** The nearest number of the format, ties to even, as a number; overflow is infinity. */
export function round(x: number, format: keyof typeof formats): number {
  if (!Number.isFinite(x) || x === 0) return x
  const { mantissa, lowestExponent, highestExponent } = formats[format]
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), lowestExponent)
  // log2 may be off by one next to a power of two; the finer grid of the lower exponent is then rounded to, exactly.
  const unit =
    2 ** ((2 ** exponent > Math.abs(x) ? Math.max(exponent - 1, lowestExponent) : exponent) - mantissa)
  const whole = Math.floor(x / unit)
  const rest = x / unit - whole
  const rounded = (rest > 0.5 || (rest === 0.5 && whole % 2 !== 0) ? whole + 1 : whole) * unit
  const limit = (2 - 2 ** -mantissa) * 2 ** highestExponent
  if (Math.abs(rounded) > limit) return Math.sign(x) * Number.POSITIVE_INFINITY
  return rounded === 0 ? x * 0 : rounded
}

/** What elements of a dtype stand for. */
export function values(data: Data, dtype: DType): Float64Array {
  if (dtype === 'float16' || dtype === 'bfloat16') return Float64Array.from(data, bits => decode(bits, dtype))
  return Float64Array.from(data)
}

/** Float32 numbers where rounding goes wrong: ties, ends of ranges, subnormals, and random bits. */
export function trickyFloats(random: CounterRandom, count: number): Float32Array {
  const floats = new Float32Array(count)
  const words = new Uint32Array(floats.buffer)
  for (let i = 0; i < count; i++) words[i] = random.uint32()
  const chosen = [
    0, -0, 1, 65_504, 65_519.996, 65_520, 65_536, 6e-8, 2.98e-8, 2.9802322387695312e-8, 6.103515625e-5, 1e-45,
  ]
  chosen.push(
    3.3895313892515355e38,
    3.3961775292304e38,
    3.4028234663852886e38,
    Number.POSITIVE_INFINITY,
    Number.NaN,
  )
  for (let e = -30; e < 20; e++) {
    // Halfway between neighbours of either format, and next to it.
    for (const digit of [11, 8]) {
      for (const odd of [1, 3]) {
        const tie = (1 + odd * 2 ** -digit) * 2 ** e
        chosen.push(tie, -tie, tie * (1 + 2 ** -22), tie * (1 - 2 ** -22))
      }
    }
  }
  for (let i = 0; i < chosen.length && i < count; i++) floats[i] = chosen[i]!
  return floats
}

export function castCase(from: FloatName, to: FloatName, count: number): OpCase {
  const width = (dtype: FloatName) => (dtype === 'float32' ? 4 : 2)
  return {
    name: `${from} to ${to}, ${count}`,
    flops: 0,
    bytes: count * (width(from) + width(to)),
    make(random) {
      const input: HostTensor =
        from === 'float32'
          ? { dtype: from, shape: [count], data: trickyFloats(random, count) }
          : // Every pattern of 16 bits, when there is room for them.
            { dtype: from, shape: [count], data: Uint16Array.from({ length: count }, (_, i) => i & 0xffff) }
      return { input }
    },
    outputs: { out: { shape: [count], dtype: to } },
    enqueue: ({ ops, handle }, { input, out }) => ops.cast(handle, input!.handle, out!.handle),
    reference(inputs) {
      const exact = values(dataOf(inputs, 'input'), from)
      return { out: to === 'float32' ? exact : exact.map(x => round(x, to)) }
    },
  }
}

const pairs: readonly (readonly [FloatName, FloatName])[] = [
  ['float32', 'float16'],
  ['float32', 'bfloat16'],
  ['float16', 'float32'],
  ['bfloat16', 'float32'],
  ['float16', 'bfloat16'],
  ['bfloat16', 'float16'],
  ['float32', 'float32'],
  ['float16', 'float16'],
]

export const cases: readonly OpCase[] = pairs.flatMap(([from, to]) =>
  [0, 1, 3, 17, 123, 65_536 + 131].map(count => castCase(from, to, count)),
)

export function fillCase(dtype: 'float32' | 'int32' | 'bfloat16', value: number, count: number): OpCase {
  return {
    name: `fill ${dtype} with ${value}, ${count}`,
    flops: 0,
    bytes: count * (dtype === 'bfloat16' ? 2 : 4),
    make: () => ({}),
    outputs: { out: { shape: [count], dtype } },
    enqueue: ({ ops, handle }, { out }) => ops.fill(handle, out!.handle, value),
    reference: () => ({
      out: new Float64Array(count).fill(dtype === 'bfloat16' ? round(value, dtype) : Math.fround(value)),
    }),
  }
}

const filled = [0, 1, 17, 70_001]
export const fillCases: readonly OpCase[] = filled.flatMap(count => [
  fillCase('float32', 0.1, count),
  fillCase('int32', -7, count),
])
export const bfloat16FillCases: readonly Bfloat16Case[] = filled.map(count => {
  const oneCase = fillCase('bfloat16', 0.1, count)
  return { ...oneCase, plain: oneCase.reference }
})
