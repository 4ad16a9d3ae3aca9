// The order of two constants, where they have one.
import { exactValue } from './exact.js'
import { EvaluationBudget, limits } from './limits.js'
import { compare } from './rational.js'
import { valueAt } from './sampled.js'
import { type Node, symbolsOf } from './tree.js'

/** The value of a tree without symbols as a double; undefined where it has symbols or is not real. */
export function constantOf(node: Node): number | undefined {
  if (node.kind === 'infinity') return node.sign === 0 ? undefined : node.sign * Number.POSITIVE_INFINITY
  const value = complexConstant(node)
  if (value && !Number.isFinite(value.re)) return value.im === 0 ? value.re : undefined
  return value && Math.abs(value.im) <= 1e-12 * Math.max(1, Math.abs(value.re)) ? value.re : undefined
}

/** The value of a tree without symbols. */
export function complexConstant(node: Node): { re: number; im: number } | undefined {
  if (symbolsOf(node).size > 0) return undefined
  const point = {
    index: 1,
    signs: 0,
    places: new Map(),
    budget: new EvaluationBudget(limits.nodes),
    bound: new Map(),
    peak: 0,
  }
  const value = valueAt(node, point)
  return Number.isFinite(value.re) && Number.isFinite(value.im) ? value : undefined
}

/** Negative, zero or positive as a is below, at or above b; undefined where they cannot be compared. */
export function orderOf(a: Node, b: Node): number | undefined {
  const left = exactValue(a)
  const right = exactValue(b)
  if (left && right) return compare(left, right)
  const x = constantOf(a)
  const y = constantOf(b)
  if (x === undefined || y === undefined) return undefined
  if (x === y) return 0
  const near =
    Number.isFinite(x) && Number.isFinite(y) && Math.abs(x - y) <= 1e-12 * Math.max(Math.abs(x), Math.abs(y))
  return near ? 0 : x - y
}
