// MMLU-Pro as its authors publish it: `question`, a list of `options`, the right one as a letter (`answer`), its number
// (`answer_index`), or both; `cot_content` holds an example's reasoning and is not shown. The row becomes a question with
// lettered lines, as the authors of LUFFY write those of ARC.
import type { RawRow } from '../data/row-file.js'
import type { DataRow } from '../data/rows.js'
import { DataError } from '../errors.js'
import { describeValue } from '../options.js'
import { memberOf } from '../policy/chat-template.js'

const letters = 'ABCDEFGHIJKLMNOP'

/** The columns to read. */
export const mmluProColumns = ['question', 'options', 'answer', 'answer_index']

/** Whether a file's columns are MMLU-Pro's and not those of training data. */
export function isMmluPro(columns: readonly { name: string }[]): boolean {
  const has = (name: string) => columns.some(column => column.name === name)
  return has('question') && has('options') && (has('answer') || has('answer_index')) && !has('prompt')
}

/** @throws {DataError} naming the file, the row and the column, what came and what was expected */
export function mmluProRow(raw: RawRow): DataRow {
  if (raw.problem !== undefined) throw new DataError(`${raw.where}: ${raw.problem}`)
  const fail = (column: string, expected: string): never => {
    const got = describeValue(memberOf(raw.values, column))
    throw new DataError(`${raw.where}: column "${column}": expected ${expected}, got ${got}`, {
      details: { column, where: raw.where },
    })
  }
  const question = memberOf(raw.values, 'question')
  if (typeof question !== 'string' || question.trim() === '') return fail('question', 'a question')
  const options = memberOf(raw.values, 'options')
  const isList = Array.isArray(options) && options.length >= 2 && options.length <= letters.length
  if (!isList || !options.every(option => typeof option === 'string' && option.trim() !== '')) {
    return fail('options', `from 2 to ${letters.length} texts`)
  }
  const right = rightOption(raw, options.length, fail)
  const lines = options.map((option: string, i) => `${letters[i]}) ${option.trim()}`)
  return {
    where: raw.where,
    messages: [{ role: 'user', content: `${question.trim()}\n\n${lines.join('\n')}\n` }],
    demonstration: undefined,
    answer: letters[right],
    source: 'mmlu_pro',
  }
}

function rightOption(raw: RawRow, count: number, fail: (column: string, expected: string) => never): number {
  const letter = memberOf(raw.values, 'answer')
  const number = memberOf(raw.values, 'answer_index')
  const byLetter =
    typeof letter === 'string' && letter.trim().length === 1 ? letters.indexOf(letter.trim()) : -1
  const byNumber = typeof number === 'bigint' ? Number(number) : number
  const hasLetter = letter !== undefined && letter !== null
  const hasNumber = byNumber !== undefined && byNumber !== null
  const last = letters[count - 1]
  if (hasLetter && (byLetter < 0 || byLetter >= count)) fail('answer', `a letter from A to ${last}`)
  if (
    hasNumber &&
    !(Number.isInteger(byNumber) && (byNumber as number) >= 0 && (byNumber as number) < count)
  ) {
    fail('answer_index', `an option's number from 0 to ${count - 1}`)
  }
  if (hasLetter && hasNumber && byLetter !== byNumber)
    fail('answer_index', `${byLetter}, which is ${letters[byLetter]}`)
  if (!hasLetter && !hasNumber) fail('answer', `a letter from A to ${last}`)
  return hasLetter ? byLetter : (byNumber as number)
}
