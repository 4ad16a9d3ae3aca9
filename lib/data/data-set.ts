// The rows of one or several files: read block by block, filtered once when they are opened, each filter counted by its
// name, and given out in file order or shuffled from any position on.
import { ConfigError, DataError, throwIfAborted } from '../errors.js'
import { checkInteger } from '../options.js'
import { openRowFile, type RawRow, type RowFile } from './row-file.js'
import { RowOrder } from './row-order.js'
import {
  columnHint,
  type DataColumns,
  type DataRow,
  mapRow,
  resolveColumns,
  topLevelColumns,
} from './rows.js'

/** Says of rows which ones to leave out. */
export interface RowFilter {
  /** What it is counted under, such as `promptTooLong`. */
  name: string
  /** True for each row to leave out. */
  drops(rows: readonly DataRow[]): readonly boolean[] | Promise<readonly boolean[]>
}

export interface OpenDataOptions {
  columns?: Partial<DataColumns>
  filters?: readonly RowFilter[]
  /** Leave out rows that cannot be read, and count them as `badRow`, instead of an error. Default false. */
  skipBadRows?: boolean
  /** A row that a filter would leave out is an error. Default false. */
  strict?: boolean
  /** Rows among which the order is random; about as many are in memory. Default 4096. */
  windowRows?: number
  signal?: AbortSignal | undefined
  onProgress?: ((progress: { rows: number; totalRows: number }) => void) | undefined
}

interface Block {
  file: RowFile
  index: number
  /** Which of its rows are kept. */
  kept: Int32Array
}

/** Rows named in one message. */
const listed = 5

export class DataSet {
  readonly paths: readonly string[]
  /** Rows in the files. */
  readonly totalRows: number
  /** Rows kept. */
  readonly size: number
  /** Kept rows that have a demonstration. */
  readonly demonstrations: number
  /** Rows left out, by filter; with those that no filter was needed for under `badRow`. */
  readonly dropped: Readonly<Record<string, number>>
  /** The first rows that were left out, by filter: file and row. */
  readonly droppedRows: Readonly<Record<string, readonly string[]>>
  readonly files: readonly RowFile[]
  readonly #columns: DataColumns
  readonly #blocks: readonly Block[]
  readonly #windowRows: number
  /** Blocks in memory, the one used last at the end. */
  readonly #cache = new Map<number, Promise<DataRow[]>>()
  #order: { seed: number; order: RowOrder } | undefined

  private constructor(
    files: readonly RowFile[],
    columns: DataColumns,
    blocks: readonly Block[],
    { dropped, droppedRows, demonstrations }: Pick<Scan, 'dropped' | 'droppedRows' | 'demonstrations'>,
    windowRows: number,
  ) {
    this.files = files
    this.paths = files.map(({ path }) => path)
    this.totalRows = files.reduce((sum, { rows }) => sum + rows, 0)
    this.size = blocks.reduce((sum, { kept }) => sum + kept.length, 0)
    this.demonstrations = demonstrations
    this.dropped = dropped
    this.droppedRows = droppedRows
    this.#columns = columns
    this.#blocks = blocks
    this.#windowRows = windowRows
  }

  /**
   * Opens files and reads them once, for the filters.
   *
   * @throws {DataError} naming the file, the row and the column of what cannot be read
   * @throws {ConfigError} for names of columns that no file has
   */
  static async open(paths: string | readonly string[], options: OpenDataOptions = {}): Promise<DataSet> {
    const list = typeof paths === 'string' ? [paths] : paths
    if (list.length === 0) throw new ConfigError('data: expected at least one file, got none')
    const columns = resolveColumns(options.columns)
    const windowRows = checkInteger(options.windowRows ?? 4096, 'windowRows', { min: 1 })
    const files: RowFile[] = []
    for (const path of list) files.push(await openRowFile(path))
    checkColumns(files, columns, options.columns ?? {})
    const scan = new Scan(columns, options)
    const blocks: Block[] = []
    for (const file of files) {
      for (const index of file.blocks.keys())
        blocks.push({ file, index, kept: await scan.block(file, index) })
    }
    scan.finish()
    return new DataSet(files, columns, blocks, scan, windowRows)
  }

  /** Every kept row, in the order of the files. */
  async *rows(): AsyncGenerator<DataRow> {
    for (const index of this.#blocks.keys()) yield* await this.#load(index)
  }

  /**
   * The rows of a step (from 1) of `count` rows each, in the order of a seed; epochs follow each other. Nothing has to
   * be stored to go on at a step.
   */
  async batch(seed: number, count: number, step: number): Promise<DataRow[]> {
    if (this.size === 0) throw new DataError(`${this.paths.join(', ')}: no rows are left${this.#why()}`)
    if (this.#order?.seed !== seed) {
      const counts = this.#blocks.map(({ kept }) => kept.length)
      this.#order = { seed, order: new RowOrder(counts, seed, this.#windowRows) }
    }
    const rows: DataRow[] = []
    for (let i = 0; i < count; i++) {
      const { block, row } = this.#order.order.at((step - 1) * count + i)
      rows.push((await this.#load(block))[row] as DataRow)
    }
    return rows
  }

  #why(): string {
    const counts = Object.entries(this.dropped).filter(([, count]) => count > 0)
    return counts.length === 0 ? '' : ` (${counts.map(([name, count]) => `${name}: ${count}`).join(', ')})`
  }

  /** The kept rows of a block; as many blocks stay in memory as a window and the one before it have. */
  #load(block: number): Promise<DataRow[]> {
    const cached = this.#cache.get(block)
    this.#cache.delete(block)
    const { file, index, kept } = this.#blocks[block] as Block
    const rows =
      cached ??
      file.read(index, topLevelColumns(this.#columns)).then(raw => {
        if (raw.length !== file.blocks[index]?.rows) {
          throw new DataError(`${file.path}: has changed since it was opened`, { path: file.path })
        }
        return Array.from(kept, i => mapRow(raw[i] as RawRow, this.#columns))
      })
    this.#cache.set(block, rows)
    rows.catch(() => this.#cache.delete(block))
    let held = 0
    for (const each of [...this.#cache.keys()].reverse()) {
      if (held > 2 * this.#windowRows) this.#cache.delete(each)
      held += (this.#blocks[each] as Block).kept.length
    }
    return rows
  }
}

/** The one pass over the files when they are opened. */
class Scan {
  readonly dropped: Record<string, number>
  readonly droppedRows: Record<string, string[]> = {}
  demonstrations = 0
  readonly #columns: DataColumns
  readonly #options: OpenDataOptions
  readonly #offending: string[] = []
  #rows = 0
  #offendingCount = 0

  constructor(columns: DataColumns, options: OpenDataOptions) {
    this.#columns = columns
    this.#options = options
    const names = (options.filters ?? []).map(({ name }) => name)
    this.dropped = Object.fromEntries(
      [...(options.skipBadRows ? ['badRow'] : []), ...names].map(name => [name, 0]),
    )
  }

  /** Which rows of a block are kept. */
  async block(file: RowFile, index: number): Promise<Int32Array> {
    throwIfAborted(this.#options.signal, 'opening data')
    const raw = await file.read(index, topLevelColumns(this.#columns))
    const rows: DataRow[] = []
    let places: number[] = []
    for (const [i, each] of raw.entries()) {
      try {
        rows.push(mapRow(each, this.#columns))
        places.push(i)
      } catch (error) {
        if (!this.#options.skipBadRows || !DataError.isInstance(error)) throw error
        this.#drop('badRow', [each])
      }
    }
    let kept = rows
    for (const filter of this.#options.filters ?? []) {
      const drops = await filter.drops(kept)
      const dropped = kept.filter((_, i) => drops[i])
      this.#drop(filter.name, dropped)
      if (this.#options.strict) this.#note(filter.name, dropped)
      places = places.filter((_, i) => !drops[i])
      kept = kept.filter((_, i) => !drops[i])
    }
    this.#rows += raw.length
    this.demonstrations += kept.filter(row => row.demonstration !== undefined).length
    this.#options.onProgress?.({ rows: this.#rows, totalRows: file.rows })
    return Int32Array.from(places)
  }

  #drop(name: string, rows: readonly { where: string }[]): void {
    this.dropped[name] = (this.dropped[name] ?? 0) + rows.length
    if (rows.length === 0) return
    const named = this.droppedRows[name] ?? []
    this.droppedRows[name] = [...named, ...rows.slice(0, listed - named.length).map(({ where }) => where)]
  }

  #note(name: string, rows: readonly DataRow[]): void {
    this.#offendingCount += rows.length
    for (const { where } of rows) {
      if (this.#offending.length < listed) this.#offending.push(`${where} (${name})`)
    }
  }

  finish(): void {
    if (this.#offendingCount === 0) return
    throw new DataError(`${this.#offendingCount} rows cannot be used: ${this.#offending.join(', ')}`, {
      hint: 'leave out strict to drop and count them',
      details: { dropped: this.dropped },
    })
  }
}

// Rows of JSON lines may differ: what the first ones lack, a later one may have, and is missed there.
function checkColumns(files: readonly RowFile[], columns: DataColumns, given: Partial<DataColumns>): void {
  for (const file of files) {
    const names = file.columns.map(({ name }) => name)
    for (const [what, path] of Object.entries(columns) as [keyof DataColumns, string][]) {
      const needed = what === 'prompt' || given[what] !== undefined
      if (!needed || file.format !== 'parquet' || names.includes(path.split('.')[0] as string)) continue
      throw new DataError(`${file.path}: no column "${path}" (${what}), it has ${names.join(', ')}`, {
        path: file.path,
        details: { column: path },
        hint: columnHint(what),
      })
    }
  }
}
