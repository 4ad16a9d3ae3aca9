// Intervals, tuples, finite sets, and what is made of them by union, intersection and difference.
import type { Cursor } from './cursor.js'
import { orderOf } from './order.js'
import { chainRelation } from './relations.js'
import { type Node, negative, setOf, sum } from './tree.js'

/** Elements of a list: each comma-separated run between semicolons is one array. */
export function lists(cursor: Cursor, relationsAllowed: boolean): Node[][] | undefined {
  const found: Node[][] = []
  do {
    const run: Node[] = []
    do {
      const element = cursor.rule(`element${relationsAllowed}`, () => elementOf(cursor, relationsAllowed))
      if (!element) return undefined
      run.push(...element)
    } while (cursor.take('comma') !== undefined)
    found.push(run)
  } while (cursor.take('semicolon') !== undefined)
  return found
}

// `a \pm b` is two elements.
function elementOf(cursor: Cursor, relationsAllowed: boolean): Node[] | undefined {
  const bothSigns = cursor.attempt(() => {
    const left = cursor.expression(cursor)
    if (cursor.take('plusMinus') === undefined) return undefined
    const right = cursor.expression(cursor)
    if (!right) return undefined
    return left ? [sum(left, right), sum(left, negative(right))] : [negative(right), right]
  })
  if (bothSigns) return bothSigns
  const set = cursor.attempt(() => {
    const atom = setAtom(cursor)
    return atom && ['comma', 'semicolon', 'end', 'close'].includes(cursor.kind) ? [atom] : undefined
  })
  if (set) return set
  const single = relationsAllowed ? chainRelation(cursor) : cursor.expression(cursor)
  return single && [single]
}

/** A list as a whole: one element is itself, several are a set; runs between semicolons are tuples. */
export function listAsNode(runs: readonly (readonly Node[])[]): Node {
  const [first = []] = runs
  if (runs.length === 1) return first.length === 1 ? (first[0] as Node) : setOf(first)
  if (runs.every(run => run.length === 1)) return setOf(runs.map(run => run[0] as Node))
  return setOf(runs.map(args => ({ kind: 'tuple', args })))
}

const setNames: Readonly<Record<string, string>> = {
  '\\mathbb{N}': 'naturals',
  ℕ: 'naturals',
  '\\mathbb{Z}': 'integers',
  ℤ: 'integers',
  '\\mathbb{Q}': 'rationals',
  ℚ: 'rationals',
  '\\mathbb{R}': 'reals',
  ℝ: 'reals',
  '\\mathbb{C}': 'complexes',
  ℂ: 'complexes',
  '\\emptyset': 'empty',
  '∅': 'empty',
  '\\{\\}': 'empty',
  '\\lbrace\\rbrace': 'empty',
}

export function setAtom(cursor: Cursor): Node | undefined {
  return cursor.rule('setAtom', () => {
    if (cursor.kind === 'setName') {
      const name = setNames[cursor.take('setName') as string]
      return name === undefined ? undefined : { kind: 'namedSet', name }
    }
    if (
      cursor.text === '{' &&
      cursor.kindAfter(1) === 'close' &&
      cursor.tokens[cursor.at + 1]?.text === '}'
    ) {
      cursor.at += 2
      return { kind: 'namedSet', name: 'empty' }
    }
    return cursor.attempt(() => interval(cursor)) ?? bracketed(cursor)
  })
}

const intervalOpeners = ['[', '(', '\\(', '\\lbrack', '\\lgroup']
const intervalClosers = [']', ')', '\\)', '\\rbrack', '\\rgroup']
const roundBrackets = ['(', ')', '\\(', '\\)', '\\lgroup', '\\rgroup']

function interval(cursor: Cursor): Node | undefined {
  const open = cursor.take('open')
  if (open === undefined || !intervalOpeners.includes(open)) return undefined
  const start = cursor.expression(cursor)
  if (!start || cursor.take('comma') === undefined) return undefined
  const end = cursor.expression(cursor)
  const close = end && cursor.take('close')
  if (!end || close === undefined || !intervalClosers.includes(close)) return undefined
  return intervalOf(start, end, roundBrackets.includes(open), roundBrackets.includes(close))
}

/** An interval; where its end does not lie above its start, it can only be meant as a pair. */
function intervalOf(start: Node, end: Node, startOpen: boolean, endOpen: boolean): Node | undefined {
  const order = orderOf(end, start)
  if (order !== undefined && ((startOpen && endOpen && order <= 0) || (!startOpen && !endOpen && order < 0)))
    return { kind: 'tuple', args: [start, end] }
  if (order === 0) return startOpen || endOpen ? { kind: 'namedSet', name: 'empty' } : setOf([start])
  if (order !== undefined && order < 0) return { kind: 'namedSet', name: 'empty' }
  const startInfinite = start.kind === 'infinity'
  const endInfinite = end.kind === 'infinity'
  return {
    kind: 'interval',
    start,
    end,
    startOpen: startOpen || startInfinite,
    endOpen: endOpen || endInfinite,
  }
}

const tupleBrackets: Readonly<Record<string, string>> = { '(': ')', '\\(': '\\)', '[': ']' }
const setBrackets: Readonly<Record<string, string>> = { '{': '}', '\\{': '\\}' }

function bracketed(cursor: Cursor): Node | undefined {
  const boxed = cursor.take('format', '\\boxed') !== undefined
  const open = cursor.take('open')
  if (open === undefined || (boxed && open !== '{')) return undefined
  const close = tupleBrackets[open] ?? setBrackets[open]
  if (close === undefined) return undefined
  const runs = lists(cursor, true)
  if (!runs || cursor.take('close', close) === undefined) return undefined
  if (boxed) return listAsNode(runs)
  const args = runs.flat()
  if (setBrackets[open] !== undefined) return setOf(args)
  return args.length === 1 && runs.length === 1 ? args[0] : { kind: 'tuple', args }
}

/** Differences of unions of intersections of sets. */
export function setExpression(cursor: Cursor): Node | undefined {
  return chain(cursor, 'setMinus', 'complement', () =>
    chain(cursor, 'union', 'union', () =>
      chain(cursor, 'intersection', 'intersection', () => setGroup(cursor)),
    ),
  )
}

function chain(
  cursor: Cursor,
  token: 'setMinus' | 'union' | 'intersection',
  kind: 'complement' | 'union' | 'intersection',
  operand: () => Node | undefined,
): Node | undefined {
  let left = operand()
  while (left && cursor.kind === token) {
    const before = cursor.at
    ++cursor.at
    const right = operand()
    if (!right) {
      cursor.at = before
      break
    }
    left = kind === 'complement' ? { kind, left, right } : { kind, left: asSet(left), right: asSet(right) }
  }
  return left
}

function asSet(node: Node): Node {
  return node.kind === 'tuple' ? setOf(node.args) : node
}

function setGroup(cursor: Cursor): Node | undefined {
  return cursor.rule('setGroup', () => {
    const inBrackets = cursor.attempt(() => {
      if (cursor.take('open', '(') === undefined) return undefined
      const inner = setExpression(cursor)
      return inner && cursor.take('close', ')') !== undefined ? inner : undefined
    })
    return inBrackets ?? setAtom(cursor)
  })
}
