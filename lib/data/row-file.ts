// One reader for the files that rows come from: parquet and JSON lines. Rows are read in blocks, a row group or some
// hundred lines at a time, so that a file need not fit into memory.
import { extname } from 'node:path'
import { DataError } from '../errors.js'
import { openRegularFile, readFully } from '../io/regular-file.js'
import { JsonLinesFile } from './json-lines.js'
import { ParquetFile } from './parquet.js'

const lfsPointer = 'version https://git-lfs'

/** Rows of a file that are read at once. */
export interface RowBlock {
  rows: number
}

/** A row as the file has it; objects are plain ones or Maps, and only their own members count. */
export interface RawRow {
  /** The file and the row in it, for messages. */
  where: string
  /** Undefined where the row cannot be read; then `problem` says why. */
  values: unknown
  problem?: string
}

export interface RowFile {
  readonly path: string
  readonly format: 'parquet' | 'json-lines'
  readonly rows: number
  readonly blocks: readonly RowBlock[]
  /** Top-level columns; of JSON lines, those of the first rows. */
  readonly columns: readonly { name: string; type: string }[]
  /**
   * The rows of a block, with the given top-level columns (all where none are given; JSON lines have all anyway).
   *
   * @throws {DataError} naming the file, the rows and the column
   */
  read(block: number, columns?: readonly string[]): Promise<RawRow[]>
}

/**
 * Opens a file of rows: `.parquet`, or `.jsonl`, `.ndjson` and `.json` with one object per line.
 *
 * @throws {DataError} where it is not there, not a regular file, or not of its format
 */
export async function openRowFile(path: string): Promise<RowFile> {
  const extension = extname(path).toLowerCase()
  const { handle, size } = await openRegularFile(path, { error: DataError })
  try {
    const head = Buffer.alloc(Math.min(lfsPointer.length, size))
    await readFully(handle, head, 0, path, DataError)
    if (head.toString('latin1') === lfsPointer) {
      throw new DataError(`${path}: ${size} bytes, is a Git LFS pointer`, { path, hint: 'run git lfs pull' })
    }
    if (extension === '.parquet' || head.toString('latin1', 0, 4) === 'PAR1') {
      return await ParquetFile.open(path, handle, size)
    }
    if (['.jsonl', '.ndjson', '.json'].includes(extension))
      return await JsonLinesFile.open(path, handle, size)
  } finally {
    await handle.close()
  }
  throw new DataError(`${path}: expected a file of type .parquet or .jsonl, got "${extension}"`, { path })
}
