// Whether two values are equal: as rounded decimals, as exact fractions, as constants, or at sampled points.
import { type Complex, isFiniteComplex, minus, modulus } from './complex.js'
import { exactValue, exactValueAt, hasFloat, isWhole } from './exact.js'
import { EvaluationBudget, limits } from './limits.js'
import { matrixOf } from './matrices.js'
import { complexConstant } from './order.js'
import { polynomialDistance } from './polynomial.js'
import { equal, integer, subtract, toNumber } from './rational.js'
import { type Point, valueAt } from './sampled.js'
import { isPercentOf, keyOf, type Node, symbolsOf } from './tree.js'

/** Math-Verify drops what is below 2^-50 in a difference, however small the values are. */
const chopped = 2 ** -50
/** Relative error of doubles after a few hundred operations. */
const roundOff = 1e-11
/** Strict: decimals also agree to five digits of the value, not only to six places after the point. */
const strictDecimals = 1e-5

function isFloat(node: Node): boolean {
  return node.kind === 'float' || (isPercentOf(node) && node.args[0].kind === 'float')
}

function isNumber(node: Node): boolean {
  const bare = isPercentOf(node) ? node.args[0] : node
  return bare.kind === 'number' || bare.kind === 'float' || bare.kind === 'infinity'
}

/** Equality of two trees that are neither sets nor relations nor bare symbols. */
export function equalValues(gold: Node, answer: Node, strict: boolean): boolean {
  const ours = matrixOf(gold)
  const theirs = matrixOf(answer)
  if (ours || theirs) return ours !== undefined && theirs !== undefined && equalMatrices(ours, theirs, strict)
  if (gold.kind === 'infinity' || answer.kind === 'infinity') {
    const [x, y] = [infinityOf(gold), infinityOf(answer)]
    return x !== 0 && x === y
  }
  if (isFloat(gold) || isFloat(answer)) return equalDecimals(gold, answer, strict)
  const a = exactValue(gold)
  const b = exactValue(answer)
  const decimals = hasFloat(gold) || hasFloat(answer)
  if (a && b) {
    if (equal(a, b) && (strict || !decimals)) return true
    if (decimals) return equalDoubles(gold, answer, strict)
    const difference = subtract(a, b)
    const size = difference ? Math.abs(toNumber(difference)) : Number.POSITIVE_INFINITY
    return !strict && !isNumber(gold) && !isNumber(answer) && size < chopped
  }
  return decimals && symbolsOf(gold).size === 0 && symbolsOf(answer).size === 0
    ? equalDoubles(gold, answer, strict)
    : equalAtPoints(gold, answer, strict)
}

// Constants with decimal numbers inside are sums of doubles in Math-Verify, with their errors: added up exactly, or
// with coefficients rounded on the way.
function equalDoubles(gold: Node, answer: Node, strict: boolean): boolean {
  const x = complexConstant(gold)
  const y = complexConstant(answer)
  if (!x || !y) return false
  const distance = modulus(minus(x, y))
  if (strict) return distance <= roundOff * Math.max(modulus(x), modulus(y))
  if (isNumber(gold) || isNumber(answer)) return distance === 0
  const exact = polynomialDistance(gold, answer)
  if (exact === undefined) return distance < chopped
  return exact < chopped || roundedCoefficients(gold) === roundedCoefficients(answer)
}

// A multiple of a constant, its coefficient rounded after each product.
function roundedCoefficients(node: Node): string {
  let coefficient = 1
  const others: string[] = []
  const visit = (factor: Node): void => {
    if (factor.kind === 'mul') for (const arg of factor.args) visit(arg)
    else if (factor.kind === 'number' || factor.kind === 'float') coefficient *= toNumber(factor.value)
    else {
      const value = factor.kind === 'pow' ? exactValue(factor) : undefined
      if (value) coefficient *= toNumber(value)
      else others.push(keyOf(factor))
    }
  }
  visit(node)
  return `${coefficient}*${others.sort().join('*')}`
}

// The sign of an infinite constant, 0 for anything else.
function infinityOf(node: Node): number {
  if (symbolsOf(node).size > 0) return 0
  const point: Point = {
    index: 1,
    signs: 0,
    places: new Map(),
    budget: new EvaluationBudget(limits.nodes),
    bound: new Map(),
    peak: 0,
  }
  const { re, im } = valueAt(node, point)
  return Math.abs(re) === Number.POSITIVE_INFINITY && im === 0 ? Math.sign(re) : 0
}

function equalMatrices(
  gold: Node & { kind: 'matrix' },
  answer: Node & { kind: 'matrix' },
  strict: boolean,
): boolean {
  if (gold.rows.length !== answer.rows.length || gold.rows[0]?.length !== answer.rows[0]?.length) return false
  return gold.rows.every((row, i) =>
    row.every((item, j) => {
      const other = answer.rows[i]?.[j] as Node
      return keyOf(item) === keyOf(other) || equalValues(item, other, strict)
    }),
  )
}

// With a decimal number on one side: equal after rounding to six places; a whole number must be met exactly.
function equalDecimals(gold: Node, answer: Node, strict: boolean): boolean {
  const a = exactValue(gold)
  const b = exactValue(answer)
  if (a && b && equal(a, b)) return true
  const x = a ? { re: toNumber(a), im: 0 } : complexConstant(gold)
  const y = b ? { re: toNumber(b), im: 0 } : complexConstant(answer)
  if (!x || !y) return equalAtPoints(gold, answer, strict)
  if (isWhole(gold) || isWhole(answer)) return x.re === y.re && x.im === y.im
  // Strictly, tiny numbers are not all alike.
  if (strict && modulus(minus(x, y)) > strictDecimals * Math.max(modulus(x), modulus(y))) return false
  return toSixPlaces(x.re) === toSixPlaces(y.re) && toSixPlaces(x.im) === toSixPlaces(y.im)
}

function toSixPlaces(value: number): number {
  const scaled = value * 1e6
  if (Math.abs(scaled) >= 2 ** 52) return value
  const down = Math.floor(scaled)
  const part = scaled - down
  // Halves go to the even neighbour.
  const near = Math.abs(part - 0.5) < 1e-7 ? down + (down % 2 === 0 ? 0 : 1) : Math.round(scaled)
  return near / 1e6
}

/** Points per comparison: enough for every sign pattern of four symbols, twice. */
const mostPoints = 32

/** Equality at seeded points: all sign patterns, sizes below and above one. */
export function equalAtPoints(gold: Node, answer: Node, strict = false): boolean {
  const decimals = !strict && (hasFloat(gold) || hasFloat(answer))
  return (
    compareAtPoints(gold, answer, (a, b, peak) => closeEnough(a, b, peak, strict, decimals)) === true &&
    !differExactly(gold, answer)
  )
}

// Quotients of polynomials at whole numbers: doubles do not see a small difference of large values.
function differExactly(gold: Node, answer: Node): boolean {
  const symbols = [...symbolsOf(answer, symbolsOf(gold)).values()]
  if (symbols.some(({ real }) => !real)) return false
  const values = new Map(symbols.map(({ name }, i) => [name, integer(101 + 37 * i)]))
  const a = exactValueAt(gold, values)
  const b = a && exactValueAt(answer, values)
  return a !== undefined && b !== undefined && !equal(a, b)
}

function closeEnough(a: Complex, b: Complex, peak: number, strict: boolean, decimals: boolean): boolean {
  const distance = modulus(minus(a, b))
  const scale = Math.max(modulus(a), modulus(b))
  // Decimal coefficients must agree as doubles do.
  if (decimals) return distance <= 2e-15 * Math.max(1, peak)
  if (distance <= roundOff * scale || distance <= 1e-15 * Math.min(peak, 1e6 * scale)) return true
  return !strict && distance < chopped
}

/**
 * Holds `test` against both values at every point where both are numbers; undefined where there are no such points.
 */
export function compareAtPoints(
  gold: Node,
  answer: Node,
  test: (a: Complex, b: Complex, peak: number) => boolean,
): boolean | undefined {
  const symbols = symbolsOf(answer, symbolsOf(gold))
  const places = new Map([...symbols.keys()].sort().map((key, i) => [key, i] as const))
  const patterns = Math.min(mostPoints / 2, 2 ** symbols.size)
  const count = symbols.size === 0 ? 1 : patterns * 2
  const budget = new EvaluationBudget(limits.comparison)
  let usable = 0
  for (let i = 0; i < count; ++i) {
    // With many symbols not all sign patterns fit: an odd multiplier spreads them.
    const signs = symbols.size <= 4 ? i >> 1 : Math.imul(i >> 1, 0x9e3779b1) >>> 8
    const point: Point = { index: i, signs, places, budget, bound: new Map(), peak: 0 }
    const a = valueAt(gold, point)
    const b = valueAt(answer, point)
    if (budget.exhausted) return undefined
    const known = isFiniteComplex(a)
    if (known !== isFiniteComplex(b)) return false
    if (!known) continue
    ++usable
    if (!test(a, b, point.peak)) return false
  }
  return usable === 0 ? undefined : true
}
