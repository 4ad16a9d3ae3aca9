// Plain arithmetic as in running text, `1/2` or `2*(3+4)^2`, with the rules of a programming language: no implicit
// products, and `1/2` stays a quotient.
import { Budget, limits } from './limits.js'
import { decimal } from './rational.js'
import {
  call,
  difference,
  integerNode,
  minusOne,
  type Node,
  negative,
  powerOf,
  product,
  sum,
} from './tree.js'

/** The tree of an arithmetic text; undefined where it is none. */
export function parseArithmetic(text: string): Node | undefined {
  if (text.length > limits.expression) return undefined
  const tokens = text.match(/\d+(?:\.\d*)?|\.\d+|\*\*|\/\/|[-+*/^()]|\S/g) ?? []
  if (tokens.length > limits.tokens) return undefined
  const reader = new Reader(tokens)
  const node = reader.sum()
  return reader.done ? node : undefined
}

class Reader {
  #at = 0
  #depth = 0
  readonly #budget = new Budget(limits.parserSteps)

  constructor(readonly tokens: readonly string[]) {}

  get done(): boolean {
    return this.#at === this.tokens.length
  }

  sum(): Node | undefined {
    let left = this.#product()
    while (left && (this.#is('+') || this.#is('-'))) {
      const minus = this.tokens[this.#at++] === '-'
      const right = this.#product()
      if (!right) return undefined
      left = minus ? difference(left, right) : sum(left, right)
    }
    return left
  }

  #is(token: string): boolean {
    return this.tokens[this.#at] === token
  }

  #product(): Node | undefined {
    let left = this.#signed()
    while (left && (this.#is('*') || this.#is('/') || this.#is('//'))) {
      const operator = this.tokens[this.#at++]
      const right = this.#signed()
      if (!right) return undefined
      if (operator === '*') left = product(left, right)
      else {
        const ratio: Node = { kind: 'mul', args: [left, powerOf(right, minusOne)] }
        left = operator === '/' ? ratio : call('floor', ratio)
      }
    }
    return left
  }

  #signed(): Node | undefined {
    if (!this.#budget.spend() || this.#depth >= limits.depth) return undefined
    ++this.#depth
    try {
      if (this.#is('-')) {
        ++this.#at
        const inner = this.#signed()
        return inner && negative(inner)
      }
      if (this.#is('+')) {
        ++this.#at
        return this.#signed()
      }
      const base = this.#atom()
      if (!base || !(this.#is('**') || this.#is('^'))) return base
      ++this.#at
      const exponent = this.#signed()
      return exponent && powerOf(base, exponent)
    } finally {
      --this.#depth
    }
  }

  #atom(): Node | undefined {
    const token = this.tokens[this.#at]
    if (token === undefined) return undefined
    ++this.#at
    if (token === '(') {
      const inner = this.sum()
      if (!inner || !this.#is(')')) return undefined
      ++this.#at
      return inner
    }
    if (!/^[\d.]/.test(token) || token === '.') return undefined
    const value = decimal(token)
    if (!value) return undefined
    if (token.includes('.')) return { kind: 'float', value }
    // A leading zero is a mistake in this notation.
    if (/^0+[1-9]/.test(token)) return undefined
    return value.n === 0n ? integerNode(0) : { kind: 'number', value }
  }
}
