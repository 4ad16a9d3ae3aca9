// The prompts of a suite, from files in the layout of the authors' validation files.
import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { PromptFormat } from '../data/prompt-format.js'
import { openRowFile } from '../data/row-file.js'
import { type DataRow, mapRow, resolveColumns, topLevelColumns } from '../data/rows.js'
import { ConfigError, DataError, throwIfAborted } from '../errors.js'
import { CounterRandom } from '../random.js'
import { isMmluPro, mmluProColumns, mmluProRow } from './mmlu-pro.js'
import { shuffleOptions } from './multiple-choice.js'
import type { Benchmark } from './suites.js'

export interface EvaluationItem {
  benchmark: string
  /** Of the prompt as the model sees it and the answer: a sample's name in files, whatever else is evaluated. */
  key: string
  prompt: string
  answer: string
}

export interface EvaluationPrompts {
  items: EvaluationItem[]
  /** Per benchmark, what happened to rows: `repeated`, `unanswered`, `notShuffled`. */
  counts: Record<string, Record<string, number>>
  /** Rows of sources that are in no benchmark of the suite. */
  otherRows: number
}

export interface EvaluationDataOptions {
  benchmarks: readonly Benchmark[]
  format: PromptFormat
  /** Of the options' order. */
  seed: number
  shuffleOptions: boolean
  /** Keep the rows' system messages, which the authors drop in favour of the template's own. */
  keepSystem: boolean
  /** Most prompts per benchmark, the first ones. */
  limit?: number | undefined
  signal?: AbortSignal | undefined
}

/**
 * Reads the suite's prompts. Rows that the files repeat (the authors repeat those of AIME and AMC 32 times) count once:
 * the samples per prompt are the benchmark's.
 *
 * @throws {DataError} naming the file and row of what cannot be read, or where no row is of the suite
 */
export async function readEvaluationData(
  paths: readonly string[],
  options: EvaluationDataOptions,
): Promise<EvaluationPrompts> {
  const bySource = new Map(
    options.benchmarks.flatMap(each => each.sources.map(source => [source, each] as const)),
  )
  const rows = new Map<Benchmark, DataRow[]>(options.benchmarks.map(each => [each, []]))
  let otherRows = 0
  const seenSources = new Set<string>()
  const columns = resolveColumns()
  for (const path of await filesOf(paths)) {
    const file = await openRowFile(path)
    const isOptions = isMmluPro(file.columns)
    for (let block = 0; block < file.blocks.length; block++) {
      throwIfAborted(options.signal, 'reading evaluation data')
      for (const raw of await file.read(block, isOptions ? mmluProColumns : topLevelColumns(columns))) {
        const row = isOptions ? mmluProRow(raw) : mapRow(raw, columns)
        const benchmark = bySource.get((row.source ?? '').toLowerCase().replaceAll('-', '_'))
        if (row.source !== undefined) seenSources.add(row.source)
        if (benchmark === undefined) otherRows += 1
        else rows.get(benchmark)?.push(row)
      }
    }
  }
  if (otherRows > 0 && [...rows.values()].every(list => list.length === 0)) {
    const sources = [...seenSources].slice(0, 10).join(', ') || 'none'
    throw new DataError(
      `${paths.join(', ')}: no row of ${[...bySource.keys()].join(', ')}; the sources are ${sources}`,
      { hint: 'the column data_source says which benchmark a row is of' },
    )
  }
  const result: EvaluationPrompts = { items: [], counts: {}, otherRows }
  for (const [benchmark, own] of rows) {
    const counts: Record<string, number> = {}
    const prepared = prepare(own, benchmark, counts, options).slice(0, options.limit)
    result.items.push(...(await render(prepared, benchmark, options.format)))
    if (own.length > 0) result.counts[benchmark.name] = counts
  }
  if (result.items.length === 0) throw new DataError(`${paths.join(', ')}: no prompt to evaluate`)
  return result
}

/** The files themselves, and of folders those that hold rows, in the order of their names. */
async function filesOf(paths: readonly string[]): Promise<string[]> {
  if (paths.length === 0) throw new ConfigError('data: expected at least one file or folder')
  const files: string[] = []
  for (const path of paths) {
    const status = await stat(path).catch(() => undefined)
    if (!status?.isDirectory()) {
      files.push(path) // what is not there is named when it is opened
      continue
    }
    const names = (await readdir(path)).filter(name => /\.(?:parquet|jsonl|ndjson)$/i.test(name)).sort()
    if (names.length === 0) throw new DataError(`${path}: holds no .parquet or .jsonl file`, { path })
    files.push(...names.map(name => join(path, name)))
  }
  return files
}

function prepare(
  rows: readonly DataRow[],
  benchmark: Benchmark,
  counts: Record<string, number>,
  options: EvaluationDataOptions,
): DataRow[] {
  const count = (name: string) => {
    counts[name] = (counts[name] ?? 0) + 1
  }
  const seen = new Set<string>()
  const prepared: DataRow[] = []
  for (const row of rows) {
    if (row.answer === undefined || row.answer.trim() === '') {
      count('unanswered')
      continue
    }
    const identity = JSON.stringify([row.messages, row.answer])
    if (seen.has(identity)) {
      count('repeated')
      continue
    }
    seen.add(identity)
    const messages = options.keepSystem ? row.messages : withoutSystem(row)
    const kept = { ...row, messages }
    const shuffled =
      benchmark.isMultipleChoice && options.shuffleOptions ? shuffledRow(kept, options.seed) : kept
    if (shuffled === undefined) count('notShuffled')
    prepared.push(shuffled ?? kept)
  }
  return prepared
}

function withoutSystem({ messages, where }: DataRow): DataRow['messages'] {
  const rest = messages.filter(({ role }) => role !== 'system')
  if (rest.length === 0) throw new DataError(`${where}: expected a message of the user`)
  return rest
}

// The order follows from the seed and the question, wherever it stands in the file.
function shuffledRow(row: DataRow, seed: number): DataRow | undefined {
  const at = row.messages.findLastIndex(({ role }) => role === 'user')
  const message = row.messages[at]
  if (message === undefined) return undefined
  const index = createHash('sha256').update(message.content).digest().readUInt32LE()
  const random = new CounterRandom(seed, 'evaluation/options', index)
  const shuffled = shuffleOptions(message.content, row.answer ?? '', random)
  if (shuffled === undefined) return undefined
  const messages = row.messages.with(at, { role: 'user', content: shuffled.text })
  return { ...row, messages, answer: shuffled.answer }
}

async function render(
  rows: readonly DataRow[],
  benchmark: Benchmark,
  format: PromptFormat,
): Promise<EvaluationItem[]> {
  const formatted = await format.format(rows)
  return formatted.map(({ prompt, answer }) => ({
    benchmark: benchmark.name,
    key: createHash('sha256')
      .update(JSON.stringify([benchmark.name, prompt, answer]))
      .digest('hex')
      .slice(0, 24),
    prompt,
    answer,
  }))
}
