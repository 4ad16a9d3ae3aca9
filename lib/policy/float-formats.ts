// float16 and bfloat16 in memory, as checkpoints store them: to float32 exactly, from float32 to nearest even.
// Bytes are little-endian, as in safetensors and on every processor that luffy runs on.

const scratchFloat = new Float32Array(1)
const scratchBits = new Uint32Array(scratchFloat.buffer)

// All 65,536 values, made at the first use: reading is then one load per number.
let float16Values: Float32Array | undefined

function float16Table(): Float32Array {
  if (float16Values !== undefined) return float16Values
  const table = new Float32Array(1 << 16)
  for (let bits = 0; bits < table.length; ++bits) {
    const sign = bits & 0x8000 ? -1 : 1
    const exponent = (bits >> 10) & 31
    const mantissa = bits & 1023
    if (exponent === 0) table[bits] = sign * mantissa * 2 ** -24
    else if (exponent < 31) table[bits] = sign * (1024 + mantissa) * 2 ** (exponent - 25)
    else table[bits] = mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  }
  float16Values = table
  return table
}

export function float16ToFloat32(source: Uint16Array, target: Float32Array): void {
  const table = float16Table()
  for (let i = 0; i < source.length; ++i) target[i] = table[source[i]!]!
}

export function bfloat16ToFloat32(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, source.length)
  for (let i = 0; i < source.length; ++i) bits[i] = source[i]! << 16
}

export function float32ToBfloat16(source: Float32Array, target: Uint16Array): void {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length)
  for (let i = 0; i < bits.length; ++i) {
    const word = bits[i]!
    // NaN would round to infinity where only its low bits are set.
    const isNotANumber = (word & 0x7fffffff) > 0x7f800000
    target[i] = isNotANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
  }
}

export function float32ToFloat16(source: Float32Array, target: Uint16Array): void {
  for (let i = 0; i < source.length; ++i) target[i] = float16Bits(source[i]!)
}

function float16Bits(value: number): number {
  scratchFloat[0] = value
  const word = scratchBits[0]!
  const sign = (word >>> 16) & 0x8000
  const magnitude = word & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  // 65520 is the middle between the largest float16 and the next power of two, and rounds up.
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude >= 0x38800000) {
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1)
    return sign | ((rounded - 0x38000000) >>> 13)
  }
  // Subnormal: units of 2^-24; the sum with 2^23 rounds to nearest even in float32.
  return sign | (Math.fround(Math.abs(value) * 2 ** 24 + 2 ** 23) - 2 ** 23)
}

/** How many NaN and infinities there are. */
export function countNonFinite(values: Float32Array): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  let count = 0
  for (let i = 0; i < bits.length; ++i) {
    if ((bits[i]! & 0x7f800000) === 0x7f800000) ++count
  }
  return count
}
