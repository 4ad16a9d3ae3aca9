// Exact fractions of BigInts, in lowest terms with a positive denominator; undefined where a result would be too long.
import { limits, spendVerdict } from './limits.js'

export interface Rational {
  readonly n: bigint
  readonly d: bigint
}

export const zero: Rational = { n: 0n, d: 1n }
export const one: Rational = { n: 1n, d: 1n }

/** The greatest common divisor; undefined where it costs too much. Euclid's steps grow with the shorter number's bits. */
export function gcd(a: bigint, b: bigint): bigint | undefined {
  if (!isShort(a) && !isShort(b)) {
    const bits = Math.min(bitLength(a), bitLength(b))
    if (!spendVerdict(bits ** 2 / 320)) return undefined
  }
  while (b !== 0n) [a, b] = [b, a % b]
  return a < 0n ? -a : a
}

function isShort(value: bigint): boolean {
  return value < 1n << 64n && value > -(1n << 64n)
}

/** Number of bits, to within four: the length in hexadecimal. */
export function bitLength(value: bigint): number {
  return (value < 0n ? -value : value).toString(16).length * 4
}

/** n/d in lowest terms; undefined for d = 0 or too many bits. */
export function fraction(n: bigint, d: bigint): Rational | undefined {
  if (d === 0n) return undefined
  const common = gcd(n, d)
  if (common === undefined) return undefined
  if (d < 0n) [n, d] = [-n, -d]
  if (common !== 1n && common !== 0n) [n, d] = [n / common, d / common]
  // Small numbers pass without their length being written out.
  if (isShort(n) && isShort(d)) return { n, d }
  const [top, bottom] = [bitLength(n), bitLength(d)]
  return top <= limits.bits && bottom <= limits.bits && spendVerdict((top + bottom) / 64)
    ? { n, d }
    : undefined
}

export function integer(value: bigint | number): Rational {
  return { n: BigInt(value), d: 1n }
}

/** The value of decimal digits such as `12`, `.5` or `3.25`, with a power of ten; undefined where too long. */
export function decimal(text: string, exponent = 0): Rational | undefined {
  if (text.length > limits.digits || Math.abs(exponent) > limits.digits) return undefined
  const match = /^(-?)(\d*)(?:\.(\d*))?$/.exec(text)
  if (!match) return undefined
  const [, sign, whole = '', part = ''] = match
  if (whole === '' && part === '') return undefined
  const digits = BigInt(whole + part) * (sign === '-' ? -1n : 1n)
  const shift = exponent - part.length
  return shift >= 0 ? fraction(digits * 10n ** BigInt(shift), 1n) : fraction(digits, 10n ** BigInt(-shift))
}

export function add(a: Rational, b: Rational): Rational | undefined {
  return a.d === 1n && b.d === 1n ? fraction(a.n + b.n, 1n) : fraction(a.n * b.d + b.n * a.d, a.d * b.d)
}

export function negate(a: Rational): Rational {
  return { n: -a.n, d: a.d }
}

export function subtract(a: Rational, b: Rational): Rational | undefined {
  return add(a, negate(b))
}

export function multiply(a: Rational, b: Rational): Rational | undefined {
  return fraction(a.n * b.n, a.d * b.d)
}

export function divide(a: Rational, b: Rational): Rational | undefined {
  return fraction(a.n * b.d, a.d * b.n)
}

export function isInteger(a: Rational): boolean {
  return a.d === 1n
}

export function equal(a: Rational, b: Rational): boolean {
  return a.n === b.n && a.d === b.d
}

/** Negative, zero or positive as a is less than, equal to or greater than b. */
export function compare(a: Rational, b: Rational): number {
  const difference = a.n * b.d - b.n * a.d
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

export function floor(a: Rational): Rational {
  const whole = a.n / a.d
  return integer(a.n < 0n && whole * a.d !== a.n ? whole - 1n : whole)
}

/** a to the power b, where it is rational and short enough. */
export function power(a: Rational, b: Rational): Rational | undefined {
  if (b.n === 0n) return one
  if (a.n === 0n) return b.n > 0n ? zero : undefined
  if (b.d !== 1n) {
    const root = rootOf(a, b.d)
    return root && power(root, { n: b.n, d: 1n })
  }
  const exponent = b.n < 0n ? -b.n : b.n
  const base = a.n < 0n ? { n: -a.n, d: a.d } : a
  const sign = a.n < 0n && exponent % 2n === 1n ? -1n : 1n
  let n = base.n
  let d = base.d
  if (n !== 1n || d !== 1n) {
    const bits = Math.max(bitLength(n), bitLength(d))
    if (exponent > BigInt(limits.bits) || Number(exponent) * bits > limits.bits) return undefined
    n **= exponent
    d **= exponent
  }
  return b.n < 0n ? fraction(sign * d, n) : fraction(sign * n, d)
}

// The exact k-th root of a fraction that is not negative, where there is one.
function rootOf(a: Rational, k: bigint): Rational | undefined {
  if (a.n < 0n || k > 64n) return undefined
  const n = integerRoot(a.n, k)
  const d = integerRoot(a.d, k)
  return n === undefined || d === undefined ? undefined : { n, d }
}

// Newton's iteration from above; undefined where the root is not whole.
function integerRoot(value: bigint, k: bigint): bigint | undefined {
  if (value < 2n) return value
  if (bitLength(value) > 4_096) return undefined
  let x = 1n << (BigInt(bitLength(value)) / k + 1n)
  for (;;) {
    const next = ((k - 1n) * x + value / x ** (k - 1n)) / k
    if (next >= x) break
    x = next
  }
  return x ** k === value ? x : undefined
}

/** The nearest number; infinite where it has no place in a double. */
export function toNumber(a: Rational): number {
  const n = Number(a.n)
  const d = Number(a.d)
  if (Number.isFinite(n) && Number.isFinite(d)) return n / d
  // Both are long: take their leading 60 bits.
  const shiftN = Math.max(0, bitLength(a.n) - 60)
  const shiftD = Math.max(0, bitLength(a.d) - 60)
  return (Number(a.n >> BigInt(shiftN)) / Number(a.d >> BigInt(shiftD))) * 2 ** (shiftN - shiftD)
}
