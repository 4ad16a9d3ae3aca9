// Mathematics in a text: `$...$`, `$$...$$`, `\(...\)`, `\[...\]`, ` [...] `, and a bare `\frac{1}{2}`.
// Where each kind can end is listed once per text, so that any number of openings costs no rescans.
import { firstFrom, isDigit, isSpace, occurrences, skipSpaces } from './text.js'

export interface Environment {
  content: string
  percent: boolean
  end: number
}

export interface EnvironmentChain {
  environments: readonly Environment[]
  end: number
}

/** Most environments that are joined by "and", "or" and commas. */
const longestChain = 6

export class EnvironmentFinder {
  readonly #doubleDollars: readonly number[]
  readonly #dollars: readonly number[]
  readonly #brackets: readonly number[]
  readonly #parentheses: readonly number[]
  readonly #squares: readonly number[]
  readonly #newlines: readonly number[]

  constructor(readonly text: string) {
    const unescaped = (at: number) => text[at - 1] !== '\\'
    this.#doubleDollars = occurrences(text, '$$')
    this.#dollars = occurrences(text, '$').filter(unescaped)
    this.#brackets = occurrences(text, '\\]')
    this.#parentheses = occurrences(text, '\\)')
    this.#squares = [...text.matchAll(/[\][]/g)].map(match => match.index)
    this.#newlines = occurrences(text, '\n')
  }

  /** Environments at a place, joined by "and", "or" or commas. `boxedOnly`: each must hold a box. */
  chainAt(at: number, boxedOnly: boolean): EnvironmentChain | undefined {
    const first = this.#environmentAt(at, boxedOnly)
    if (!first) return undefined
    const environments = [first]
    let end = first.end
    while (environments.length < longestChain) {
      const next = this.#nextInChain(end, boxedOnly)
      if (!next) break
      environments.push(next)
      end = next.end
    }
    return { environments, end }
  }

  #nextInChain(at: number, boxedOnly: boolean): Environment | undefined {
    const start = skipSpaces(this.text, at)
    for (const connector of [',and', 'and', ',or', 'or', ',']) {
      if (!this.text.startsWith(connector, start)) continue
      const next = this.afterSpaces(start + connector.length, place => this.#environmentAt(place, boxedOnly))
      if (next) return next
    }
    return undefined
  }

  /** Tries after all white space, then with the last white space left over, since ` [...] ` starts with one. */
  afterSpaces<T>(at: number, attempt: (place: number) => T | undefined): T | undefined {
    const end = skipSpaces(this.text, at)
    return attempt(end) ?? (end > at ? attempt(end - 1) : undefined)
  }

  /** The first place from `at` on where an environment could start. */
  nextStart(at: number): number {
    const start = /[$\\[-]/g
    start.lastIndex = at
    const found = start.exec(this.text)?.index ?? this.text.length
    return this.text[found] === '[' && found > at && isSpace(this.text[found - 1]) ? found - 1 : found
  }

  #environmentAt(at: number, boxedOnly: boolean): Environment | undefined {
    const { text } = this
    const opening = text[at]
    if (opening !== '$' && opening !== '\\' && opening !== '-' && !isSpace(opening)) return undefined
    const escaped = text[at - 1] === '\\'
    const found =
      text[at] === '$' && !escaped
        ? (this.#displayDollar(at) ?? this.#inlineDollar(at))
        : text[at] === '\\' && !escaped
          ? (this.#bracket(at) ?? this.#parenthesis(at))
          : isSpace(text[at]) && text[at + 1] === '['
            ? this.#squareBracket(at)
            : undefined
    const usable = found && (!boxedOnly || holdsBox(text, found)) ? found : undefined
    if (usable) return this.#closed(text.slice(usable.from, usable.to), usable.end)
    return boxedOnly ? undefined : this.#bareFraction(at)
  }

  #closed(content: string, end: number): Environment {
    const spaced = skipSpaces(this.text, end)
    const percent = percentAt(this.text, spaced)
    return { content, percent: percent > 0, end: spaced + percent }
  }

  #displayDollar(at: number) {
    if (!this.text.startsWith('$$', at)) return undefined
    const to = firstFrom(this.#doubleDollars, at + 2)
    return to > at + 2 && to < Number.POSITIVE_INFINITY && this.text[to - 1] !== '\\'
      ? { from: at + 2, to, end: to + 2 }
      : undefined
  }

  #inlineDollar(at: number) {
    if (isDigit(this.text[at - 1])) return undefined
    const to = firstFrom(this.#dollars, at + 1)
    return to > at + 1 && to < firstFrom(this.#newlines, at + 1)
      ? { from: at + 1, to, end: to + 1 }
      : undefined
  }

  #bracket(at: number) {
    if (!this.text.startsWith('\\[', at)) return undefined
    const to = firstFrom(this.#brackets, at + 2)
    return to > at + 2 && to < Number.POSITIVE_INFINITY && this.text[to - 1] !== '\\'
      ? { from: at + 2, to, end: to + 2 }
      : undefined
  }

  #parenthesis(at: number) {
    if (!this.text.startsWith('\\(', at)) return undefined
    const to = firstFrom(this.#parentheses, at + 2)
    return to > at + 2 && to < firstFrom(this.#newlines, at + 2) && this.text[to - 1] !== '\\'
      ? { from: at + 2, to, end: to + 2 }
      : undefined
  }

  #squareBracket(at: number) {
    const to = firstFrom(this.#squares, at + 2)
    return to > at + 2 &&
      this.text[to] === ']' &&
      to < firstFrom(this.#newlines, at + 2) &&
      isSpace(this.text[to + 1])
      ? { from: at + 2, to, end: to + 2 }
      : undefined
  }

  #bareFraction(at: number): Environment | undefined {
    const pattern = /-?\\frac\{-?\d{1,400}(?:[.,]\d{1,400})?\}\{-?\d{1,400}(?:[.,]\d{1,400})?\}/y
    pattern.lastIndex = at
    const content = pattern.exec(this.text)?.[0]
    return content === undefined ? undefined : this.#closed(content, at + content.length)
  }
}

// `\boxed{` with something in it and a brace that closes, before the environment ends.
function holdsBox(text: string, { from, to }: { from: number; to: number }): boolean {
  const box = text.indexOf('\\boxed{', from)
  if (box < 0 || box >= to) return false
  const close = text.lastIndexOf('}', to - 1)
  return close > box + '\\boxed{'.length
}

/** Length of a percent sign or word at a place, 0 where there is none. */
export function percentAt(text: string, at: number): number {
  const pattern = /\\?%|[Pp]ercent|[Pp]ct/y
  pattern.lastIndex = at
  return pattern.exec(text)?.[0].length ?? 0
}
