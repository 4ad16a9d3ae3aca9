// The answer of a response under strict rules: marked as the answer, the only one, after the thinking and after thought.
import { boxedContent, completeBoxes } from './boxes.js'
import { limits } from './limits.js'
import { normalizeLatex } from './normalize.js'
import { type ReadAnswer, readAnswer, readLatex } from './read-answer.js'

export type StrictRefusal = 'no thinking closed' | 'empty thinking' | 'several answers' | 'no marked answer'

const open = '<think>'
const close = '</think>'

/** The text behind the thinking; a refusal where the thinking is empty or never ends. The whole text without tags. */
export function answerPart(text: string): { part: string } | { refusal: StrictRefusal } {
  const end = text.lastIndexOf(close)
  if (end < 0) return text.includes(open) ? { refusal: 'no thinking closed' } : { part: text }
  const part = text.slice(end + close.length)
  // The template may have opened the thinking already.
  if (text.slice(0, end).replaceAll(open, '').replaceAll(close, '').trim() === '')
    return { refusal: 'empty thinking' }
  return part.includes(open) ? { refusal: 'no thinking closed' } : { part }
}

/** Reads the one answer that a response marks as its own. */
export function readStrictAnswer(text: string): ReadAnswer | { refusal: StrictRefusal } {
  const found = answerPart(text)
  if ('refusal' in found) return found
  const part = found.part.slice(-limits.text)
  const boxes = completeBoxes(part)
  if (boxes.length > 0) {
    const contents = new Set(boxes.map(box => normalizeLatex(innerBox(box), true)))
    if (contents.size > 1) return { refusal: 'several answers' }
    return readLatex(innerBox(boxes[0] as string).replace(/\.$/, ''), true)
  }
  const marked = readAnswer(part, { strict: true, groups: ['hope', 'final', 'answerColon'] })
  return marked.node || marked.text !== '' ? marked : { refusal: 'no marked answer' }
}

function innerBox(content: string): string {
  const short = content.slice(0, limits.expression + 1)
  return boxedContent(short, true)
}
