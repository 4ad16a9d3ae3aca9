// Where a parser stands in its tokens. A rule returns undefined and leaves the place as it was when it does not fit.
import type { TokenKind } from './commands.js'
import { Budget, limits } from './limits.js'
import type { Token } from './tokens.js'
import type { Node } from './tree.js'

export interface ReadingOptions {
  /** Symbols stand for real numbers; otherwise for numbers that are not real. */
  real: boolean
  /** Without Math-Verify's readings that accept wrong answers. */
  strict: boolean
}

export class Cursor {
  at = 0
  readonly #budget = new Budget(limits.parserSteps)
  readonly #memo = new Map<string, { result: unknown; end: number }>()
  #depth = 0

  constructor(
    readonly tokens: readonly Token[],
    readonly options: ReadingOptions,
    /** The rule of an expression, which all others end in. */
    readonly expression: (cursor: Cursor) => Node | undefined,
  ) {}

  get kind(): TokenKind {
    return (this.tokens[this.at] as Token).kind
  }

  get text(): string {
    return (this.tokens[this.at] as Token).text
  }

  /** The kind of a later token. */
  kindAfter(steps: number): TokenKind | undefined {
    return this.tokens[this.at + steps]?.kind
  }

  /** Steps over a token of this kind (and text) and returns its text. */
  take(kind: TokenKind, text?: string): string | undefined {
    const token = this.tokens[this.at] as Token
    if (token.kind !== kind || (text !== undefined && token.text !== text)) return undefined
    if (kind !== 'end') ++this.at
    return token.text
  }

  /** Runs a rule; its result at this place is remembered, so that trying alternatives stays linear. */
  rule<T>(name: string, parse: () => T | undefined): T | undefined {
    const start = this.at
    const key = `${name}${start}`
    const known = this.#memo.get(key)
    if (known) {
      this.at = known.end
      return known.result as T | undefined
    }
    if (!this.#budget.spend() || this.#depth >= limits.depth) return undefined
    ++this.#depth
    const result = parse()
    --this.#depth
    if (result === undefined) this.at = start
    this.#memo.set(key, { result, end: this.at })
    return result
  }

  /** Runs an alternative without remembering it. */
  attempt<T>(parse: () => T | undefined): T | undefined {
    const start = this.at
    const result = parse()
    if (result === undefined) this.at = start
    return result
  }

  /** An expression between an opening token that is next and its closing one. */
  between(open: string, close: string): Node | undefined {
    return this.attempt(() => {
      if (this.take('open', open) === undefined) return undefined
      const inner = this.expression(this)
      return inner && this.take('close', close) !== undefined ? inner : undefined
    })
  }

  /** The tokens' texts from a place to here, white space left out. */
  textFrom(start: number): string {
    return this.tokens
      .slice(start, this.at)
      .map(token => token.text)
      .join('')
  }
}
