// Expressions with decimal numbers as polynomials with exact coefficients, in whatever is no number: symbols, roots,
// pi. Decimals count as the doubles that stand for them, so that differences show as they do in Math-Verify.
import { type Budget, EvaluationBudget, limits } from './limits.js'
import { complexConstant, constantOf } from './order.js'
import { add, fraction, multiply, one, power, type Rational, subtract, toNumber, zero } from './rational.js'
import { keyOf, type Node, negative } from './tree.js'

/** Coefficients by product of powers, each written as a sorted list. */
type Polynomial = ReadonlyMap<string, Rational>

const mostTerms = 200

/** How far apart two constants are, by their coefficients; undefined where they are no short polynomials. */
export function polynomialDistance(a: Node, b: Node): number | undefined {
  const reading: Reading = { budget: new EvaluationBudget(limits.nodes), atoms: new Map() }
  const left = polynomialOf(a, reading)
  const right = left && polynomialOf(b, reading)
  if (!left || !right) return undefined
  let total = 0
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const difference = subtract(left.get(key) ?? zero, right.get(key) ?? zero)
    if (!difference) return undefined
    if (difference.n === 0n) continue
    const args = key.split('*').flatMap(part => reading.atoms.get(part) ?? [])
    const value = complexConstant({ kind: 'mul', args })
    if (!value) return undefined
    total += toNumber(difference) * value.re
  }
  return Math.abs(total)
}

interface Reading {
  budget: Budget
  /** What is no number, by its key. */
  atoms: Map<string, Node>
}

function polynomialOf(node: Node, reading: Reading): Polynomial | undefined {
  if (!reading.budget.spend()) return undefined
  switch (node.kind) {
    case 'number':
      return new Map([['', node.value]])
    case 'float': {
      const value = asDouble(node.value)
      return value && new Map([['', value]])
    }
    case 'add':
      return fold(node.args, new Map(), plus, reading)
    case 'mul':
      return fold(node.args, new Map([['', one]]), times, reading)
    case 'pow':
      return powerOf(node.base, node.exponent, reading)
    case 'call': {
      const [inner] = node.args
      const value = node.name === 'abs' && inner ? constantOf(inner) : undefined
      if (value === undefined || !inner) return atom(node, reading)
      return polynomialOf(value < 0 ? negative(inner) : inner, reading)
    }
    default:
      return atom(node, reading)
  }
}

function atom(node: Node, reading: Reading): Polynomial {
  const key = keyOf(node)
  reading.atoms.set(key, node)
  return new Map([[key, one]])
}

// The fraction that a double is.
function asDouble(value: Rational): Rational | undefined {
  const double = toNumber(value)
  if (!Number.isFinite(double)) return undefined
  let scale = 1n
  let scaled = double
  while (!Number.isInteger(scaled)) {
    scaled *= 2
    scale *= 2n
  }
  return fraction(BigInt(scaled), scale)
}

function fold(
  args: readonly Node[],
  start: Polynomial,
  combine: (a: Polynomial, b: Polynomial) => Polynomial | undefined,
  reading: Reading,
): Polynomial | undefined {
  let total: Polynomial | undefined = start
  for (const arg of args) {
    const value = polynomialOf(arg, reading)
    total = value && combine(total, value)
    if (!total) return undefined
  }
  return total
}

function plus(a: Polynomial, b: Polynomial): Polynomial | undefined {
  const total = new Map(a)
  for (const [key, value] of b) {
    const both = add(total.get(key) ?? zero, value)
    if (!both) return undefined
    total.set(key, both)
  }
  return total.size > mostTerms ? undefined : total
}

function times(a: Polynomial, b: Polynomial): Polynomial | undefined {
  if (a.size * b.size > mostTerms * 4) return undefined
  let total: Polynomial | undefined = new Map()
  for (const [key, value] of a) {
    const row = new Map<string, Rational>()
    for (const [other, factor] of b) {
      const product = multiply(value, factor)
      if (!product) return undefined
      row.set(joined(key, other), product)
    }
    total = total && plus(total, row)
  }
  return total
}

function joined(a: string, b: string): string {
  return [...a.split('*'), ...b.split('*')]
    .filter(part => part !== '')
    .sort()
    .join('*')
}

function powerOf(base: Node, exponent: Node, reading: Reading): Polynomial | undefined {
  if (exponent.kind === 'number' && exponent.value.d === 1n) {
    const inner = polynomialOf(base, reading)
    const constant = inner?.size === 1 ? inner.get('') : undefined
    const value = constant && power(constant, exponent.value)
    if (value) return new Map([['', value]])
    if (inner && exponent.value.n > 0n && exponent.value.n <= 16n) {
      let total: Polynomial | undefined = new Map([['', one]])
      for (let i = 0n; i < exponent.value.n && total; ++i) total = times(total, inner)
      return total
    }
  }
  return atom({ kind: 'pow', base, exponent }, reading)
}
