// Parquet files, read in a worker (parquet-worker.ts): the main thread goes on meanwhile, and a file that lies about
// itself ends the worker at most. The worker's memory follows from what is to be read.
import type { FileHandle } from 'node:fs/promises'
import { resolve } from 'node:path'
import { DataError } from '../errors.js'
import { LimitedWorker } from '../io/limited-worker.js'
import { readFully } from '../io/regular-file.js'
import { type ParquetLayout, parquetLimits } from './parquet-check.js'
import type { ParquetColumns, ParquetRequest } from './parquet-worker.js'
import type { RawRow, RowBlock, RowFile } from './row-file.js'

const mebibyte = 2 ** 20
/** Heap per byte of a row group: its texts (two bytes a character), the structures around them, and a copy. */
const heapPerByte = 8
/** Bytes that a value counts for beside those it has in the file. */
const bytesPerValue = 32
const heapPerFooterByte = 40

let worker: { heapMb: number; worker: LimitedWorker } | undefined

/** Calls the worker, with a larger heap where the one that is there is too small. */
function callWorker<Result>(request: ParquetRequest, bytes: number, perByte: number): Promise<Result> {
  const heapMb = 64 + Math.ceil((perByte * bytes) / mebibyte)
  if (worker === undefined || worker.heapMb < heapMb) {
    worker?.worker.close()
    worker = {
      heapMb,
      worker: new LimitedWorker(new URL('./parquet-worker.js', import.meta.url), { heapMb }),
    }
  }
  // A guard against endless decoding alone: 4 MiB a second is far below what is usual.
  return worker.worker.call<Result>(request, 30_000 + (1000 * bytes) / (4 * mebibyte))
}

export class ParquetFile implements RowFile {
  readonly path: string
  readonly format = 'parquet'
  readonly rows: number
  readonly blocks: readonly RowBlock[]
  readonly columns: readonly { name: string; type: string }[]
  readonly #layout: ParquetLayout

  private constructor(path: string, layout: ParquetLayout) {
    this.path = path
    this.#layout = layout
    this.blocks = layout.groups.map(({ rows }) => ({ rows }))
    this.rows = layout.groups.reduce((sum, { rows }) => sum + rows, 0)
    this.columns = layout.columns
  }

  static async open(path: string, handle: FileHandle, size: number): Promise<ParquetFile> {
    if (size < 12) throw new DataError(`${path}: ${size} bytes, too short for a parquet file`, { path })
    const [head, tail] = [Buffer.alloc(4), Buffer.alloc(8)]
    await readFully(handle, head, 0, path, DataError)
    await readFully(handle, tail, size - 8, path, DataError)
    for (const [place, magic] of [
      ['begin', head],
      ['end', tail.subarray(4)],
    ] as const) {
      if (magic.toString('latin1') === 'PAR1') continue
      throw new DataError(`${path}: does not ${place} with PAR1, as a whole parquet file does`, { path })
    }
    const length = tail.readUInt32LE(0)
    if (length + 12 > size || length > parquetLimits.footerBytes) {
      throw new DataError(`${path}: declares a footer of ${length} bytes in ${size}`, { path })
    }
    return new ParquetFile(
      path,
      await read<ParquetLayout>({ kind: 'layout', path }, length, heapPerFooterByte),
    )
  }

  async read(block: number, columns = this.columns.map(({ name }) => name)): Promise<RawRow[]> {
    const group = this.#layout.groups[block]
    if (group === undefined)
      throw new RangeError(`block: expected one of ${this.blocks.length}, got ${block}`)
    const known = columns.filter(name => this.columns.some(column => column.name === name))
    const bytes = group.columns
      .filter(({ path }) => known.includes(path[0] as string))
      .reduce((sum, chunk) => sum + chunk.uncompressedBytes, 0)
    if (bytes > parquetLimits.groupBytes) {
      throw new DataError(
        `${this.path}: row group ${block} declares ${bytes} bytes, expected at most ${parquetLimits.groupBytes}`,
        { path: this.path, hint: 'write the file with smaller row groups' },
      )
    }
    const request: ParquetRequest = { kind: 'read', path: this.path, group: block, columns: known }
    const work = bytes + bytesPerValue * group.rows * known.length
    const values = await read<ParquetColumns>(request, work, heapPerByte)
    const first = this.blocks.slice(0, block).reduce((sum, { rows }) => sum + rows, 1)
    return Array.from({ length: group.rows }, (_, i) => ({
      where: `${this.path}: row ${first + i}`,
      values: new Map(known.map((name, c) => [name, values[c]?.[i]])),
    }))
  }
}

async function read<Result>(request: ParquetRequest, bytes: number, perByte: number): Promise<Result> {
  try {
    // The worker runs in another folder.
    return await callWorker<Result>({ ...request, path: resolve(request.path) }, bytes, perByte)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new DataError(`${request.path}: ${why.slice(0, 500)}`, { path: request.path, cause: error })
  }
}
