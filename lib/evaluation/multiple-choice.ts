// The options of a multiple-choice question, found at the end of the user's message, and put into another order.
import type { CounterRandom } from '../random.js'

export interface Question {
  /** What stands before the first option's letter. */
  head: string
  letters: readonly string[]
  options: readonly string[]
  /** White space after each option, that of the last one included. */
  gaps: readonly string[]
}

const least = 2
const series = ['ABCDEFGHIJKLMNOP', '123456789']
/** Options that speak of others lose their sense in another order: `all of the above`, `A and B`, `both 1 and 2`. */
const speaksOfOthers = [
  /\b(?:all|none|both|neither|either|any|some)\b[^.]*\b(?:above|these|choices|options|answers)\b/i,
  /\b(?:[Bb]oth|[Nn]either|[Ee]ither|[Oo]nly)\s+\(?[A-P1-9]\b|\b[A-P1-9]\s+only\b|\(?\b[A-P]\b\)?,?\s+(?:and|or|nor)\s+\(?[A-P]\b/,
]

function namesOthers(option: string): boolean {
  return speaksOfOthers.some(pattern => pattern.test(option))
}

/** Lines `A) ...`, `B) ...` and so on (or `A. ...`, or numbers) that end the text; undefined where there are none. */
export function readQuestion(text: string): Question | undefined {
  const marks = [...text.matchAll(/^[ \t]*\(?([A-P1-9])[).](?=\s)[ \t]*/gm)]
  for (const letters of series) {
    // The last line that can be the first option, so that a list within the question is none.
    const start = marks.findLastIndex(mark => mark[1] === letters[0])
    if (start < 0) continue
    const own = marks.slice(start)
    if (own.length < least || own.some((mark, i) => mark[1] !== letters[i])) continue
    const head = text.slice(0, own[0]?.index)
    const parts = own.map((mark, i) =>
      text.slice(mark.index + mark[0].length, own[i + 1]?.index ?? text.length),
    )
    const options = parts.map(part => part.trimEnd())
    if (options.includes('')) continue
    return {
      head,
      letters: own.map(mark => mark[0]),
      options,
      gaps: parts.map((part, i) => part.slice(options[i]?.length)),
    }
  }
  return undefined
}

/** The question's text; what `readQuestion` read gives back what it was read from. */
export function writeQuestion({ head, letters, options, gaps }: Question): string {
  return head + options.map((option, i) => `${letters[i]}${option}${gaps[i]}`).join('')
}

/**
 * The question with its options in a random order, and the letter of the right one there. Undefined where the text has
 * no options, the answer is none of their letters, or an option speaks of others.
 */
export function shuffleOptions(
  text: string,
  answer: string,
  random: CounterRandom,
): { text: string; answer: string } | undefined {
  const question = readQuestion(text)
  if (question === undefined || question.options.some(namesOthers)) return undefined
  const names = question.letters.map(letter => letter.replace(/[^A-P1-9]/g, ''))
  const right = names.indexOf(answer.trim())
  if (right < 0) return undefined
  const order = random.shuffle(question.options.map((_, i) => i))
  return {
    text: writeQuestion({ ...question, options: order.map(i => question.options[i] as string) }),
    answer: names[order.indexOf(right)] as string,
  }
}
