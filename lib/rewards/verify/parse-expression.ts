// Expressions: sums of products of factors. An implicit product binds tighter than `/`, as in 1/2x = 1/(2x).
import type { Cursor } from './cursor.js'
import { determinant } from './matrices.js'
import { atom, startsSymbol, subscript } from './parse-atoms.js'
import { functionCall, type ProductRules } from './parse-functions.js'
import { add, negate } from './rational.js'
import {
  call,
  difference,
  isIntegerNode,
  type Node,
  negative,
  numberNode,
  powerOf,
  product,
  quotient,
  sum,
} from './tree.js'

type Mode = '' | 'withoutFunctions' | 'beforeDifferential'

/** An expression without commas and relations. */
export function expression(cursor: Cursor): Node | undefined {
  return additive(cursor, '')
}

const rules: ProductRules = {
  termWithoutFunctions: cursor => term(cursor, 'withoutFunctions'),
  term: cursor => term(cursor, ''),
  sumBeforeDifferential: cursor => additive(cursor, 'beforeDifferential'),
  fraction,
}

function additive(cursor: Cursor, mode: Mode): Node | undefined {
  return cursor.rule(`sum${mode}`, () => {
    let left = term(cursor, mode)
    while (left && (cursor.kind === 'plus' || cursor.kind === 'minus')) {
      const before = cursor.at
      const minus = cursor.kind === 'minus'
      ++cursor.at
      const right = term(cursor, mode)
      if (!right) {
        cursor.at = before
        break
      }
      left = minus ? difference(left, right) : sum(left, right)
    }
    return left
  })
}

function term(cursor: Cursor, mode: Mode): Node | undefined {
  let left = signed(cursor, mode)
  while (left && ['times', 'divide', 'modulo'].includes(cursor.kind)) {
    const before = cursor.at
    const operator = cursor.kind
    ++cursor.at
    const right = signed(cursor, mode)
    if (!right) {
      cursor.at = before
      break
    }
    if (operator === 'times') left = product(left, right)
    else left = operator === 'divide' ? quotient(left, right) : call('mod', left, right)
  }
  return left
}

function signed(cursor: Cursor, mode: Mode): Node | undefined {
  return cursor.rule(`sign${mode}`, () => {
    if (cursor.take('plus') !== undefined) return signed(cursor, mode)
    if (cursor.take('minus') !== undefined) {
      const inner = signed(cursor, mode)
      return inner && negative(inner)
    }
    return factors(cursor, mode)
  })
}

// Factors side by side. Without functions, only the first may be one.
function factors(cursor: Cursor, mode: Mode): Node | undefined {
  const found: Node[] = []
  let lastWasNumber = false
  for (;;) {
    const stops = mode === 'beforeDifferential' && cursor.kind === 'differential'
    const isNumber = cursor.kind === 'number'
    // Two numbers side by side: Math-Verify adds them.
    if (cursor.options.strict && isNumber && lastWasNumber) return undefined
    const next = stops ? undefined : factor(cursor, mode !== 'withoutFunctions' || found.length === 0)
    if (!next) break
    found.push(next)
    lastWasNumber = isNumber
  }
  let result = found.pop()
  for (let left = found.pop(); left && result; left = found.pop())
    result = sideBySide(left, result, cursor.options.strict)
  return result
}

/** Two factors: an integer before a positive fraction is a mixed number. */
function sideBySide(left: Node, right: Node, strict: boolean): Node {
  if (left.kind === 'calculus' && left.name === 'derivativeOf')
    return { kind: 'calculus', name: 'derivative', args: [right, ...left.args] }
  if (
    isIntegerNode(left) &&
    right.kind === 'number' &&
    right.value.n > 0n &&
    !(strict && right.value.d === 1n)
  ) {
    const value = add(left.value, left.value.n < 0n ? negate(right.value) : right.value)
    if (value) return numberNode(value)
  }
  return product(left, right)
}

function factor(cursor: Cursor, functionsAllowed: boolean): Node | undefined {
  return cursor.rule(functionsAllowed ? 'factor' : 'plainFactor', () => {
    let base = part(cursor, functionsAllowed)
    while (base && cursor.kind === 'caret') {
      const before = cursor.at
      ++cursor.at
      const exponent = cursor.text === '{' ? cursor.between('{', '}') : atom(cursor)
      if (!exponent) {
        cursor.at = before
        break
      }
      subscript(cursor)
      base = powerOf(base, exponent)
    }
    while (base) {
      if (cursor.take('factorial') !== undefined) base = call('factorial', base)
      else if (cursor.take('transpose') !== undefined) base = base.kind === 'matrix' ? transposed(base) : base
      else if (cursor.take('degree') === undefined) break
    }
    return base
  })
}

function transposed(matrix: Node & { kind: 'matrix' }): Node {
  return {
    kind: 'matrix',
    rows: (matrix.rows[0] ?? []).map((_, j) => matrix.rows.map(row => row[j] as Node)),
  }
}

const groups: Readonly<Record<string, string>> = {
  '(': ')',
  '{': '}',
  '[': ']',
  '\\{': '\\}',
  '\\lbrace': '\\rbrace',
  '\\lbrack': '\\rbrack',
  '\\lgroup': '\\rgroup',
}
const groupFunctions: Readonly<Record<string, readonly [string, string]>> = {
  '\\lvert': ['\\rvert', 'abs'],
  '\\lfloor': ['\\rfloor', 'floor'],
  '\\llcorner': ['\\lrcorner', 'floor'],
  '\\lceil': ['\\rceil', 'ceiling'],
  '\\ulcorner': ['\\urcorner', 'ceiling'],
}

function part(cursor: Cursor, functionsAllowed: boolean): Node | undefined {
  const found = functionsAllowed ? cursor.attempt(() => functionCall(cursor, rules)) : undefined
  if (found) return found
  switch (cursor.kind) {
    case 'open':
      return group(cursor)
    case 'bar': {
      const bar = cursor.take('bar') as string
      const inner = expression(cursor)
      return inner && cursor.take('bar', bar) !== undefined ? call('abs', inner) : undefined
    }
    case 'format':
      ++cursor.at
      return cursor.between('{', '}')
    case 'frac':
      return fraction(cursor)
    case 'binomial': {
      ++cursor.at
      const top = cursor.between('{', '}')
      const bottom = top && cursor.between('{', '}')
      return top && bottom && call('binomial', top, bottom)
    }
    case 'matrixStart':
    case 'arrayStart':
      return matrix(cursor)
    case 'determinantStart': {
      const inner = matrix(cursor)
      return inner && determinant(inner)
    }
    default:
      return startsSymbol(cursor) || cursor.kind !== 'end' ? atom(cursor) : undefined
  }
}

function group(cursor: Cursor): Node | undefined {
  const open = cursor.text
  const close = groups[open]
  if (close === undefined) {
    const [end, name] = groupFunctions[open] ?? []
    if (end === undefined || name === undefined) return undefined
    const inner = cursor.between(open, end)
    return inner && call(name, inner)
  }
  ++cursor.at
  const inner = expression(cursor)
  if (!inner) return undefined
  if (cursor.take('close', close) !== undefined) return inner
  if (open !== '{' || cursor.take('choose') === undefined) return undefined
  const below = expression(cursor)
  return below && cursor.take('close', '}') !== undefined ? call('binomial', inner, below) : undefined
}

function fraction(cursor: Cursor): Node | undefined {
  return cursor.attempt(() => {
    if (cursor.take('frac') === undefined) return undefined
    const derivative = derivativeOperator(cursor)
    if (derivative) return derivative
    const top = cursor.between('{', '}')
    const bottom = top && cursor.between('{', '}')
    return top && bottom && quotient(top, bottom)
  })
}

// `\frac{d}{dx}` before an expression, and `\frac{dy}{dx}`.
function derivativeOperator(cursor: Cursor): Node | undefined {
  return cursor.attempt(() => {
    if (cursor.take('open', '{') === undefined) return undefined
    const alone = cursor.kind === 'letter' && cursor.text === 'd'
    const top = cursor.take('differential') ?? (alone ? cursor.take('letter') : undefined)
    if (top === undefined || cursor.take('close', '}') === undefined) return undefined
    if (cursor.take('open', '{') === undefined) return undefined
    const bottom = cursor.take('differential')
    if (bottom === undefined || cursor.take('close', '}') === undefined) return undefined
    const named = (text: string): Node => {
      const name = text.slice(1).trim().replace(/^\\/, '')
      return { kind: 'symbol', name, real: cursor.options.real }
    }
    if (alone) return { kind: 'calculus', name: 'derivativeOf', args: [named(bottom)] }
    return { kind: 'calculus', name: 'derivative', args: [named(top), named(bottom)] }
  })
}

function matrix(cursor: Cursor): (Node & { kind: 'matrix' }) | undefined {
  const end = {
    matrixStart: 'matrixEnd',
    arrayStart: 'arrayEnd',
    determinantStart: 'determinantEnd',
  } as const
  const close = end[cursor.kind as keyof typeof end]
  ++cursor.at
  const rows: Node[][] = []
  do {
    if (rows.length > 0 && cursor.kind === close) break
    const row: Node[] = []
    do {
      const item = expression(cursor)
      if (!item) return undefined
      row.push(item)
    } while (cursor.take('column') !== undefined)
    rows.push(row)
  } while (cursor.take('row') !== undefined)
  if (cursor.take(close) === undefined || rows.some(row => row.length !== rows[0]?.length)) return undefined
  return { kind: 'matrix', rows }
}
