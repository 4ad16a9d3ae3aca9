// What a file of rows holds, as `luffy data inspect` tells it: columns, counts, lengths, and the first rows.
import { throwIfAborted } from '../errors.js'
import { DataSet, type RowFilter } from './data-set.js'
import type { PromptFormat } from './prompt-format.js'
import type { DataColumns, DataRow } from './rows.js'

export interface InspectOptions {
  columns?: Partial<DataColumns>
  /** Renders the rows and counts their tokens; without it lengths are in characters. */
  format?: PromptFormat | undefined
  filters?: readonly RowFilter[]
  skipBadRows?: boolean
  /** Rows shown. Default 2. */
  first?: number
  /** Most rows whose lengths are measured, evenly spaced. Default 2000. */
  sample?: number
  signal?: AbortSignal | undefined
}

export interface Lengths {
  /** Texts measured. */
  count: number
  min: number
  median: number
  p90: number
  p99: number
  max: number
}

export interface DataReport {
  path: string
  format: 'parquet' | 'json-lines'
  rows: number
  blocks: number
  columns: readonly { name: string; type: string }[]
  /** Rows kept, and left out by filter. */
  kept: number
  dropped: Readonly<Record<string, number>>
  /** Rows by what `source` says, the most frequent first. */
  sources: Record<string, number>
  /** Kept rows that have one. */
  demonstrations: number
  answers: number
  unit: 'tokens' | 'characters'
  lengths: { prompt: Lengths | undefined; demonstration: Lengths | undefined }
  first: ShownRow[]
}

/** A row as the model will see it. */
export interface ShownRow {
  where: string
  prompt: string
  demonstration: string | null
  answer: string | null
}

/** Reads a file once for the filters and once for the report. Throws what `DataSet.open` throws. */
export async function inspectData(path: string, options: InspectOptions = {}): Promise<DataReport> {
  const { format, first = 2, sample = 2000, signal } = options
  const { columns, filters, skipBadRows } = options
  const data = await DataSet.open(path, {
    ...(columns ? { columns } : {}),
    ...(filters ? { filters } : {}),
    ...(skipBadRows ? { skipBadRows } : {}),
    signal,
  })
  const [file] = data.files
  const stride = Math.max(1, Math.ceil(data.size / sample))
  const lengths = { prompt: [] as number[], demonstration: [] as number[] }
  const sources = new Map<string, number>()
  const shown: ShownRow[] = []
  let [index, demonstrations, answers] = [0, 0, 0]
  for await (const row of data.rows()) {
    throwIfAborted(signal, 'inspecting data')
    if (row.source !== undefined) sources.set(row.source, (sources.get(row.source) ?? 0) + 1)
    if (row.demonstration !== undefined) demonstrations += 1
    if (row.answer !== undefined) answers += 1
    if (index < first || index % stride === 0) {
      const seen = await shownRow(row, format)
      if (index < first) shown.push(seen)
      if (index % stride === 0) measure(seen, format, lengths)
    }
    index += 1
  }
  return {
    path,
    format: file?.format ?? 'json-lines',
    rows: data.totalRows,
    blocks: file?.blocks.length ?? 0,
    columns: file?.columns ?? [],
    kept: data.size,
    dropped: data.dropped,
    sources: Object.fromEntries([...sources].sort((a, b) => b[1] - a[1])),
    demonstrations,
    answers,
    unit: format === undefined ? 'characters' : 'tokens',
    lengths: { prompt: summary(lengths.prompt), demonstration: summary(lengths.demonstration) },
    first: shown,
  }
}

async function shownRow(row: DataRow, format: PromptFormat | undefined): Promise<ShownRow> {
  const { where, answer } = row
  if (format === undefined) {
    const prompt = row.messages.map(({ role, content }) => `${role}: ${content}`).join('\n')
    return { where, prompt, demonstration: row.demonstration ?? null, answer: answer ?? null }
  }
  const [formatted] = await format.format([row])
  return {
    where,
    prompt: formatted?.prompt ?? '',
    demonstration: formatted?.demonstration ?? null,
    answer: answer ?? null,
  }
}

function measure(
  { prompt, demonstration }: ShownRow,
  format: PromptFormat | undefined,
  lengths: { prompt: number[]; demonstration: number[] },
): void {
  const length = (text: string) => (format === undefined ? text.length : format.tokenizer.encode(text).length)
  lengths.prompt.push(length(prompt))
  if (demonstration !== null) lengths.demonstration.push(length(demonstration))
}

/** Quantiles by the nearest rank. */
export function summary(values: readonly number[]): Lengths | undefined {
  if (values.length === 0) return undefined
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] as number
  return { count: sorted.length, min: at(0), median: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) }
}
