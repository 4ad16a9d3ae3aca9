// Equations and inequalities, chains of them included: a < b < c is "a < b and b < c".
import { relationMeaning } from './commands.js'
import type { Cursor } from './cursor.js'
import { childrenOf, type Node, type Relation, type RelationOperator } from './tree.js'

/** An expression, or expressions joined by relations. */
export function chainRelation(cursor: Cursor): Node | undefined {
  let left = cursor.expression(cursor)
  while (left && cursor.kind === 'relation') {
    const before = cursor.at
    const meaning = relationMeaning.get(cursor.take('relation') as string) as string
    const right = cursor.expression(cursor)
    if (!right) {
      cursor.at = before
      break
    }
    if (meaning === '~') left = onlySymbols(left) ? right : left
    else left = joined(left, meaning === '==' ? '=' : (meaning as RelationOperator), right)
  }
  return left
}

function joined(left: Node, operator: RelationOperator, right: Node): Node {
  const before: readonly Relation[] = left.kind === 'and' ? left.args : left.kind === 'relation' ? [left] : []
  const last = before.at(-1)
  const relation: Relation = { kind: 'relation', operator, left: last ? last.right : left, right }
  return last ? { kind: 'and', args: [...before, relation] } : relation
}

/** True for a symbol, and for what is made of symbols alone (x + y and A/S, not 2x). */
export function onlySymbols(node: Node): boolean {
  if (node.kind === 'symbol') return true
  if (node.kind === 'pow') {
    const { base, exponent } = node
    const inverse = exponent.kind === 'number' && exponent.value.n === -1n && exponent.value.d === 1n
    if (inverse && (base.kind === 'symbol' || childrenOf(base).every(onlySymbols))) return true
  }
  const children = childrenOf(node)
  return children.length > 0 && children.every(onlySymbols)
}

/** True for relations and for chains of them. */
export function isRelation(node: Node): node is Relation | (Node & { kind: 'and' }) {
  return node.kind === 'relation' || node.kind === 'and'
}

export function relationsOf(node: Relation | (Node & { kind: 'and' })): readonly Relation[] {
  return node.kind === 'and' ? node.args : [node]
}

/** True where every part is an equation. */
export function isEquation(node: Node): boolean {
  return isRelation(node) && relationsOf(node).every(relation => relation.operator === '=')
}

/** True for `x = ...`: an equation, or a chain of them, whose left side is made of symbols alone. */
export function isAssignment(node: Node): boolean {
  return isRelation(node) && isEquation(node) && onlySymbols((relationsOf(node)[0] as Relation).left)
}

export function lastRelation(node: Relation | (Node & { kind: 'and' })): Relation {
  return relationsOf(node).at(-1) as Relation
}
