// Complex numbers of two doubles, with principal branches as computer algebra systems have them.

export interface Complex {
  readonly re: number
  readonly im: number
}

export function complex(re: number, im = 0): Complex {
  return { re, im }
}

export function plus(a: Complex, b: Complex): Complex {
  return { re: a.re + b.re, im: a.im + b.im }
}

export function minus(a: Complex, b: Complex): Complex {
  return { re: a.re - b.re, im: a.im - b.im }
}

export function times(a: Complex, b: Complex): Complex {
  if (a.im === 0 && b.im === 0) return { re: a.re * b.re, im: 0 }
  return { re: a.re * b.re - a.im * b.im, im: a.re * b.im + a.im * b.re }
}

export function over(a: Complex, b: Complex): Complex {
  if (b.im === 0) return { re: a.re / b.re, im: a.im / b.re }
  const size = b.re * b.re + b.im * b.im
  return { re: (a.re * b.re + a.im * b.im) / size, im: (a.im * b.re - a.re * b.im) / size }
}

export function modulus(a: Complex): number {
  return a.im === 0 ? Math.abs(a.re) : Math.hypot(a.re, a.im)
}

export function isFiniteComplex(a: Complex): boolean {
  return Number.isFinite(a.re) && Number.isFinite(a.im)
}

export function exponential(a: Complex): Complex {
  const size = Math.exp(a.re)
  return a.im === 0 ? { re: size, im: 0 } : { re: size * Math.cos(a.im), im: size * Math.sin(a.im) }
}

export function logarithm(a: Complex): Complex {
  return { re: Math.log(modulus(a)), im: Math.atan2(a.im, a.re) }
}

export function squareRoot(a: Complex): Complex {
  if (a.im === 0) return a.re >= 0 ? { re: Math.sqrt(a.re), im: 0 } : { re: 0, im: Math.sqrt(-a.re) }
  const size = modulus(a)
  const re = Math.sqrt((size + a.re) / 2)
  const im = Math.sqrt((size - a.re) / 2)
  return { re, im: a.im < 0 ? -im : im }
}

export function raise(a: Complex, b: Complex): Complex {
  if (b.re === 0 && b.im === 0) return { re: 1, im: 0 }
  if (b.im === 0) {
    if (a.im === 0 && (a.re >= 0 || Number.isInteger(b.re))) return { re: a.re ** b.re, im: 0 }
    if (b.re === 0.5) return squareRoot(a)
    if (Number.isInteger(b.re) && Math.abs(b.re) <= 64) return wholePower(a, b.re)
  }
  if (a.re === 0 && a.im === 0) return { re: b.re > 0 ? 0 : Number.NaN, im: 0 }
  return exponential(times(b, logarithm(a)))
}

function wholePower(a: Complex, exponent: number): Complex {
  let result: Complex = { re: 1, im: 0 }
  let factor = a
  for (let left = Math.abs(exponent); left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = times(result, factor)
    factor = times(factor, factor)
  }
  return exponent < 0 ? over({ re: 1, im: 0 }, result) : result
}

function half(a: Complex): Complex {
  return { re: a.re / 2, im: a.im / 2 }
}

const unit: Complex = { re: 1, im: 0 }
const imaginary: Complex = { re: 0, im: 1 }

export function sine(a: Complex): Complex {
  if (a.im === 0) return { re: Math.sin(a.re), im: 0 }
  return { re: Math.sin(a.re) * Math.cosh(a.im), im: Math.cos(a.re) * Math.sinh(a.im) }
}

export function cosine(a: Complex): Complex {
  if (a.im === 0) return { re: Math.cos(a.re), im: 0 }
  return { re: Math.cos(a.re) * Math.cosh(a.im), im: -Math.sin(a.re) * Math.sinh(a.im) }
}

export function hyperbolicSine(a: Complex): Complex {
  return half(minus(exponential(a), exponential({ re: -a.re, im: -a.im })))
}

export function hyperbolicCosine(a: Complex): Complex {
  return half(plus(exponential(a), exponential({ re: -a.re, im: -a.im })))
}

export function arcSine(a: Complex): Complex {
  if (a.im === 0 && Math.abs(a.re) <= 1) return { re: Math.asin(a.re), im: 0 }
  // -i log(i a + sqrt(1 - a^2))
  const inner = plus(times(imaginary, a), squareRoot(minus(unit, times(a, a))))
  const log = logarithm(inner)
  return { re: log.im, im: -log.re }
}

export function arcCosine(a: Complex): Complex {
  const arc = arcSine(a)
  return { re: Math.PI / 2 - arc.re, im: -arc.im }
}

export function arcTangent(a: Complex): Complex {
  if (a.im === 0) return { re: Math.atan(a.re), im: 0 }
  const left = logarithm(minus(unit, times(imaginary, a)))
  const right = logarithm(plus(unit, times(imaginary, a)))
  return times(half(imaginary), minus(left, right))
}

export function areaSine(a: Complex): Complex {
  if (a.im === 0) return { re: Math.asinh(a.re), im: 0 }
  return logarithm(plus(a, squareRoot(plus(times(a, a), unit))))
}

export function areaCosine(a: Complex): Complex {
  const root = times(squareRoot(plus(a, unit)), squareRoot(minus(a, unit)))
  return logarithm(plus(a, root))
}

export function areaTangent(a: Complex): Complex {
  return half(minus(logarithm(plus(unit, a)), logarithm(minus(unit, a))))
}
