// Foreign text in HTML and SVG: nothing in it can end an element, open one, or change how what follows is written.
import { printable } from '../../printable.js'

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text for an element or an attribute, in HTML and XML: markup escaped, control and bidi characters shown as escapes. */
export function escapeMarkup(text: string, maxLength = Number.POSITIVE_INFINITY): string {
  return withoutNoncharacters(printable(text, maxLength)).replace(/[&<>"']/g, c => ENTITIES[c] as string)
}

/** Text as a data script may hold it: control and bidi characters, lone surrogates included, are shown as escapes. */
export function visibleLines(text: string): string {
  return withoutNoncharacters(
    text
      .split('\n')
      .map(line => printable(line))
      .join('\n'),
  )
}

/** JSON for the inside of a script element: no `<` can end it, no line separator can break it. */
export function scriptJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

// XML has no way to write these.
function withoutNoncharacters(text: string): string {
  return text.replace(/[\uFFFE\uFFFF]/g, '\uFFFD')
}
