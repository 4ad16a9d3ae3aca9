// Text that somebody else wrote, made safe to show: nothing in it can move a terminal's cursor or hide what it says.

/**
 * Text that somebody else wrote (a completion, a file's name), safe to print on one line: control characters, escape
 * sequences, line breaks, characters that turn the writing direction and lone surrogates are shown as escapes.
 * `maxLength`: what would be longer is cut, between characters, and ends with `...`.
 */
export function printable(text: string, maxLength = Number.POSITIVE_INFINITY): string {
  if (text.length <= maxLength && !UNPRINTABLE.test(text)) return text
  let shown = ''
  let kept = 0
  for (const character of text) {
    shown += UNPRINTABLE.test(character) ? escaped(character) : character
    if (shown.length <= maxLength - 3) kept = shown.length
    if (shown.length > maxLength) return `${shown.slice(0, kept)}...`
  }
  return shown
}

/** The same for text of several lines, which stay. */
export function printableLines(text: string): string {
  return text
    .split('\n')
    .map(line => printable(line))
    .join('\n')
}

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u

function escaped(character: string): string {
  return ESCAPES[character] ?? `\\u{${(character.codePointAt(0) as number).toString(16)}}`
}

const ESCAPES: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }
