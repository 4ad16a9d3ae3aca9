// What is wrong with a text that is no YAML, in luffy's words. The codes are those of the package yaml.
import { describeValue } from '../options.js'

interface Fault {
  code: string
  message: string
}

/** What was found at `position` and what was expected there. */
export function yamlFault({ code, message }: Fault, text: string, position: number): string {
  const rest = text.slice(position)
  const word = describeValue(/^[^\s:,\]}]+/.exec(rest)?.[0] ?? rest.slice(0, 1))
  switch (code) {
    case 'DUPLICATE_KEY':
      return `the name ${word} is given twice; leave one out`
    case 'TAB_AS_INDENT':
      return 'a tab as indentation; use spaces'
    case 'BAD_INDENT':
      return /flow (map|sequence)/i.test(message)
        ? `a ${/map/i.test(message) ? '{' : '['} before this place is not closed; close it, or indent this line`
        : 'this line stands neither under the one before nor beside it; indent it as the lines that it belongs to'
    case 'MISSING_CHAR':
      return missing(message, word)
    case 'BAD_DQ_ESCAPE':
      return 'an unknown escape after a backslash; use single quotes, in which a backslash is itself'
    case 'BAD_SCALAR_START':
      return `a value cannot begin with ${describeValue(rest.slice(0, 1))}; put it in quotes`
    case 'BLOCK_AS_IMPLICIT_KEY':
    case 'MULTILINE_IMPLICIT_KEY':
      if (rest.startsWith('- ')) return 'an item of a list beside names and values; indent it'
      return 'a name with ": " twice in its line, or over several lines; put a value that holds ": " in quotes'
    case 'MULTIPLE_DOCS':
      return 'a second document begins; expected one'
    case 'TAG_RESOLVE_FAILED':
      return 'tags (!name) are not allowed; put a value that begins with ! in quotes'
    case 'BAD_ALIAS':
      return 'aliases (*name) are not allowed; put a value that begins with * in quotes'
    default:
      return `${word} is not expected here; expected name: value`
  }
}

function missing(message: string, word: string): string {
  const quote = /closing (["'])/.exec(message)?.[1]
  if (quote !== undefined) return `a text in ${quote} is not closed`
  const bracket = /end with an? ([\]}])/.exec(message)?.[1]
  if (bracket !== undefined) return `expected ${bracket} before the end`
  if (message.includes(',')) return `expected a comma before ${word}`
  return `expected name: value, got ${word}`
}
