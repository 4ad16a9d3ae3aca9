// Equations and inequalities: equal when their sides differ by the same, also turned around; equations also when they
// have the same solutions.
import { type Complex, complex, isFiniteComplex, minus, modulus, over, plus, times } from './complex.js'
import { compareAtPoints, equalAtPoints } from './equal-values.js'
import { EvaluationBudget, limits } from './limits.js'
import { relationsOf } from './relations.js'
import { type Point, valueAt } from './sampled.js'
import { difference, isSet, type Node, type Relation, type RelationOperator, symbolsOf } from './tree.js'

type RelationTree = Relation | (Node & { kind: 'and' })

const turned: Partial<Record<RelationOperator, RelationOperator>> = {
  '=': '=',
  '<': '>',
  '>': '<',
  '<=': '>=',
  '>=': '<=',
}

export function equalRelations(gold: RelationTree, answer: RelationTree): boolean {
  if (gold.kind === 'and' && answer.kind === 'and') {
    const [ours, theirs] = [relationsOf(gold), relationsOf(answer)]
    return (
      ours.length === theirs.length &&
      ours.every((relation, i) => equalRelation(relation, theirs[i] as Relation))
    )
  }
  return gold.kind === 'relation' && answer.kind === 'relation' && equalRelation(gold, answer)
}

function equalRelation(gold: Relation, answer: Relation): boolean {
  // Sides that are sets are compared as they are written, before this.
  if ([gold.left, gold.right, answer.left, answer.right].some(side => isSet(side) || side.kind === 'tuple'))
    return false
  const ours = difference(gold.left, gold.right)
  const theirs = difference(answer.left, answer.right)
  if (gold.operator === answer.operator && equalAtPoints(ours, theirs)) return true
  if (turned[gold.operator] === answer.operator && equalAtPoints(ours, difference(answer.right, answer.left)))
    return true
  return gold.operator === '=' && answer.operator === '=' && sameSolutions(ours, theirs)
}

function sameSolutions(ours: Node, theirs: Node): boolean {
  const symbols = symbolsOf(ours)
  const others = symbolsOf(theirs)
  // With a single symbol Math-Verify compares no solutions.
  if (symbols.size < 2 || symbols.size !== others.size || ![...symbols.keys()].every(key => others.has(key)))
    return false
  let ratio: Complex | undefined
  const proportional = compareAtPoints(ours, theirs, (a, b) => {
    if (modulus(a) < 1e-9 || modulus(b) < 1e-9) return modulus(a) < 1e-9 && modulus(b) < 1e-9
    ratio ??= over(a, b)
    return modulus(minus(over(a, b), ratio)) <= 1e-9 * modulus(ratio)
  })
  if (proportional === true) return true
  // Linear in one symbol (or a quotient of such): its solution must solve the other equation, and the reverse.
  const names = [...symbols.values()].map(symbol => symbol.name).sort()
  const verdicts = names.flatMap(name => [rootsAgree(ours, theirs, name), rootsAgree(theirs, ours, name)])
  return !verdicts.includes('no') && verdicts.includes('yes')
}

const trials = 6

// At several points: is the root of `ours` in one symbol a root of `theirs`?
function rootsAgree(ours: Node, theirs: Node, name: string): 'yes' | 'no' | 'unknown' {
  const budget = new EvaluationBudget(limits.comparison)
  let agreed = 0
  for (let i = 0; i < trials; ++i) {
    const valueWith = (node: Node, x: Complex) => {
      const places = new Map([...symbolsOf(node).keys()].sort().map((key, place) => [key, place] as const))
      // All symbols positive, then all negative.
      const signs = i % 2 === 0 ? 0 : 0xffff
      const point: Point = { index: i, signs, places, budget, bound: new Map([[name, x]]), peak: 0 }
      return { value: valueAt(node, point), peak: point.peak }
    }
    const root = fractionalRoot(x => valueWith(ours, x).value)
    if (!root) continue
    const { value, peak } = valueWith(theirs, root)
    if (!isFiniteComplex(value)) continue
    if (modulus(value) > 1e-9 * Math.max(1, Math.min(peak, 1e6))) return 'no'
    ++agreed
  }
  return agreed >= trials / 2 ? 'yes' : 'unknown'
}

/** The root of f(x) = (a x + b)/(c x + 1), from three values and checked by a fourth and fifth. */
function fractionalRoot(f: (x: Complex) => Complex): Complex | undefined {
  const [x0, x1, x2] = [0.37, 1.21, 2.83]
  const [y0, y1, y2] = [f(complex(x0)), f(complex(x1)), f(complex(x2))]
  if (![y0, y1, y2].every(isFiniteComplex)) return undefined
  // a x + b - c x y = y, for three points: eliminate b, then a.
  const s = (y: Complex, x: number) => times(complex(-x), y)
  const d1 = { a: x1 - x0, c: minus(s(y1, x1), s(y0, x0)), y: minus(y1, y0) }
  const d2 = { a: x2 - x0, c: minus(s(y2, x2), s(y0, x0)), y: minus(y2, y0) }
  const bottom = minus(times(complex(d2.a), d1.c), times(complex(d1.a), d2.c))
  const top = minus(times(complex(d2.a), d1.y), times(complex(d1.a), d2.y))
  const scale = modulus(d1.c) + modulus(d2.c)
  const c = modulus(bottom) <= 1e-10 * scale ? complex(0) : over(top, bottom)
  const a = times(complex(1 / d1.a), minus(d1.y, times(c, d1.c)))
  const b = minus(minus(y0, times(c, s(y0, x0))), times(a, complex(x0)))
  for (const x of [3.7, -1.9]) {
    const expected = over(plus(times(a, complex(x)), b), plus(times(c, complex(x)), complex(1)))
    const value = f(complex(x))
    if (!isFiniteComplex(value) || modulus(minus(value, expected)) > 1e-8 * (1 + modulus(value)))
      return undefined
  }
  const root = over(times(complex(-1), b), a)
  return isFiniteComplex(root) ? root : undefined
}
