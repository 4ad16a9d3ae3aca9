// The numeric value of a tree at a point: every symbol stands for a number that its name alone decides.
import * as c from './complex.js'
import { type Complex, complex } from './complex.js'
import { exactValue } from './exact.js'
import { type Budget, limits } from './limits.js'
import { isInteger, toNumber } from './rational.js'
import { keyOf, type Node, symbolsOf } from './tree.js'

/** A point: values by symbol, and the largest number met while evaluating there. */
export interface Point {
  /** Which of the points; each symbol's value follows from it and the symbol's name. */
  index: number
  /** Bit j set: the j-th symbol is negative. */
  signs: number
  /** The symbols' places in the sign pattern. */
  places: ReadonlyMap<string, number>
  budget: Budget
  /** Set beforehand: bound variables, and symbols with a given value. */
  bound: Map<string, Complex>
  peak: number
}

const undefinedValue: Complex = complex(Number.NaN)

/** The value of a tree at a point; not a number where there is none. */
export function valueAt(node: Node, point: Point): Complex {
  const value = compute(node, point)
  const size = c.modulus(value)
  if (size > point.peak && size < Number.POSITIVE_INFINITY) point.peak = size
  return value
}

function compute(node: Node, point: Point): Complex {
  if (!point.budget.spend()) return undefinedValue
  switch (node.kind) {
    case 'number':
    case 'float':
      return complex(toNumber(node.value))
    case 'constant':
      return node.name === 'i' ? complex(0, 1) : complex(node.name === 'pi' ? Math.PI : Math.E)
    case 'symbol':
      return point.bound.get(node.name) ?? symbolValue(node, point)
    case 'add': {
      let total = complex(0)
      for (const arg of node.args) total = c.plus(total, valueAt(arg, point))
      return total
    }
    case 'mul': {
      // Numbers first: their product is a coefficient, rounded before anything irrational comes in.
      let total = complex(1)
      for (const arg of node.args) if (isNumeric(arg)) total = c.times(total, valueAt(arg, point))
      for (const arg of node.args) if (!isNumeric(arg)) total = c.times(total, valueAt(arg, point))
      return total
    }
    case 'pow':
      return powerAt(node.base, node.exponent, point)
    case 'call':
      return callAt(node.name, node.args, point)
    case 'unknownCall':
      return opaque(`${node.name}(${node.args.map(arg => rounded(valueAt(arg, point)))})`, point.index)
    case 'series':
      return seriesAt(node, point)
    case 'calculus':
      return calculusAt(node, point)
    case 'infinity':
      return complex(node.sign === 0 ? Number.NaN : node.sign * Number.POSITIVE_INFINITY)
    default:
      return undefinedValue
  }
}

function isNumeric(node: Node): boolean {
  return node.kind === 'number' || node.kind === 'float'
}

function powerAt(base: Node, exponent: Node, point: Point): Complex {
  if (base.kind === 'constant' && base.name === 'e') return c.exponential(valueAt(exponent, point))
  if (exponent.kind === 'number') {
    const { n, d } = exponent.value
    if (d === 2n && n === 1n) return c.squareRoot(valueAt(base, point))
    if (d === 2n && n === -1n) return c.over(complex(1), c.squareRoot(valueAt(base, point)))
  }
  return c.raise(valueAt(base, point), valueAt(exponent, point))
}

// A number from 0 to 1 that a text and the point decide: FNV-1a, then mixed.
function hashed(text: string, index: number): number {
  let hash = 0x811c9dc5 ^ (index * 0x9e3779b1)
  for (let i = 0; i < text.length; ++i) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39)
  return ((hash ^ (hash >>> 15)) >>> 0) / 4294967296
}

function symbolValue(node: Node & { kind: 'symbol' }, point: Point): Complex {
  const share = hashed(node.name, point.index)
  // Small and large values in turn, so that |x| < 1 and |x| > 1 are both seen.
  const size = point.index % 2 === 0 ? 0.15 + 0.8 * share : 1.1 + 2.5 * share
  const place = point.places.get(keyOf(node)) ?? 0
  const negative = (point.signs >> (place % 16)) & 1
  const re = negative ? -size : size
  return node.real ? complex(re) : complex(re, 0.3 + hashed(`${node.name}'`, point.index))
}

function opaque(text: string, index: number): Complex {
  return complex(0.5 + 2 * hashed(text, index))
}

function rounded(value: Complex): string {
  const part = (x: number) => (Math.abs(x) < 1e-9 ? '0' : x.toPrecision(9))
  return `${part(value.re)};${part(value.im)}`
}

function callAt(name: string, args: readonly Node[], point: Point): Complex {
  const values = args.map(arg => valueAt(arg, point))
  const [a = undefinedValue, b = undefinedValue] = values
  const inverse = (f: (x: Complex) => Complex) => c.over(complex(1), f(a))
  switch (name) {
    case 'abs':
      return complex(c.modulus(a))
    case 'floor':
    case 'ceiling':
      return wholePart(name, args[0], a)
    case 'log':
      return args[1]?.kind === 'constant' && args[1].name === 'e'
        ? c.logarithm(a)
        : c.over(c.logarithm(a), c.logarithm(b))
    case 'sin':
      return c.sine(a)
    case 'cos':
      return c.cosine(a)
    case 'tan':
      return c.over(c.sine(a), c.cosine(a))
    case 'cot':
      return c.over(c.cosine(a), c.sine(a))
    case 'sec':
      return inverse(c.cosine)
    case 'csc':
      return inverse(c.sine)
    case 'asin':
      return c.arcSine(a)
    case 'acos':
      return c.arcCosine(a)
    case 'atan':
      return c.arcTangent(a)
    case 'acot':
      return c.arcTangent(c.over(complex(1), a))
    case 'asec':
      return c.arcCosine(c.over(complex(1), a))
    case 'acsc':
      return c.arcSine(c.over(complex(1), a))
    case 'sinh':
      return c.hyperbolicSine(a)
    case 'cosh':
      return c.hyperbolicCosine(a)
    case 'tanh':
      return c.over(c.hyperbolicSine(a), c.hyperbolicCosine(a))
    case 'asinh':
      return c.areaSine(a)
    case 'acosh':
      return c.areaCosine(a)
    case 'atanh':
      return c.areaTangent(a)
    case 'factorial':
      return gamma(c.plus(a, complex(1)))
    case 'binomial':
      return binomialAt(args, a, b)
    case 'max':
    case 'min':
      if (values.some(value => value.im !== 0)) return undefinedValue
      return complex(Math[name](...values.map(value => value.re)))
    case 'mod':
      return complex(a.re - b.re * Math.floor(a.re / b.re), a.im)
    default:
      return opaque(`${name}(${values.map(rounded)})`, point.index)
  }
}

function wholePart(name: 'floor' | 'ceiling', arg: Node | undefined, value: Complex): Complex {
  const exact = arg && exactValue(arg)
  if (exact && isInteger(exact)) return value
  const round = name === 'floor' ? Math.floor : Math.ceil
  return complex(round(value.re), round(value.im))
}

const lanczos = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
]

// Lanczos' approximation, by reflection on the left.
function gamma(z: Complex): Complex {
  if (z.im === 0 && Number.isInteger(z.re)) {
    if (z.re <= 0 || z.re > 170) return undefinedValue
    let product = 1
    for (let i = 2; i < z.re; ++i) product *= i
    return complex(product)
  }
  if (z.re < 0.5) {
    const sine = c.sine(c.times(complex(Math.PI), z))
    return c.over(complex(Math.PI), c.times(sine, gamma(c.minus(complex(1), z))))
  }
  const x = c.minus(z, complex(1))
  let total = complex(lanczos[0] as number)
  for (let i = 1; i < lanczos.length; ++i)
    total = c.plus(total, c.over(complex(lanczos[i] as number), c.plus(x, complex(i))))
  const t = c.plus(x, complex(7.5))
  const scaled = c.times(c.raise(t, c.plus(x, complex(0.5))), c.exponential(c.times(complex(-1), t)))
  return c.times(c.times(complex(Math.sqrt(2 * Math.PI)), scaled), total)
}

function binomialAt(args: readonly Node[], n: Complex, k: Complex): Complex {
  const whole = args[1] && exactValue(args[1])
  if (whole && isInteger(whole) && whole.n >= 0n && whole.n <= 60n) {
    let result = complex(1)
    for (let i = 0; i < Number(whole.n); ++i)
      result = c.times(result, c.over(c.minus(n, complex(i)), complex(i + 1)))
    return result
  }
  const one = complex(1)
  return c.over(gamma(c.plus(n, one)), c.times(gamma(c.plus(k, one)), gamma(c.plus(c.minus(n, k), one))))
}

function seriesAt(node: Node & { kind: 'series' }, point: Point): Complex {
  const from = exactValue(node.from)
  const to = exactValue(node.to)
  const bounded = from && to && isInteger(from) && isInteger(to) && to.n - from.n < BigInt(limits.terms)
  if (!bounded || node.variable.kind !== 'symbol') return opaque(keyOf(node), point.index)
  const { name } = node.variable
  const before = point.bound.get(name)
  let total = complex(node.name === 'sum' ? 0 : 1)
  for (let i = from.n; i <= to.n && !point.budget.exhausted; ++i) {
    point.bound.set(name, complex(Number(i)))
    const value = valueAt(node.body, point)
    total = node.name === 'sum' ? c.plus(total, value) : c.times(total, value)
  }
  if (before) point.bound.set(name, before)
  else point.bound.delete(name)
  return total
}

// Five points of Gauss and Legendre on each of eight parts: nodes and weights on [-1, 1].
const gauss: readonly (readonly [number, number])[] = [
  [0, 0.5688888888888889],
  [0.5384693101056831, 0.4786286704993665],
  [-0.5384693101056831, 0.4786286704993665],
  [0.906179845938664, 0.23692688505618908],
  [-0.906179845938664, 0.23692688505618908],
]
const parts = 8

// Definite integrals by quadrature; a derivative of what does not have the variable is 0. All else is only a name.
function calculusAt(node: Node & { kind: 'calculus' }, point: Point): Complex {
  const [body, variable, from, to] = node.args
  if (!body || variable?.kind !== 'symbol') return opaque(keyOf(node), point.index)
  const { name } = variable
  if (node.name === 'derivative')
    return [...symbolsOf(body).values()].some(symbol => symbol.name === name)
      ? opaque(keyOf(node), point.index)
      : complex(0)
  const start = from && valueAt(from, point)
  const end = to && valueAt(to, point)
  if (node.name !== 'integral' || !start || !end || start.im !== 0 || end.im !== 0)
    return opaque(keyOf(node), point.index)
  const before = point.bound.get(name)
  const half = (end.re - start.re) / parts / 2
  let total = complex(0)
  for (let part = 0; part < parts; ++part) {
    const middle = start.re + half * (2 * part + 1)
    for (const [place, weight] of gauss) {
      point.bound.set(name, complex(middle + half * place))
      total = c.plus(total, c.times(complex(weight * half), valueAt(body, point)))
    }
  }
  if (before) point.bound.set(name, before)
  else point.bound.delete(name)
  return total
}
