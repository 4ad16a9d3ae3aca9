// A whole answer: an assignment, a list, or sets joined by set operations.
import { relationMeaning } from './commands.js'
import { Cursor, type ReadingOptions } from './cursor.js'
import { startsSymbol, symbolWithScripts } from './parse-atoms.js'
import { expression } from './parse-expression.js'
import { listAsNode, lists, setExpression } from './parse-sets.js'
import { decimal } from './rational.js'
import { tokensOf } from './tokens.js'
import type { Node } from './tree.js'

const complexSigns =
  /\\mathbb\{C\}|\\i\b|\bi\b|\\(?:text|mathrm)\{i\}|\\imath\b|\\det|\\operatorname\{(?:tr|rank|Re|Im)\}|\\text\{(?:rank|Re|Im)\}|\\(?:arg|Re|Im)\{/

const scientific = /(?<![A-Za-z\\\d.])((?:\d{0,400}\.)?\d{1,400})e([-+]?\d{1,4})(?![A-Za-z\d.])/g

/** The tree of a normalised LaTeX text; undefined where it is none, or over a budget. */
export function parseLatex(text: string, strict: boolean): Node | undefined {
  // Math-Verify reads 3e-10 with Euler's number: 3 times e, less 10.
  if (strict) text = text.replace(scientific, '$1E$2')
  const whole = parseWhole(text, strict)
  if (whole || /[,;]/.test(text)) return whole
  // Of a chain of equations that cannot be read, the last side may still be.
  const sides = text.split(/(?<![\\<!>])=/)
  return sides.length > 2 ? parseWhole(sides.at(-1) as string, strict) : undefined
}

function parseWhole(text: string, strict: boolean): Node | undefined {
  const tokens = tokensOf(text)
  if (!tokens || tokens.length < 2) return undefined
  const cursor = new Cursor(
    tokens,
    { real: !complexSigns.test(text), strict } satisfies ReadingOptions,
    expression,
  )
  const complete = (parse: () => Node | undefined) =>
    cursor.attempt(() => {
      const node = parse()
      return cursor.kind === 'end' ? node : undefined
    })
  const assigned = complete(() => assignedList(cursor))
  if (assigned) return assigned
  const list = complete(() => {
    const runs = lists(cursor, true)
    return runs && listAsNode(runs)
  })
  if (list) return groupedNumber(text) ?? list
  return complete(() => setRelation(cursor))
}

/** `1,234` and `12,345.6` are numbers, not lists; `0,75` has a decimal comma. */
function groupedNumber(text: string): Node | undefined {
  if (!/^\s*-?\d{1,3}(?:,\d{3})+(?:\.\d+)?\s*$/.test(text)) return undefined
  const plain = text.trim().startsWith('0')
    ? text.trim().replaceAll(',', '.')
    : text.trim().replaceAll(',', '')
  const value = decimal(plain)
  if (!value) return undefined
  return plain.includes('.') ? { kind: 'float', value } : { kind: 'number', value }
}

// A symbol, or symbols in brackets.
function symbols(cursor: Cursor): Node | undefined {
  if (startsSymbol(cursor)) return symbolWithScripts(cursor)
  if (cursor.take('open', '(') === undefined) return undefined
  const args: Node[] = []
  do {
    const next = startsSymbol(cursor) ? symbolWithScripts(cursor) : undefined
    if (!next) return undefined
    args.push(next)
  } while (cursor.take('comma') !== undefined)
  if (cursor.take('close', ')') === undefined) return undefined
  return args.length === 1 ? args[0] : { kind: 'tuple', args }
}

function isAssignmentSign(cursor: Cursor): boolean {
  return cursor.kind === 'in' || (cursor.kind === 'relation' && relationMeaning.get(cursor.text) === '=')
}

// `x = 1, 2` and `x \in \{1, 2\}`: the symbol equals the whole list.
function assignedList(cursor: Cursor): Node | undefined {
  const left = symbols(cursor)
  if (!left || !isAssignmentSign(cursor)) return undefined
  ++cursor.at
  const runs = lists(cursor, false)
  return runs && { kind: 'relation', operator: '=', left, right: listAsNode(runs) }
}

function setRelation(cursor: Cursor): Node | undefined {
  const assigned = cursor.attempt((): Node | undefined => {
    const left = symbols(cursor)
    if (!left || !(isAssignmentSign(cursor) || cursor.kind === 'notIn')) return undefined
    const operator = cursor.kind === 'notIn' ? '!=' : '='
    ++cursor.at
    const right = setRelation(cursor)
    return right && right.kind !== 'relation' ? { kind: 'relation', operator, left, right } : undefined
  })
  return assigned ?? setExpression(cursor)
}
