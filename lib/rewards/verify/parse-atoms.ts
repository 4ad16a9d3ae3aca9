// The smallest parts of an expression: numbers, symbols with their subscripts and powers, infinity.
import { greekLetters } from './commands.js'
import type { Cursor } from './cursor.js'
import { limits } from './limits.js'
import { decimal } from './rational.js'
import { type Node, percentOf, powerOf } from './tree.js'

const symbolKinds = ['letter', 'greek', 'otherSymbol', 'accent']

export function startsSymbol(cursor: Cursor): boolean {
  return symbolKinds.includes(cursor.kind)
}

/** A number as written: with a point it is a float. Undefined when it is too long. */
export function numberOf(text: string): Node | undefined {
  const [digits = '', exponent] = text.split('E')
  if (digits.length > limits.digits || (exponent?.length ?? 0) > 6) return undefined
  const value = decimal(
    digits,
    exponent === undefined ? 0 : Number(exponent.replace(/[−∸]/, '-').replace(/[∔⊕⊞]/, '')),
  )
  if (!value) return undefined
  return exponent === undefined && !digits.includes('.')
    ? { kind: 'number', value }
    : { kind: 'float', value }
}

/** A single atom: what may stand after `^` or `_` without braces. */
export function atom(cursor: Cursor): Node | undefined {
  switch (cursor.kind) {
    case 'letter':
    case 'greek':
    case 'otherSymbol':
    case 'accent':
      return symbolWithScripts(cursor)
    case 'number': {
      const number = numberOf(cursor.take('number') as string)
      // A subscript, as of a number's base, is ignored.
      if (number) subscript(cursor)
      return number
    }
    case 'scientific':
      return numberOf(cursor.take('scientific') as string)
    case 'percentNumber': {
      const number = numberOf((cursor.take('percentNumber') as string).replace(/[\s\\%]/g, ''))
      return number && percentOf(number)
    }
    case 'capitalE':
      ++cursor.at
      return symbol('e', cursor)
    case 'differential': {
      const text = cursor.take('differential') as string
      return {
        kind: 'symbol',
        name: `d${text.slice(1).trim().replace(/^\\/, '')}`,
        real: cursor.options.real,
      }
    }
    case 'infinity':
      ++cursor.at
      return { kind: 'infinity', sign: 1 }
    default:
      return undefined
  }
}

/** A symbol's name as the tokens give it: letters as they are, Greek by name, a word without its command. */
function plainName(text: string): string {
  if (!text.includes('{')) return text
  const open = text.indexOf('{')
  const command = text.slice(1, open).trim()
  const word = text.slice(open + 1, -1).replace(/ /g, '')
  if (command.includes('text') || command.includes('mbox')) return word.replace(/[()]/g, '')
  if (command === 'overline') return `bar{${word}}`
  if (command === 'overrightarrow') return `vec{${word}}`
  if (command === 'widetilde') return `tilde{${word}}`
  return `${command.includes('math') ? 'math' : command}{${word}}`
}

/** The symbol of a name, in lower case; pi is a constant however it is written. */
function symbol(name: string, cursor: Cursor): Node {
  const trimmed = name.trim()
  const lower = (greekLetters[trimmed] ?? trimmed.replace(/^\\/, '')).toLowerCase()
  if (lower === 'pi') return { kind: 'constant', name: 'pi' }
  return { kind: 'symbol', name: lower, real: cursor.options.real }
}

/** A symbol with at most one subscript and one power, in either order. */
export function symbolWithScripts(cursor: Cursor): Node | undefined {
  const text = cursor.text
  const capitalI = cursor.kind === 'letter' && text === 'I'
  ++cursor.at
  let below = subscript(cursor)
  const above = superscript(cursor)
  if (above && below === undefined) below = subscript(cursor)
  if (capitalI) return { kind: 'constant', name: 'i' }
  const part = below === undefined ? '' : below.length > 1 ? `_{${below}}` : `_${below}`
  const base = symbol(plainName(text).trim() + part, cursor)
  return above ? powerOf(base, above) : base
}

/** The text of a subscript that is next. */
export function subscript(cursor: Cursor): string | undefined {
  return cursor.attempt(() => {
    if (cursor.take('under') === undefined) return undefined
    const braced = cursor.take('open', '{') !== undefined
    const start = cursor.at
    if (!braced) return atom(cursor) && cursor.textFrom(start)
    do {
      if (!cursor.expression(cursor)) return undefined
    } while (cursor.take('comma') !== undefined)
    const text = cursor.textFrom(start).trim()
    return cursor.take('close', '}') === undefined ? undefined : text
  })
}

/** A subscript that is an expression, as the base of a logarithm. */
export function subscriptExpression(cursor: Cursor): Node | undefined {
  return cursor.attempt(() => {
    if (cursor.take('under') === undefined) return undefined
    return cursor.text === '{' ? cursor.between('{', '}') : atom(cursor)
  })
}

/** The power that is next: `^` with an atom or with an expression in braces. */
export function superscript(cursor: Cursor): Node | undefined {
  return cursor.attempt(() => {
    if (cursor.take('caret') === undefined) return undefined
    return cursor.text === '{' ? cursor.between('{', '}') : atom(cursor)
  })
}
