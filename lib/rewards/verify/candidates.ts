// Where an answer may stand in a text, the most likely first. Groups are tried in order of priority; inside a group the
// candidate that ends last comes first, and of those that end together the longest.
import { boxedStretch } from './boxes.js'
import { type Environment, EnvironmentFinder } from './environments.js'
import { NumberFinder, type PlainArithmetic, type PlainNumber } from './plain-numbers.js'
import { isSpace, skipSpaces } from './text.js'

export type Candidate = { start: number; end: number } & (
  | { kind: 'environments'; environments: readonly Environment[] }
  | { kind: 'box'; content: string }
  | { kind: 'plain'; plain: PlainNumber | PlainArithmetic }
)

/** The groups: a final answer that hopes, any final answer or box, "answer:", "answer", any mathematics or number. */
export const groupNames = ['hope', 'final', 'answerColon', 'answer', 'anywhere'] as const
export type GroupName = (typeof groupNames)[number]

export class CandidateFinder {
  readonly #environments: EnvironmentFinder
  readonly #numbers: NumberFinder

  constructor(readonly text: string) {
    this.#environments = new EnvironmentFinder(text)
    this.#numbers = new NumberFinder(text)
  }

  group(name: GroupName): Candidate[] {
    const found = this.#unordered(name)
    return found
      .map((candidate, order) => ({ candidate, order }))
      .sort(
        (a, b) =>
          b.candidate.end - a.candidate.end || a.candidate.start - b.candidate.start || a.order - b.order,
      )
      .map(({ candidate }) => candidate)
  }

  #unordered(name: GroupName): Candidate[] {
    switch (name) {
      case 'hope':
        return [...this.#hope(true), ...this.#hope(false)]
      case 'final':
        return [...this.#final(true), ...this.#boxed(), ...this.#final(false)]
      case 'answerColon':
        return [...this.#answer(true, true), ...this.#answer(true, false)]
      case 'answer':
        return [...this.#answer(false, true), ...this.#answer(false, false)]
      case 'anywhere':
        return this.#anywhere()
    }
  }

  // Every match of a pattern from the left, each after the end of the one before.
  #all(next: (at: number) => number, match: (at: number) => Candidate | undefined): Candidate[] {
    const found: Candidate[] = []
    for (let at = next(0); at < this.text.length; ) {
      const candidate = match(at)
      if (candidate) found.push(candidate)
      at = next(candidate && candidate.end > at ? candidate.end : at + 1)
    }
    return found
  }

  #word(pattern: RegExp): (at: number) => number {
    return at => {
      pattern.lastIndex = at
      return pattern.exec(this.text)?.index ?? this.text.length
    }
  }

  #chain(start: number, at: number, boxedOnly = false): Candidate | undefined {
    const chain = this.#environments.chainAt(at, boxedOnly)
    return chain && { kind: 'environments', start, end: chain.end, environments: chain.environments }
  }

  #plain(start: number, at: number, accept: (end: number) => boolean): Candidate | undefined {
    const plain = this.#numbers.anyAt(at, accept)
    return plain && { kind: 'plain', start, end: plain.end, plain }
  }

  // Length of ". I hope" at a place, else 0; both marks before it are optional.
  #hopeLength(at: number): number {
    const pattern = /\.?\s?I hope/iy
    pattern.lastIndex = at
    const found = pattern.exec(this.text)?.[0]
    return found?.endsWith('I hope') ? found.length : 0
  }

  #hope(latex: boolean): Candidate[] {
    return this.#all(this.#word(/final answer is/gi), start => {
      let at = start + 'final answer is'.length
      if (this.text[at] === ':') ++at
      const found = latex
        ? this.#environments.afterSpaces(at, place => {
            const chain = this.#chain(start, place)
            return chain && this.#hopeLength(chain.end) > 0 ? chain : undefined
          })
        : this.#environments.afterSpaces(at, place =>
            this.#plain(start, place, end => this.#hopeLength(end) > 0),
          )
      return found && { ...found, end: found.end + this.#hopeLength(found.end) }
    })
  }

  #final(latex: boolean): Candidate[] {
    return this.#all(this.#word(/final answer/gi), start => {
      const from = start + 'final answer'.length
      for (let gap = 0; gap <= 100 && from + gap < this.text.length; ++gap) {
        const space = from + gap
        // Without "dot matches newline" the gap ends with its line.
        if (!latex && gap > 0 && this.text[space - 1] === '\n') break
        if (!isSpace(this.text[space])) continue
        const is = skipSpaces(this.text, space)
        if (!this.text.startsWith('is', is)) continue
        const colon = this.text[is + 2] === ':'
        const at = is + (colon ? 3 : 2)
        const found = latex
          ? this.#environments.afterSpaces(at, place => this.#chain(start, place))
          : this.#plain(start, at, () => true)
        if (found) return found
      }
      return undefined
    })
  }

  #boxed(): Candidate[] {
    const inEnvironments = this.#all(
      at => this.#environments.nextStart(at),
      at => {
        const found = this.#chain(at, at, true)
        return found && { ...found, end: skipSpaces(this.text, found.end) }
      },
    )
    const stretch = boxedStretch(this.text)
    if (!stretch) return inEnvironments
    return [
      ...inEnvironments,
      { kind: 'box', ...stretch, content: this.text.slice(stretch.start, stretch.end) },
    ]
  }

  #answer(colon: boolean, latex: boolean): Candidate[] {
    const word = colon ? /answer:/gi : /answer/gi
    const length = colon ? 7 : 6
    return this.#all(this.#word(word), start => {
      const from = start + length
      if (latex) {
        for (let gap = 0; gap <= 50 && from + gap < this.text.length; ++gap) {
          const found = this.#chain(start, from + gap)
          if (found) return found
        }
        return undefined
      }
      return this.#answerNumber(start, from)
    })
  }

  #answerNumber(start: number, from: number): Candidate | undefined {
    const { text } = this
    // The end of the last run of white space is kept: an end may be tried at each of its characters.
    let runStart = 0
    let runEnd = -1
    const accept = (end: number) => {
      if (end < runStart || end > runEnd) [runStart, runEnd] = [end, skipSpaces(text, end)]
      return text[runEnd] !== '='
    }
    const newline = text.indexOf('\n', from)
    const lineEnd = newline < 0 ? text.length : newline
    // After an equals sign, the last within reach first.
    for (let equals = Math.min(from + 100, lineEnd); equals >= from; --equals) {
      if (text[equals] !== '=') continue
      const found = this.#environments.afterSpaces(equals + 1, place => this.#plain(start, place, accept))
      if (found) return found
    }
    for (let at = from; at <= Math.min(from + 50, lineEnd); ++at) {
      const found = this.#plain(start, at, accept)
      if (found) return found
    }
    return undefined
  }

  #anywhere(): Candidate[] {
    const environments = this.#all(
      at => this.#environments.nextStart(at),
      at => this.#chain(at, at),
    )
    const always = () => true
    const arithmetic = this.#all(
      at => this.#numbers.nextPrefix(at),
      at => {
        const plain = this.#numbers.afterPrefix(at, place => this.#numbers.arithmeticAt(place, always))
        return plain && { kind: 'plain', start: at, end: plain.end, plain }
      },
    )
    const numbers = this.#all(
      at => this.#numbers.nextPrefix(at),
      at => {
        const plain = this.#numbers.numberAfterPrefix(at, always)
        return plain && { kind: 'plain', start: at, end: plain.end, plain }
      },
    )
    return [...environments, ...arithmetic, ...numbers]
  }
}
