import test from 'ava'
import {
  bfloat16ToFloat32,
  countNonFinite,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from '../../lib/policy/float-formats.js'

const all = Uint16Array.from({ length: 1 << 16 }, (_, i) => i)

// The value of a small format from its definition.
function formatValue(bits: number, exponentBits: number, mantissaBits: number): number {
  const sign = bits >>> (exponentBits + mantissaBits) ? -1 : 1
  const exponent = (bits >>> mantissaBits) & ((1 << exponentBits) - 1)
  const fraction = (bits & ((1 << mantissaBits) - 1)) / 2 ** mantissaBits
  const bias = 2 ** (exponentBits - 1) - 1
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias)
}

for (const [name, exponentBits, mantissaBits, widen, narrow] of [
  ['float16', 5, 10, float16ToFloat32, float32ToFloat16],
  ['bfloat16', 8, 7, bfloat16ToFloat32, float32ToBfloat16],
] as const) {
  test(`${name}: all values widen to what they stand for, and come back`, t => {
    const wide = new Float32Array(all.length)
    widen(all, wide)
    const back = new Uint16Array(all.length)
    narrow(wide, back)
    let wrong = 0
    for (const bits of all) {
      const expected = formatValue(bits, exponentBits, mantissaBits)
      if (!Object.is(wide[bits], expected)) ++wrong
      // A NaN stays a NaN; everything else keeps its bits.
      const returned = Number.isNaN(expected)
        ? Number.isNaN(formatValue(back[bits]!, exponentBits, mantissaBits))
        : back[bits] === bits
      if (!returned) ++wrong
    }
    t.is(wrong, 0)
  })

  test(`${name}: float32 is rounded to nearest, ties to even`, t => {
    const finite = all.filter(
      bits => bits < 0x8000 && Number.isFinite(formatValue(bits, exponentBits, mantissaBits)),
    )
    t.true(finite.length > 31_000)
    const largest = finite.at(-1)!
    for (const bits of finite) {
      if (bits % 7 !== 0 && bits !== largest && bits > 40) continue
      const low = formatValue(bits, exponentBits, mantissaBits)
      const ulp =
        low -
        (bits === 0
          ? -formatValue(1, exponentBits, mantissaBits)
          : formatValue(bits - 1, exponentBits, mantissaBits))
      const high = bits === largest ? low + ulp : formatValue(bits + 1, exponentBits, mantissaBits)
      const middle = (low + high) / 2
      const even = bits % 2 === 0 ? bits : bits + 1
      const below = new Float32Array(1)
      const near = new Uint32Array(below.buffer)
      below[0] = middle
      const steps: [number, number][] = [
        [middle, even],
        [low + (high - low) * 0.25, bits],
        [low + (high - low) * 0.75, bits + 1],
      ]
      if (below[0] === middle && near[0]! > 0) {
        near[0]! -= 1
        steps.push([below[0]!, bits])
        near[0]! += 2
        steps.push([below[0]!, bits + 1])
      }
      for (const [value, expected] of steps) {
        // Near the smallest bfloat16 float32 has no value in between.
        if (Math.fround(value) !== value) continue
        for (const sign of [1, -1]) {
          const rounded = new Uint16Array(1)
          narrow(Float32Array.of(sign * value), rounded)
          const want = sign === 1 ? expected : expected | 0x8000
          if (rounded[0] !== want) t.fail(`${sign * value}: got ${rounded[0]}, expected ${want}`)
        }
      }
    }
  })
}

test('NaN and infinities are counted, whatever their bits', t => {
  const bits = Uint32Array.of(
    0x7f800000,
    0xff800000,
    0x7f800001,
    0xffffffff,
    0x7f7fffff,
    0,
    0x80000000,
    1,
    0x3f800000,
  )
  t.is(countNonFinite(new Float32Array(bits.buffer)), 4)
  t.is(countNonFinite(new Float32Array(0)), 0)
})
