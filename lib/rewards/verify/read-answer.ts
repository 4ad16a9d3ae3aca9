// Reads the answer of a text: the first candidate that parses, and the first that is at least a string.

import { parseArithmetic } from './arithmetic.js'
import { boxedContent } from './boxes.js'
import { type Candidate, CandidateFinder, type GroupName, groupNames } from './candidates.js'
import { limits } from './limits.js'
import { normalizeLatex } from './normalize.js'
import { parseLatex } from './parse-math.js'
import type { PlainArithmetic, PlainNumber } from './plain-numbers.js'
import { decimal } from './rational.js'
import { isRelation } from './relations.js'
import { type Node, percentOf, setOf } from './tree.js'

export interface ReadAnswer {
  /** The parsed answer. */
  node: Node | undefined
  /** The first normalised string, whether it parses or not. */
  text: string
}

export interface ReadOptions {
  strict: boolean
  /** The groups of candidates to try. Default all. */
  groups?: readonly GroupName[]
}

/** Most candidates that are parsed: a text of noise ends here. */
const mostCandidates = 300
/** Most characters in all of them. */
const mostCharacters = 100_000

/** Reads the answer of a text, as Math-Verify's `parse` does. */
export function readAnswer(text: string, options: ReadOptions): ReadAnswer {
  const finder = new CandidateFinder(text.slice(-limits.text))
  let first = ''
  let left = mostCandidates
  let characters = mostCharacters
  for (const name of options.groups ?? groupNames) {
    for (const candidate of finder.group(name)) {
      if (--left < 0 || characters < 0) return { node: undefined, text: first }
      const read = readCandidate(candidate, options.strict)
      characters -= candidate.end - candidate.start
      if (first === '') first = read.text
      if (read.node) return { node: read.node, text: first }
      // Numbers inside what cannot be parsed are no answer.
      if (options.strict && candidate.kind !== 'plain') return { node: undefined, text: first }
    }
  }
  return { node: undefined, text: first }
}

function readCandidate(candidate: Candidate, strict: boolean): ReadAnswer {
  if (candidate.kind === 'plain') return readPlain(candidate.plain)
  if (candidate.kind === 'box') return readLatex(boxedContent(candidate.content, true), strict)
  const read = candidate.environments.map(({ content, percent }) => {
    const { node, text } = readLatex(boxedContent(content, false), strict)
    // Percent of an equation or a tuple is no answer; of a set it is one that equals nothing.
    const hundredths = node && !isRelation(node) && node.kind !== 'tuple' ? percentOf(node) : undefined
    return { node: percent ? hundredths : node, text }
  })
  const nodes = read.flatMap(({ node }) => node ?? [])
  if (read.length > 1 && nodes.length === read.length) {
    const items = nodes.flatMap(node => (node.kind === 'set' ? node.args : [node]))
    return { node: setOf(items), text: read.map(({ text }) => text).join(' and ') }
  }
  return read[0] ?? { node: undefined, text: '' }
}

/** Reads LaTeX without looking for an answer in it. */
export function readLatex(content: string, strict: boolean): ReadAnswer {
  // Too long to be an answer: compared as it stands.
  if (content.length > limits.expression) return { node: undefined, text: content.trim() }
  const text = normalizeLatex(content, strict)
  return { node: text === '' ? undefined : parseLatex(text, strict), text }
}

function readPlain(plain: PlainNumber | PlainArithmetic): ReadAnswer {
  if (plain.kind === 'arithmetic') {
    const text = plain.text.replaceAll('\n', ' ')
    return { node: parseArithmetic(text), text: plain.text }
  }
  const comma = plain.digits.search(/[.,]\d+$/)
  // A comma before exactly three digits groups them; any other is a decimal comma.
  const grouped = /^-?[1-9]\d{0,2}(?:[ ,]\d{3})+(?:\.\d+)?$/.test(plain.digits)
  const plainDigits = grouped
    ? plain.digits.replace(/[ ,]/g, '')
    : comma < 0
      ? plain.digits
      : `${plain.digits.slice(0, comma)}.${plain.digits.slice(comma + 1)}`
  const text = plainDigits.replace(/^0+(?=\d)/, '').replace(/^\./, '0.')
  const value = decimal(text)
  if (!value) return { node: undefined, text }
  const node: Node = text.includes('.') ? { kind: 'float', value } : { kind: 'number', value }
  return { node: plain.percent ? percentOf(node) : node, text }
}
