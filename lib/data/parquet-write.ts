// Training files in the layout of LUFFY's data, which other tools of this ecosystem read too. Rows are written as they
// come, a row group at a time, and the file appears under its name when it is whole.
import type { SchemaElement } from 'hyparquet'
import { ByteWriter, parquetWriteRows } from 'hyparquet-writer'
import { DataError, LuffyError } from '../errors.js'
import { DurableFile } from '../io/atomic.js'
import { checkInteger, checkOptions, describeValue } from '../options.js'
import { type ChatMessage, checkMessages } from '../policy/chat-template.js'

export interface TrainingRow {
  /** Messages, or what the user says. */
  prompt: readonly ChatMessage[] | string
  /** The demonstration. LUFFY's begin with `<think>\n`. */
  demonstration?: string | null
  answer: string
  /** Where the row comes from. */
  source?: string
  /** Such as math. */
  ability?: string
}

export interface WriteRowsOptions {
  /** Rows that a reader has in memory at a time. Default 1000. */
  rowGroupRows?: number
  /** What `extra_info.split` says. Default train. */
  split?: string
}

/**
 * Writes rows to a parquet file: `prompt`, `target`, `reward_model`, `data_source`, `ability`, `extra_info`.
 * Returns how many.
 *
 * @throws {DataError} naming the row that is not one
 * @throws {CheckpointError} when the disk is full or the file cannot be written
 */
export async function writeTrainingRows(
  path: string,
  rows: Iterable<TrainingRow> | AsyncIterable<TrainingRow>,
  options: WriteRowsOptions = {},
): Promise<number> {
  const given = checkOptions(options, 'writeTrainingRows', ['rowGroupRows', 'split'])
  const rowGroupSize = checkInteger(given.rowGroupRows ?? 1000, 'rowGroupRows', { min: 1 })
  const file = await DurableFile.create(path, { sha256: false })
  let count = 0
  async function* records() {
    for await (const row of rows) {
      yield recordOf(row, count, options.split ?? 'train')
      count += 1
    }
  }
  const writer = new ByteWriter()
  writer.finish = () => {}
  const flush = async () => {
    await file.write(writer.getBytes())
    writer.index = 0
  }
  try {
    await parquetWriteRows({
      writer: Object.assign(writer, { flush }),
      rows: records(),
      columns: columnNames.map(name => ({ name })),
      schema,
      rowGroupSize,
    })
    await flush()
    if (count === 0) throw new DataError(`${path}: expected rows to write, got none`, { path })
    await file.commit()
    return count
  } catch (error) {
    await file.abort()
    if (LuffyError.isInstance(error)) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new DataError(`${path}: ${why}`, { path, cause: error })
  }
}

function recordOf(row: TrainingRow, index: number, split: string): Record<string, unknown> {
  const fail = (problem: string) => new DataError(`rows[${index}].${problem}`)
  if (typeof row?.answer !== 'string') {
    throw fail(`answer: expected a text, got ${describeValue(row?.answer)}`)
  }
  const prompt =
    typeof row.prompt === 'string'
      ? [{ role: 'user', content: row.prompt }]
      : checkMessages(row.prompt, problem => fail(`prompt: ${problem}`))
  const { demonstration, source = null, ability = null } = row
  return {
    data_source: source,
    prompt,
    target: typeof demonstration === 'string' ? [{ role: 'assistant', content: demonstration }] : null,
    ability,
    reward_model: { ground_truth: row.answer, style: 'rule' },
    extra_info: { index: BigInt(index), split },
  }
}

const text = (name: string): SchemaElement => ({
  name,
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  repetition_type: 'OPTIONAL',
})
const group = (name: string, children: SchemaElement[]): SchemaElement[] => [
  { name, num_children: children.length, repetition_type: 'OPTIONAL' },
  ...children,
]
const messages = (name: string): SchemaElement[] => [
  { name, num_children: 1, converted_type: 'LIST', repetition_type: 'OPTIONAL' },
  { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
  ...group('element', [text('content'), text('role')]),
]

const columnNames = ['data_source', 'prompt', 'target', 'ability', 'reward_model', 'extra_info']
const schema: SchemaElement[] = [
  { name: 'schema', num_children: columnNames.length },
  text('data_source'),
  ...messages('prompt'),
  ...messages('target'),
  text('ability'),
  ...group('reward_model', [text('ground_truth'), text('style')]),
  ...group('extra_info', [{ name: 'index', type: 'INT64', repetition_type: 'OPTIONAL' }, text('split')]),
]
