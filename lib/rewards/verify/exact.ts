// The exact value of a tree without symbols, where that value is rational and short enough.
import { type Budget, EvaluationBudget, limits, spendVerdict } from './limits.js'
import {
  add,
  compare,
  divide,
  floor,
  fraction,
  gcd,
  integer,
  isInteger,
  multiply,
  negate,
  one,
  power,
  type Rational,
  subtract,
  zero,
} from './rational.js'
import { isIntegerNode, type Node } from './tree.js'

type Values = ReadonlyMap<string, Rational>

const none: Values = new Map()
const cache = new WeakMap<object, { value: Rational | undefined }>()

/** The rational value of a tree, or undefined. Decimal numbers count as the fractions they are written as. */
export function exactValue(node: Node): Rational | undefined {
  const known = cache.get(node)
  if (known) return known.value
  const value = evaluate(node, new EvaluationBudget(limits.nodes), none)
  cache.set(node, { value })
  return value
}

/** The rational value of a quotient of polynomials with these values for its symbols; undefined for other trees. */
export function exactValueAt(node: Node, values: Values): Rational | undefined {
  return isPolynomialQuotient(node) ? evaluate(node, new EvaluationBudget(limits.nodes), values) : undefined
}

function isPolynomialQuotient(node: Node): boolean {
  if (node.kind === 'number' || node.kind === 'symbol') return true
  if (node.kind === 'add' || node.kind === 'mul') return node.args.every(isPolynomialQuotient)
  return node.kind === 'pow' && isIntegerNode(node.exponent) && isPolynomialQuotient(node.base)
}

function evaluate(node: Node, budget: Budget, values: Values): Rational | undefined {
  if (!budget.spend()) return undefined
  switch (node.kind) {
    case 'number':
    case 'float':
      return node.value
    case 'symbol':
      return values.get(node.name)
    case 'add':
      return fold(node.args, zero, add, budget, values)
    case 'mul':
      return fold(node.args, one, multiply, budget, values)
    case 'pow': {
      const base = evaluate(node.base, budget, values)
      const exponent = base && evaluate(node.exponent, budget, values)
      return base && exponent && power(base, exponent)
    }
    case 'call':
      return evaluateCall(node.name, node.args, budget, values)
    case 'series':
      return evaluateSeries(node, budget, values)
    default:
      return undefined
  }
}

function fold(
  args: readonly Node[],
  start: Rational,
  combine: (a: Rational, b: Rational) => Rational | undefined,
  budget: Budget,
  values: Values,
): Rational | undefined {
  let total: Rational | undefined = start
  for (const arg of args) {
    const value = evaluate(arg, budget, values)
    total = value && combine(total, value)
    if (!total) return undefined
  }
  return total
}

function evaluateCall(
  name: string,
  args: readonly Node[],
  budget: Budget,
  values: Values,
): Rational | undefined {
  const found: Rational[] = []
  for (const arg of args) {
    const value = evaluate(arg, budget, values)
    if (!value) return undefined
    found.push(value)
  }
  const [first = zero, second = zero] = found
  switch (name) {
    case 'abs':
      return first.n < 0n ? negate(first) : first
    case 'floor':
      return floor(first)
    case 'ceiling':
      return negate(floor(negate(first)))
    case 'factorial':
      return factorial(first, budget)
    case 'binomial':
      return binomial(first, second, budget)
    case 'mod': {
      const ratio = divide(first, second)
      const whole = ratio && multiply(floor(ratio), second)
      return whole && subtract(first, whole)
    }
    case 'max':
      return found.reduce((a, b) => (compare(a, b) >= 0 ? a : b))
    case 'min':
      return found.reduce((a, b) => (compare(a, b) <= 0 ? a : b))
    case 'gcd':
      return found.every(isInteger) ? commonDivisor(found.map(value => value.n)) : undefined
    case 'lcm':
      return found.every(isInteger) ? commonMultiple(found.map(value => value.n)) : undefined
    case 'log':
      return wholeLogarithm(first, second)
    default:
      return undefined
  }
}

function commonDivisor(values: readonly bigint[]): Rational | undefined {
  let total: bigint | undefined = 0n
  for (const value of values) {
    total = gcd(total, value)
    if (total === undefined) return undefined
  }
  return integer(total)
}

function commonMultiple(values: readonly bigint[]): Rational | undefined {
  let total = 1n
  for (const value of values) {
    if (value === 0n) return zero
    const common = gcd(total, value)
    const next = common && fraction(total * (value / common), 1n)
    if (!next) return undefined
    total = next.n < 0n ? -next.n : next.n
  }
  return integer(total)
}

function factorial(value: Rational, budget: Budget): Rational | undefined {
  if (!isInteger(value) || value.n < 0n || value.n > BigInt(limits.factorial)) return undefined
  const factors = Number(value.n)
  if (!budget.spend(factors) || !spendVerdict(factors ** 2 / 100)) return undefined
  let result = 1n
  for (let i = 2n; i <= value.n; ++i) result *= i
  return fraction(result, 1n)
}

function binomial(n: Rational, k: Rational, budget: Budget): Rational | undefined {
  if (!isInteger(n) || !isInteger(k)) return undefined
  if (k.n < 0n) return zero
  if (n.n < 0n) return undefined
  if (k.n > n.n) return zero
  const other = n.n - k.n
  let steps = k.n
  if (steps > other) steps = other
  if (steps > BigInt(limits.factorial) || !budget.spend(Number(steps))) return undefined
  let result: Rational | undefined = one
  for (let i = 1n; i <= steps && result; ++i) result = fraction(result.n * (n.n - steps + i), i)
  return result
}

// log_b(a) where it is a whole number.
function wholeLogarithm(a: Rational, b: Rational): Rational | undefined {
  if (a.n <= 0n || b.n <= 0n || compare(b, one) === 0) return undefined
  if (compare(a, one) === 0) return zero
  const up = compare(a, one) > 0 === compare(b, one) > 0
  let reached: Rational | undefined = b
  for (let exponent = 1; exponent <= 200 && reached; ++exponent) {
    const target: Rational = up ? a : { n: a.d, d: a.n }
    const order = compare(reached, target)
    if (order === 0) return integer(up ? exponent : -exponent)
    if (compare(b, one) > 0 ? order > 0 : order < 0) return undefined
    reached = multiply(reached, b)
  }
  return undefined
}

function evaluateSeries(
  node: Node & { kind: 'series' },
  budget: Budget,
  values: Values,
): Rational | undefined {
  const from = evaluate(node.from, budget, values)
  const to = from && evaluate(node.to, budget, values)
  if (!from || !to || !isInteger(from) || !isInteger(to)) return undefined
  if (to.n - from.n >= BigInt(limits.terms) || node.variable.kind !== 'symbol') return undefined
  let total: Rational | undefined = node.name === 'sum' ? zero : one
  for (let i = from.n; i <= to.n && total; ++i) {
    const value = evaluate(withSymbol(node.body, node.variable.name, i, budget), budget, values)
    total = value && (node.name === 'sum' ? add(total, value) : multiply(total, value))
  }
  return total
}

/** The tree with a symbol replaced by an integer. */
export function withSymbol(node: Node, name: string, value: bigint, budget: Budget): Node {
  if (!budget.spend()) return node
  const inside = (child: Node) => withSymbol(child, name, value, budget)
  switch (node.kind) {
    case 'symbol':
      return node.name === name ? { kind: 'number', value: integer(value) } : node
    case 'add':
    case 'mul':
    case 'call':
    case 'unknownCall':
      return { ...node, args: node.args.map(inside) } as Node
    case 'pow':
      return { ...node, base: inside(node.base), exponent: inside(node.exponent) }
    case 'series':
      return { ...node, body: inside(node.body), from: inside(node.from), to: inside(node.to) }
    default:
      return node
  }
}

/** True for a tree that is an integer once evaluated, and has no decimal number in it. */
export function isWhole(node: Node): boolean {
  if (isIntegerNode(node)) return true
  const value = exactValue(node)
  return value !== undefined && isInteger(value) && !hasFloat(node)
}

export function hasFloat(node: Node): boolean {
  if (node.kind === 'float') return true
  if (node.kind === 'add' || node.kind === 'mul' || node.kind === 'call') return node.args.some(hasFloat)
  return node.kind === 'pow' && (hasFloat(node.base) || hasFloat(node.exponent))
}
