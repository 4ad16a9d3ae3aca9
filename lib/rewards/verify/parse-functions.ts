// Functions: named ones with or without brackets, roots, sums and products, integrals, limits, and f(x).
import type { Cursor } from './cursor.js'
import { determinant } from './matrices.js'
import { atom, startsSymbol, subscript, subscriptExpression, superscript } from './parse-atoms.js'
import { call, half, integerNode, type Node, powerOf, quotient } from './tree.js'

/** The rules of products that functions need: a factor chain that stops before the next function, and a whole term. */
export interface ProductRules {
  termWithoutFunctions(cursor: Cursor): Node | undefined
  term(cursor: Cursor): Node | undefined
  sumBeforeDifferential(cursor: Cursor): Node | undefined
  fraction(cursor: Cursor): Node | undefined
}

/** A function that is next, or undefined. */
export function functionCall(cursor: Cursor, rules: ProductRules): Node | undefined {
  switch (cursor.kind) {
    case 'function':
      return namedFunction(cursor, (cursor.take('function') as string).slice(1), rules)
    case 'manyFunction':
      return manyFunction(cursor, (cursor.take('manyFunction') as string).slice(1))
    case 'operatorName':
      return operatorName(cursor, rules)
    case 'root':
      return root(cursor)
    case 'euler':
      return exponential(cursor)
    case 'series':
      return series(cursor, rules)
    case 'limit':
      return limit(cursor, rules)
    case 'integral':
      return integral(cursor, rules)
    default:
      return startsSymbol(cursor) ? unknownCall(cursor) : undefined
  }
}

const oneArgumentNames =
  'arsinh arcosh artanh arcsinh arccosh arctanh floor ceil eye rank trace tr rref nullspace norm cols rows'.split(
    ' ',
  )

function operatorName(cursor: Cursor, rules: ProductRules): Node | undefined {
  cursor.take('operatorName')
  if (cursor.take('open', '{') === undefined) return undefined
  const name = cursor.take('name')
  if (name === undefined || cursor.take('close', '}') === undefined) return undefined
  return oneArgumentNames.includes(name) ? namedFunction(cursor, name, rules) : manyFunction(cursor, name)
}

/** `\sin^2 x`, `\log_2(8)`: with brackets the argument ends there, without it is the whole product that follows. */
function namedFunction(cursor: Cursor, name: string, rules: ProductRules): Node | undefined {
  let base = subscriptExpression(cursor)
  const power = superscript(cursor)
  if (power) base ??= subscriptExpression(cursor)
  const argument = cursor.between('(', ')') ?? rules.termWithoutFunctions(cursor)
  if (!argument) return undefined
  const inverted = power?.kind === 'number' && power.value.n === -1n && power.value.d === 1n
  const short = name.replace(/^arc?(?=sin|cos|tan|csc|sec|cot)/, 'a')
  if (name === 'log' || name === 'ln') {
    const withBase = base ?? (name === 'log' ? integerNode(10) : ({ kind: 'constant', name: 'e' } as const))
    return raised(call('log', argument, withBase), power)
  }
  if (name === 'det') {
    const value = argument.kind === 'matrix' ? determinant(argument) : undefined
    return value && raised(value, power)
  }
  if (name === 'exp') return raised(powerOf({ kind: 'constant', name: 'e' }, argument), power)
  if (inverted && /^(sin|cos|tan|csc|sec|cot)h?$/.test(name)) return call(`a${name}`, argument)
  return raised(call(short === 'ceil' ? 'ceiling' : short, argument), power)
}

function raised(base: Node, power: Node | undefined): Node {
  const zeroPower = power?.kind === 'number' && power.value.n === 0n
  return power && !zeroPower ? powerOf(base, power) : base
}

/** `\gcd(a, b)`: only with brackets. */
function manyFunction(cursor: Cursor, name: string): Node | undefined {
  subscript(cursor)
  const power = superscript(cursor)
  if (cursor.take('open', '(') === undefined) return undefined
  const args = expressions(cursor)
  if (!args || cursor.take('close', ')') === undefined) return undefined
  return raised(call(name, ...args), power)
}

function expressions(cursor: Cursor): Node[] | undefined {
  const found: Node[] = []
  do {
    const item = cursor.expression(cursor)
    if (!item) return undefined
    found.push(item)
  } while (cursor.take('comma') !== undefined)
  return found
}

function root(cursor: Cursor): Node | undefined {
  cursor.take('root')
  const degree = cursor.between('[', ']')
  const base = cursor.between('{', '}')
  return base && powerOf(base, degree ? quotient(integerNode(1), degree) : half)
}

function exponential(cursor: Cursor): Node {
  cursor.take('euler')
  const power = superscript(cursor)
  const base: Node = { kind: 'constant', name: 'e' }
  return power ? powerOf(base, power) : base
}

const callBrackets: readonly (readonly [string, string, string, string])[] = [
  ['(', ')', '', ''],
  ['[', ']', '', ''],
  ['{', '}', '(', ')'],
  ['{', '}', '[', ']'],
]

/** f(x), with one atom between the brackets, or with a comma: otherwise it is a product. */
function unknownCall(cursor: Cursor): Node | undefined {
  const start = cursor.at
  ++cursor.at
  subscript(cursor)
  const name = cursor.textFrom(start).trim()
  const power = superscript(cursor)
  for (const [open, close, innerOpen, innerClose] of callBrackets) {
    const args = cursor.attempt(() => {
      if (cursor.take('open', open) === undefined) return undefined
      if (innerOpen !== '' && cursor.take('open', innerOpen) === undefined) return undefined
      const found = callArguments(cursor)
      if (!found) return undefined
      if (innerClose !== '' && cursor.take('close', innerClose) === undefined) return undefined
      return cursor.take('close', close) === undefined ? undefined : found
    })
    if (args) return raised({ kind: 'unknownCall', name, args }, power)
  }
  return undefined
}

function callArguments(cursor: Cursor): Node[] | undefined {
  const single = cursor.attempt(() => {
    const only = atom(cursor)
    return only && cursor.kind === 'close' ? [only] : undefined
  })
  if (single) return single
  const first = cursor.expression(cursor)
  if (!first || cursor.take('comma') === undefined) return undefined
  if (cursor.kind === 'close') return [first]
  const others = expressions(cursor)
  return others && [first, ...others]
}

function series(cursor: Cursor, rules: ProductRules): Node | undefined {
  const name = cursor.take('series') === '\\sum' ? 'sum' : 'product'
  let start = equality(cursor)
  const to = superscript(cursor)
  start ??= equality(cursor)
  if (!start || !to) return undefined
  const body = rules.term(cursor)
  return body && { kind: 'series', name, body, variable: start[0], from: start[1], to }
}

// `_{n=1}`.
function equality(cursor: Cursor): [Node, Node] | undefined {
  return cursor.attempt(() => {
    if (cursor.take('under') === undefined || cursor.take('open', '{') === undefined) return undefined
    const left = cursor.expression(cursor)
    if (!left || (cursor.take('relation', '=') ?? cursor.take('relation', '==')) === undefined)
      return undefined
    const right = cursor.expression(cursor)
    return right && cursor.take('close', '}') !== undefined ? ([left, right] as [Node, Node]) : undefined
  })
}

function limit(cursor: Cursor, rules: ProductRules): Node | undefined {
  cursor.take('limit')
  if (cursor.take('under') === undefined || cursor.take('open', '{') === undefined) return undefined
  if (!startsSymbol(cursor)) return undefined
  const variable: Node = { kind: 'symbol', name: cursor.text.trim(), real: cursor.options.real }
  ++cursor.at
  if (cursor.take('arrow') === undefined) return undefined
  const target = cursor.expression(cursor)
  if (!target) return undefined
  const signed = cursor.take('caret') !== undefined
  if (signed && cursor.take('open', '{') === undefined) return undefined
  if (signed && (cursor.take('plus') ?? cursor.take('minus')) === undefined) return undefined
  if (signed && cursor.take('close', '}') === undefined) return undefined
  if (cursor.take('close', '}') === undefined) return undefined
  const body = rules.term(cursor)
  return body && { kind: 'calculus', name: 'limit', args: [body, variable, target] }
}

/** An integral up to its differential; without one the variable is x. */
function integral(cursor: Cursor, rules: ProductRules): Node | undefined {
  cursor.take('integral')
  let from = subscriptExpression(cursor)
  const to = superscript(cursor)
  if (to) from ??= subscriptExpression(cursor)
  const bounds = from && to ? [from, to] : []
  const closed = cursor.attempt(() => {
    const body = rules.sumBeforeDifferential(cursor) ?? integerNode(1)
    const differential = cursor.take('differential')
    return differential === undefined ? undefined : { body, differential }
  })
  if (closed) {
    const name = closed.differential.slice(1).trim().replace(/^\\/, '')
    const variable: Node = { kind: 'symbol', name, real: cursor.options.real }
    return { kind: 'calculus', name: 'integral', args: [closed.body, variable, ...bounds] }
  }
  const body = rules.fraction(cursor) ?? cursor.expression(cursor)
  const variable: Node = { kind: 'symbol', name: 'x', real: cursor.options.real }
  return body && { kind: 'calculus', name: 'integral', args: [body, variable, ...bounds] }
}
