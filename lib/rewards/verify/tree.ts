// The tree of a parsed answer. It keeps the shape in which the answer was written: nothing is evaluated on the way,
// except what Math-Verify evaluates (quotients of integers, mixed numbers, the sign of a number).
import { fraction, integer, negate, type Rational } from './rational.js'

export type RelationOperator = '=' | '!=' | '<' | '<=' | '>' | '>='

export interface Relation {
  kind: 'relation'
  operator: RelationOperator
  left: Node
  right: Node
}

export type Node =
  | { kind: 'number'; value: Rational }
  // Written with a decimal point: compared after rounding.
  | { kind: 'float'; value: Rational }
  | { kind: 'infinity'; sign: 1 | -1 | 0 }
  | { kind: 'undefined' }
  | { kind: 'constant'; name: 'pi' | 'e' | 'i' }
  | { kind: 'symbol'; name: string; real: boolean }
  | { kind: 'add' | 'mul'; args: readonly Node[] }
  | { kind: 'pow'; base: Node; exponent: Node }
  | { kind: 'call'; name: string; args: readonly Node[] }
  // A function that is only a name, such as f(x).
  | { kind: 'unknownCall'; name: string; args: readonly Node[] }
  | { kind: 'series'; name: 'sum' | 'product'; body: Node; variable: Node; from: Node; to: Node }
  // Integrals, derivatives and limits.
  | { kind: 'calculus'; name: string; args: readonly Node[] }
  | { kind: 'matrix'; rows: readonly (readonly Node[])[] }
  | Relation
  | { kind: 'and'; args: readonly Relation[] }
  // `args` without repetitions, `written` as they stood.
  | { kind: 'set'; args: readonly Node[]; written: readonly Node[] }
  | { kind: 'tuple'; args: readonly Node[] }
  | { kind: 'interval'; start: Node; end: Node; startOpen: boolean; endOpen: boolean }
  | { kind: 'union' | 'intersection' | 'complement'; left: Node; right: Node }
  | { kind: 'namedSet'; name: string }

export function numberNode(value: Rational): Node {
  return { kind: 'number', value }
}

export function integerNode(value: bigint | number): Node {
  return { kind: 'number', value: integer(value) }
}

export const minusOne: Node = integerNode(-1)
export const half: Node = { kind: 'number', value: { n: 1n, d: 2n } }
const hundredth: Node = { kind: 'number', value: { n: 1n, d: 100n } }

export function isIntegerNode(node: Node): node is { kind: 'number'; value: Rational } {
  return node.kind === 'number' && node.value.d === 1n
}

function flat(kind: 'add' | 'mul', left: Node, right: Node): Node {
  const args = [left, right].flatMap(node => (node.kind === kind ? node.args : [node]))
  return { kind, args }
}

export function sum(left: Node, right: Node): Node {
  return flat('add', left, right)
}

export function product(left: Node, right: Node): Node {
  return flat('mul', left, right)
}

export function powerOf(base: Node, exponent: Node): Node {
  return { kind: 'pow', base, exponent }
}

export function call(name: string, ...args: Node[]): Node {
  return { kind: 'call', name, args }
}

/** The negative: a number changes its sign, anything else is multiplied by -1. */
export function negative(node: Node): Node {
  if (node.kind === 'number' || node.kind === 'float') return { kind: node.kind, value: negate(node.value) }
  if (node.kind === 'infinity')
    return { kind: 'infinity', sign: node.sign === 0 ? 0 : node.sign === 1 ? -1 : 1 }
  return product(minusOne, node)
}

export function difference(left: Node, right: Node): Node {
  return sum(left, negative(right))
}

/** A quotient; that of two integers is a number, or infinite or undefined where the divisor is 0. */
export function quotient(top: Node, bottom: Node): Node {
  if (isIntegerNode(top) && isIntegerNode(bottom)) {
    if (bottom.value.n === 0n)
      return top.value.n === 0n ? { kind: 'undefined' } : { kind: 'infinity', sign: 0 }
    const value = fraction(top.value.n, bottom.value.n)
    if (value) return numberNode(value)
  }
  return { kind: 'mul', args: [top, powerOf(bottom, minusOne)] }
}

export function percentOf(node: Node): Node {
  return { kind: 'mul', args: [node, hundredth] }
}

/** True for x times 1/100 as `percentOf` makes it. */
export function isPercentOf(node: Node): node is { kind: 'mul'; args: readonly [Node, Node] } {
  if (node.kind !== 'mul' || node.args.length !== 2) return false
  const second = node.args[1] as Node
  return second.kind === 'number' && second.value.n === 1n && second.value.d === 100n
}

/** A finite set: what is written twice counts once. */
export function setOf(items: readonly Node[]): Node {
  const seen = new Map<string, Node>()
  for (const item of items) {
    const key = keyOf(item)
    if (!seen.has(key)) seen.set(key, item)
  }
  return items.length === 0
    ? { kind: 'namedSet', name: 'empty' }
    : { kind: 'set', args: [...seen.values()], written: items }
}

/** A string that is equal for equal trees. */
export function keyOf(node: Node): string {
  switch (node.kind) {
    case 'number':
      return `${node.value.n}/${node.value.d}`
    case 'float':
      return `f${node.value.n}/${node.value.d}`
    case 'infinity':
      return `oo${node.sign}`
    case 'undefined':
      return 'nan'
    case 'constant':
      return `#${node.name}`
    case 'symbol':
      return `${node.real ? 's' : 'c'}:${node.name}`
    case 'add':
    case 'mul':
    case 'and':
    case 'tuple':
      return `${node.kind}(${node.args.map(keyOf).join(',')})`
    case 'pow':
      return `pow(${keyOf(node.base)},${keyOf(node.exponent)})`
    case 'call':
    case 'unknownCall':
    case 'calculus':
      return `${node.kind}:${node.name}(${node.args.map(keyOf).join(',')})`
    case 'series':
      return `${node.name}(${[node.body, node.variable, node.from, node.to].map(keyOf).join(',')})`
    case 'matrix':
      return `[${node.rows.map(row => row.map(keyOf).join(',')).join(';')}]`
    case 'relation':
      return `(${keyOf(node.left)}${node.operator}${keyOf(node.right)})`
    case 'set':
      return `{${node.args.map(keyOf).sort().join(',')}}`
    case 'interval':
      return `${node.startOpen ? '(' : '['}${keyOf(node.start)},${keyOf(node.end)}${node.endOpen ? ')' : ']'}`
    case 'union':
    case 'intersection':
    case 'complement':
      return `${node.kind}(${keyOf(node.left)},${keyOf(node.right)})`
    case 'namedSet':
      return `set:${node.name}`
  }
}

/** The nodes directly below a node. */
export function childrenOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case 'add':
    case 'mul':
    case 'and':
    case 'tuple':
    case 'set':
    case 'call':
    case 'unknownCall':
    case 'calculus':
      return node.args
    case 'pow':
      return [node.base, node.exponent]
    case 'series':
      return [node.body, node.variable, node.from, node.to]
    case 'matrix':
      return node.rows.flat()
    case 'relation':
    case 'union':
    case 'intersection':
    case 'complement':
      return [node.left, node.right]
    case 'interval':
      return [node.start, node.end]
    default:
      return []
  }
}

type SymbolNode = Node & { kind: 'symbol' }

/** The free symbols of a tree, by key. */
export function symbolsOf(node: Node, found: Map<string, SymbolNode> = new Map()): Map<string, SymbolNode> {
  if (node.kind === 'symbol') {
    found.set(keyOf(node), node)
    return found
  }
  const variable = boundVariable(node)
  if (variable === undefined) for (const child of childrenOf(node)) symbolsOf(child, found)
  else {
    for (const [key, symbol] of childrenOf(node).reduce((inner, child) => symbolsOf(child, inner), new Map()))
      if (symbol.name !== variable) found.set(key, symbol)
  }
  return found
}

// The variable of a sum, a product or a definite integral.
function boundVariable(node: Node): string | undefined {
  const variable =
    node.kind === 'series'
      ? node.variable
      : node.kind === 'calculus' && node.name === 'integral' && node.args.length === 4
        ? node.args[1]
        : undefined
  return variable?.kind === 'symbol' ? variable.name : undefined
}

export function isSet(node: Node): boolean {
  return ['set', 'interval', 'union', 'intersection', 'complement', 'namedSet'].includes(node.kind)
}
