// From a row as its file has it to a row to train or evaluate on: which column holds what is configuration; the
// defaults are the columns of LUFFY's data.
import { ConfigError, DataError } from '../errors.js'
import { describeValue, isForbiddenName } from '../options.js'
import { type ChatMessage, checkMessages, memberOf } from '../policy/chat-template.js'
import type { RawRow } from './row-file.js'

/** Names of columns; a dot leads into a column's object (`reward_model.ground_truth`). */
export interface DataColumns {
  /** Messages, or a text that is the user's. */
  prompt: string
  /** A trace: a text, a message, or a list of messages whose first counts. The column may be missing. */
  demonstration: string
  /** The reference answer: a text or a number. The column may be missing. */
  answer: string
  /** Where the row comes from; evaluations are reported by it. The column may be missing. */
  source: string
}

export const defaultColumns: Readonly<DataColumns> = Object.freeze({
  prompt: 'prompt',
  demonstration: 'target',
  answer: 'reward_model.ground_truth',
  source: 'data_source',
})

export interface DataRow {
  /** The file and the row in it, for messages. */
  where: string
  messages: readonly ChatMessage[]
  /** Undefined where the row has none. */
  demonstration: string | undefined
  answer: string | undefined
  source: string | undefined
}

/** Columns of a row that a message names. */
const mostNamed = 12

/** Checks the names of columns and fills in the defaults. */
export function resolveColumns(given: Partial<DataColumns> = {}): DataColumns {
  const columns = {
    ...defaultColumns,
    ...Object.fromEntries(Object.entries(given).filter(([, name]) => name)),
  }
  for (const [what, path] of Object.entries(columns)) {
    if (path.split('.').some(name => name === '' || isForbiddenName(name))) {
      throw new ConfigError(`columns.${what}: expected the name of a column, got ${describeValue(path)}`)
    }
  }
  return columns
}

/** The top-level columns that rows are made of. */
export function topLevelColumns(columns: DataColumns): string[] {
  return [...new Set(Object.values(columns).map(path => path.split('.')[0] as string))]
}

/** @throws {DataError} naming the file, the row, the column, what came and what was expected */
export function mapRow(raw: RawRow, columns: DataColumns): DataRow {
  if (raw.problem !== undefined) {
    throw new DataError(`${raw.where}: ${raw.problem}`, {
      hint: 'mend the row, or leave such rows out (skipBadRows, --skip-bad-rows)',
    })
  }
  const fail = (what: keyof DataColumns) => (problem: string) =>
    new DataError(`${raw.where}: column "${columns[what]}": ${problem}`, {
      details: { column: columns[what], where: raw.where },
    })
  const at = (what: keyof DataColumns) => valueAt(raw.values, columns[what])
  return {
    where: raw.where,
    messages: messagesOf(promptAt(raw, columns), fail('prompt')),
    demonstration: traceOf(at('demonstration'), fail('demonstration')),
    answer: answerOf(at('answer'), fail('answer')),
    source: optionalText(at('source'), fail('source')),
  }
}

// No row can do without its prompt: where there is none, the name of the column is most likely wrong.
function promptAt(raw: RawRow, columns: DataColumns): unknown {
  const value = valueAt(raw.values, columns.prompt)
  if (value !== undefined) return value
  const names = raw.values instanceof Map ? [...raw.values.keys()] : Object.keys(raw.values ?? {})
  throw new DataError(
    `${raw.where}: no column "${columns.prompt}" (prompt), it has ${names.slice(0, mostNamed).join(', ') || 'none'}`,
    { details: { column: columns.prompt, where: raw.where }, hint: columnHint('prompt') },
  )
}

/** What to do about a column that is not there. */
export function columnHint(what: keyof DataColumns): string {
  return `name the column that holds it: data.columns.${what}, or --column ${what}=NAME of luffy data inspect`
}

function valueAt(values: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>(memberOf, values)
}

type Fail = (problem: string) => DataError

function messagesOf(value: unknown, fail: Fail): ChatMessage[] {
  if (Array.isArray(value)) return checkMessages(value, fail)
  if (typeof value !== 'string') {
    throw fail(`expected a text or a list of messages, got ${describeValue(value)}`)
  }
  if (value === '') throw fail('expected a prompt, got ""')
  return [{ role: 'user', content: value }]
}

function traceOf(value: unknown, fail: Fail): string | undefined {
  const first = Array.isArray(value) ? value[0] : value
  if (first === null || first === undefined) return undefined
  if (typeof first === 'string') return first
  const content = memberOf(first, 'content')
  if (typeof content !== 'string') {
    throw fail(`expected a text or messages, got ${describeValue(content ?? value)}`)
  }
  return content
}

function answerOf(value: unknown, fail: Fail): string | undefined {
  if (value === null || value === undefined) return undefined
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  if (typeof value !== 'string') throw fail(`expected a text or a number, got ${describeValue(value)}`)
  return value
}

function optionalText(value: unknown, fail: Fail): string | undefined {
  if (value === null || value === undefined) return undefined
  if (typeof value !== 'string') throw fail(`expected a text, got ${describeValue(value)}`)
  return value
}
