// `\boxed{...}` and `\fbox{...}`, read from the right.
import { isSpace, occurrences } from './text.js'

/** Most boxes that are read: more than any answer has. */
const mostBoxes = 1_000

interface Box {
  /** Where the command starts, and where its closing brace stands. */
  start: number
  end: number
  content: string
}

/**
 * The content of a text's boxes joined by commas; the text itself where it has none. With `last`, only the last box
 * and those that belong to it: less than 10 characters before it, or less than 70 with a separator between.
 */
export function boxedContent(text: string, last: boolean): string {
  const commands = [
    ...occurrences(text, '\\boxed').map(start => ({ start, after: start + 6 })),
    ...occurrences(text, '\\fbox').map(start => ({ start, after: start + 5 })),
  ].sort((a, b) => b.start - a.start)
  const found: string[] = []
  let next: Box | undefined
  let limit = text.length
  for (const { start, after } of commands.slice(0, mostBoxes)) {
    let open = after
    while (open < limit && isSpace(text[open])) ++open
    if (open >= limit) break
    const end = text[open] === '{' ? closingBrace(text, open, limit) : -1
    if (end < 0) {
      if (found.length === 0) found.push(text.slice(open))
      break
    }
    const content = text.slice(open + 1, end).trim()
    if (last && next && !belongs(text.slice(end + 1, next.start), content, next.content)) break
    found.push(content)
    next = { start, end, content }
    limit = start
  }
  return found.length === 0 ? text : found.reverse().join(',')
}

// A separator counts inside a word too: "correcting" has an "or".
function belongs(between: string, content: string, nextContent: string): boolean {
  return (
    between.length < 10 || (content !== nextContent && between.length < 70 && /and|or|[,;]/.test(between))
  )
}

/** Where the brace that opens at `open` closes before `limit`, or -1. */
export function closingBrace(text: string, open: number, limit: number): number {
  let depth = 0
  for (let i = open; i < limit; ++i) {
    if (text[i] === '{') ++depth
    else if (text[i] === '}' && --depth === 0) return i
  }
  return -1
}

/** Where the text from its first box to its last brace stands, or undefined. */
export function boxedStretch(text: string): { start: number; end: number } | undefined {
  const start = text.indexOf('\\boxed{')
  const end = text.lastIndexOf('}')
  return start >= 0 && end > start + '\\boxed{'.length ? { start, end: end + 1 } : undefined
}

/** The contents of all complete boxes, in order; nested ones count once, by the outermost. */
export function completeBoxes(text: string): string[] {
  const found: string[] = []
  let from = 0
  const starts = [...occurrences(text, '\\boxed{'), ...occurrences(text, '\\fbox{')].sort((a, b) => a - b)
  for (const start of starts) {
    if (start < from) continue
    if (found.length >= mostBoxes) break
    const open = text.indexOf('{', start)
    const end = closingBrace(text, open, text.length)
    if (end < 0) break
    found.push(text.slice(open + 1, end).trim())
    from = end
  }
  return found
}
