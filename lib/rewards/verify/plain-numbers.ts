// Numbers and plain arithmetic in running text: `1,234.5`, `50 %`, `$100`, `3*(4+5)`.
import { firstFrom, isDigit, isSpace, skipSpaces } from './text.js'

export interface PlainNumber {
  kind: 'number'
  digits: string
  percent: boolean
  end: number
}

export interface PlainArithmetic {
  kind: 'arithmetic'
  text: string
  end: number
}

type Accept = (end: number) => boolean

const currencies = new Set('$€£¥₹₽₪₩₫฿₡₢₣₤₥₦₧₨₭₮₯₰₱₲₳₴₵₶₷₸₺₻₼₾₿')
const operators = new Set('+-*×/^()÷')
const suffixes = new Set('.,:)$')

function isArithmetic(character: string | undefined): boolean {
  return (
    character !== undefined &&
    (isDigit(character) || character === '.' || operators.has(character) || isSpace(character))
  )
}

/** A stretch of digits, operators and spaces; what can end an arithmetic expression in it is found once. */
interface Stretch {
  end: number
  operators: readonly number[]
  ends: readonly number[]
}

export class NumberFinder {
  #stretch: Stretch | undefined
  #stretchStart = 0

  constructor(readonly text: string) {}

  /** What may stand before a number: the text's start, white space or `=`, then perhaps `**`. */
  afterPrefix<T>(at: number, attempt: (place: number) => T | undefined): T | undefined {
    const { text } = this
    const starts = at === 0 ? [0] : []
    if (isSpace(text[at]) || text[at] === '=') starts.push(at + 1)
    for (const start of starts) {
      const found = (text.startsWith('**', start) ? attempt(start + 2) : undefined) ?? attempt(start)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The next place from `at` on where a prefix can start. */
  nextPrefix(at: number): number {
    if (at === 0) return 0
    const pattern = /[\s=]/g
    pattern.lastIndex = at
    return pattern.exec(this.text)?.index ?? this.text.length
  }

  /** Arithmetic, else a number, whose end (what follows included) the caller accepts. */
  anyAt(at: number, accept: Accept): PlainNumber | PlainArithmetic | undefined {
    return (
      this.afterPrefix(at, place => this.arithmeticAt(place, accept)) ?? this.numberAfterPrefix(at, accept)
    )
  }

  numberAfterPrefix(at: number, accept: Accept): PlainNumber | undefined {
    return this.afterPrefix(at, place => {
      const money = currencies.has(this.text[place] ?? '') ? this.numberAt(place + 1, accept) : undefined
      return money ?? this.numberAt(place, accept)
    })
  }

  numberAt(at: number, accept: Accept): PlainNumber | undefined {
    const { text } = this
    if (isDigit(text[at - 1])) return undefined
    const sign = text[at] === '-' ? 1 : 0
    const whole = at + sign
    // 1,234 or 1 234.
    if (isDigit(text[whole]) && text[whole] !== '0') {
      const grouped = /[1-9]\d{0,2}(?:[ ,]\d{3})+/y
      grouped.lastIndex = whole
      const match = grouped.exec(text)
      if (match) {
        const end = whole + match[0].length
        const found =
          this.#endings(at, decimalEnd(text, end, '.'), end, accept) ?? this.#shorterGroups(at, end, accept)
        if (found) return found
      }
    }
    const digits = digitsEnd(text, whole)
    if (digits > whole) {
      const fraction = decimalEnd(text, digits, '.,')
      return (
        (fraction > digits ? this.#endings(at, fraction, digits + 2, accept) : undefined) ??
        this.#endings(at, digits, whole + 1, accept)
      )
    }
    if (sign === 1) return undefined
    const fraction = decimalEnd(text, at, '.')
    return fraction > at ? this.#endings(at, fraction, at + 2, accept) : undefined
  }

  #shorterGroups(at: number, end: number, accept: Accept): PlainNumber | undefined {
    for (
      let shorter = end - 4;
      shorter > at && /[ ,]\d{3}$/.test(this.text.slice(shorter - 4, shorter));
      shorter -= 4
    ) {
      const found = this.#endings(at, shorter, shorter, accept)
      if (found) return found
    }
    return undefined
  }

  // The longest number that the caller accepts, a percent sign first taken with it.
  #endings(at: number, longest: number, shortest: number, accept: Accept): PlainNumber | undefined {
    for (let end = longest; end >= shortest; --end) {
      const digits = this.text.slice(at, end)
      const percent = percentLength(this.text, end)
      if (percent > 0 && accept(end + percent))
        return { kind: 'number', digits, percent: true, end: end + percent }
      if (accept(end)) return { kind: 'number', digits, percent: false, end }
    }
    return undefined
  }

  /** Arithmetic starting here: an operator with something behind it, and an end that the text allows. */
  arithmeticAt(at: number, accept: Accept): PlainArithmetic | undefined {
    const { text } = this
    let digit = at
    if (text[digit] === '-') ++digit
    if (text[digit] === '(') ++digit
    if (text[digit] === '-') ++digit
    if (!isDigit(text[digit])) return undefined
    const stretch = this.#stretchAt(digit)
    const operator = firstFrom(stretch.operators, digit + 1)
    for (let i = stretch.ends.length - 1; i >= 0; --i) {
      const end = stretch.ends[i] as number
      if (end < operator + 2) return undefined
      for (const after of suffixEnds(text, end)) {
        if (accept(after)) return { kind: 'arithmetic', text: text.slice(at, end), end: after }
      }
    }
    return undefined
  }

  #stretchAt(at: number): Stretch {
    const known = this.#stretch
    if (known && at >= this.#stretchStart && at < known.end) return known
    const { text } = this
    const found: number[] = []
    const ends: number[] = []
    let end = at
    for (; isArithmetic(text[end]); ++end) {
      if (operators.has(text[end] as string)) found.push(end)
      if (suffixEnds(text, end).length > 0) ends.push(end)
    }
    if (suffixEnds(text, end).length > 0) ends.push(end)
    this.#stretchStart = at
    this.#stretch = { end, operators: found, ends }
    return this.#stretch
  }
}

// What must follow arithmetic: perhaps `**`, then a mark, white space or the text's end.
function suffixEnds(text: string, at: number): number[] {
  const found: number[] = []
  for (const place of text.startsWith('**', at) ? [at + 2, at] : [at]) {
    const next = text[place]
    if (next === undefined) found.push(place)
    else if (suffixes.has(next) || isSpace(next)) found.push(place + 1)
  }
  return found
}

function digitsEnd(text: string, at: number): number {
  while (isDigit(text[at])) ++at
  return at
}

function decimalEnd(text: string, at: number, marks: string): number {
  if (!marks.includes(text[at] ?? ' ') || !isDigit(text[at + 1])) return at
  return digitsEnd(text, at + 1)
}

function percentLength(text: string, at: number): number {
  if (!/[\s%Pp]/.test(text[at] ?? '')) return 0
  const start = skipSpaces(text, at)
  const pattern = /%|[Pp]ercent|[Pp]ct/y
  pattern.lastIndex = start
  const found = pattern.exec(text)?.[0].length
  return found === undefined ? 0 : start + found - at
}
