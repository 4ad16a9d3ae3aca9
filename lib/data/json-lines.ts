// JSON lines: one object per line. The file is scanned once for where its lines are; blocks of lines are read when they
// are asked for. Lines are numbered from 1, empty ones included, as editors show them.
import { type FileHandle, open } from 'node:fs/promises'
import { DataError } from '../errors.js'
import { readFully } from '../io/regular-file.js'
import { describeValue } from '../options.js'
import { parseJsonObject } from '../policy/json.js'
import type { RawRow, RowBlock, RowFile } from './row-file.js'

const linesPerBlock = 256
const bytesPerBlock = 4 * 1024 * 1024
/** Longest line: far above any prompt with its demonstration. */
const mostLineBytes = 64 * 1024 * 1024

interface LineBlock extends RowBlock {
  start: number
  end: number
  /** Number of its first line. */
  line: number
}

export class JsonLinesFile implements RowFile {
  readonly path: string
  readonly format = 'json-lines'
  readonly rows: number
  readonly blocks: readonly LineBlock[]
  #columns: readonly { name: string; type: string }[] = []

  private constructor(path: string, blocks: readonly LineBlock[]) {
    this.path = path
    this.blocks = blocks
    this.rows = blocks.reduce((sum, { rows }) => sum + rows, 0)
  }

  static async open(path: string, handle: FileHandle, size: number): Promise<JsonLinesFile> {
    const file = new JsonLinesFile(path, await scan(path, handle, size))
    if (file.blocks.length > 0) file.#columns = columnsOf(await file.read(0))
    return file
  }

  get columns(): readonly { name: string; type: string }[] {
    return this.#columns
  }

  async read(block: number): Promise<RawRow[]> {
    const place = this.blocks[block]
    if (place === undefined)
      throw new RangeError(`block: expected one of ${this.blocks.length}, got ${block}`)
    const bytes = Buffer.alloc(place.end - place.start)
    const handle = await open(this.path)
    try {
      await readFully(handle, bytes, place.start, this.path, DataError)
    } finally {
      await handle.close()
    }
    const rows: RawRow[] = []
    let line = place.line
    for (let at = 0; at < bytes.byteLength; line++) {
      const end = bytes.indexOf(10, at)
      const text = bytes.subarray(at, end < 0 ? bytes.byteLength : end)
      if (!isBlank(text)) rows.push(rowOf(text, `${this.path}:${line}`))
      at += text.byteLength + 1
    }
    return rows
  }
}

function rowOf(text: Buffer, where: string): RawRow {
  try {
    const values = parseJsonObject(text, { source: '', error: message => new DataError(message) })
    return { where, values }
  } catch (error) {
    // The reader counts lines of its text, which is one: what counts is the column.
    const problem = (error as Error).message.replace(/^:(?:1:(\d+):)?/, (_, column) =>
      column === undefined ? '' : `column ${column}:`,
    )
    return { where, values: undefined, problem: problem.trim() }
  }
}

async function scan(path: string, handle: FileHandle, size: number): Promise<LineBlock[]> {
  const blocks: LineBlock[] = []
  const piece = Buffer.alloc(Math.min(size, 1024 * 1024))
  let current: LineBlock = { rows: 0, start: 0, end: 0, line: 1 }
  let line = 1
  let lineStart = 0
  let blank = true
  const endLine = (end: number) => {
    if (end - lineStart > mostLineBytes) {
      throw new DataError(
        `${path}:${line}: a line of ${end - lineStart} bytes, expected at most ${mostLineBytes}`,
        {
          path,
        },
      )
    }
    if (!blank) current.rows += 1
    line += 1
    lineStart = end
    current.end = end
    blank = true
    if (line - current.line >= linesPerBlock || end - current.start >= bytesPerBlock) {
      if (current.rows > 0) blocks.push(current)
      current = { rows: 0, start: end, end, line }
    }
  }
  for (let start = 0; start < size; start += piece.byteLength) {
    const part = piece.subarray(0, Math.min(piece.byteLength, size - start))
    await readFully(handle, part, start, path, DataError)
    for (let at = 0; at < part.byteLength; ) {
      const newline = part.indexOf(10, at)
      const end = newline < 0 ? part.byteLength : newline
      blank &&= isBlank(part.subarray(at, end))
      if (newline >= 0) endLine(start + newline + 1)
      at = end + 1
    }
  }
  if (lineStart < size) endLine(size)
  if (current.rows > 0) blocks.push(current)
  return blocks
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every(byte => byte === 0x20 || byte === 0x09 || byte === 0x0d)
}

function columnsOf(rows: readonly RawRow[]): { name: string; type: string }[] {
  const columns = new Map<string, Set<string>>()
  for (const { values } of rows) {
    if (!(values instanceof Map)) continue
    for (const [name, value] of values as Map<string, unknown>) {
      const types = columns.get(name) ?? new Set()
      columns.set(name, types.add(typeName(value)))
    }
  }
  return [...columns].map(([name, types]) => ({ name, type: [...types].join(' or ') }))
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'list' : `list of ${typeName(value[0])}`
  if (value instanceof Map) {
    return `{ ${[...(value as Map<string, unknown>)].map(([name, each]) => `${name}: ${typeName(each)}`).join(', ')} }`
  }
  if (typeof value === 'string') return 'text'
  return typeof value === 'object' ? 'null' : describeType(value)
}

function describeType(value: unknown): string {
  return typeof value === 'number' || typeof value === 'boolean' ? typeof value : describeValue(value)
}
