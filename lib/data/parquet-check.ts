// What a parquet file declares, checked before the library that decodes it allocates anything: its numbers are believed
// there (844 bytes can stand for 100 GiB). Field numbers are those of parquet.thrift.
import { ThriftReader, type ThriftStruct, type ThriftValue } from './thrift.js'

export interface ColumnChunk {
  /** Names from the top-level column down. */
  path: string[]
  /** Where its pages begin, and how many bytes they are. */
  start: number
  bytes: number
  uncompressedBytes: number
  values: number
}

export interface RowGroup {
  rows: number
  columns: ColumnChunk[]
}

export interface ParquetLayout {
  groups: RowGroup[]
  /** Top-level columns and what they hold. */
  columns: { name: string; type: string }[]
}

export const parquetLimits = {
  footerBytes: 64 * 1024 * 1024,
  /** Of the columns of a row group that are read, uncompressed. */
  groupBytes: 4 * 1024 * 1024 * 1024,
  groupRows: 2 ** 24,
  /** Of the values of one column as they are handed over: those that a dictionary holds once are written out. */
  expandedBytes: 256 * 1024 * 1024,
  pageBytes: 1024 * 1024 * 1024,
  /** Uncompressed bytes per compressed one, above the first mebibyte. */
  pageRatio: 4096,
  /** Values per byte, above the first million: runs of equal values take none. */
  valuesPerByte: 4096,
} as const

/** `footer`: the bytes of the footer's structure. `fileSize` less them and the 12 bytes around is where data can be. */
export function checkFooter(footer: Uint8Array, fileSize: number): ParquetLayout {
  const struct = new ThriftReader(footer).readStruct()
  const dataEnd = fileSize - 8 - footer.byteLength
  const schema = structs(struct.get(2), 'the schema')
  const groups = structs(struct.get(4) ?? [], 'the row groups').map((group, g) =>
    checkGroup(group, g, dataEnd),
  )
  const rows = integer(struct.get(3), 'the number of rows')
  const sum = groups.reduce((total, group) => total + group.rows, 0)
  if (sum !== rows) throw new Error(`declares ${rows} rows, its row groups ${sum}`)
  return { groups, columns: topLevel(schema) }
}

function checkGroup(group: ThriftStruct, g: number, dataEnd: number): RowGroup {
  const rows = integer(group.get(3), `rows of row group ${g}`)
  if (rows > parquetLimits.groupRows) {
    throw new Error(`row group ${g}: ${rows} rows, expected at most ${parquetLimits.groupRows}`)
  }
  const columns = structs(group.get(1), `the columns of row group ${g}`).map(column => {
    if (column.get(1) !== undefined) throw new Error(`row group ${g}: a column is in another file`)
    if (column.get(8) !== undefined || column.get(9) !== undefined) throw new Error('columns are encrypted')
    return checkChunk(struct(column.get(3), `a column of row group ${g}`), rows, g, dataEnd)
  })
  return { rows, columns }
}

function checkChunk(chunk: ThriftStruct, rows: number, g: number, dataEnd: number): ColumnChunk {
  const names = chunk.get(3)
  const path = (Array.isArray(names) ? names : []).map(name => text(name))
  const where = `row group ${g}, column ${path.join('.')}`
  const values = integer(chunk.get(5), `${where}: values`)
  const uncompressedBytes = integer(chunk.get(6), `${where}: uncompressed size`)
  const bytes = integer(chunk.get(7), `${where}: compressed size`)
  const dataStart = integer(chunk.get(9), `${where}: place`)
  const dictionary = chunk.get(11)
  const isBefore = typeof dictionary === 'number' && dictionary > 0 && dictionary < dataStart
  const start = isBefore ? dictionary : dataStart
  if (start < 4 || start + bytes > dataEnd) {
    throw new Error(`${where}: bytes ${start} to ${start + bytes} are outside the data (4 to ${dataEnd})`)
  }
  if (path.length === 1 && values !== rows) {
    throw new Error(`${where}: declares ${values} values in ${rows} rows`)
  }
  checkValues(values, bytes, where)
  return { path, start, bytes, uncompressedBytes, values }
}

/** Checks the headers of every page of a chunk, whose bytes these are. */
export function checkPages(bytes: Uint8Array, chunk: ColumnChunk): void {
  const where = `column ${chunk.path.join('.')}`
  let values = 0
  let uncompressed = 0
  for (let at = 0; at < bytes.byteLength; ) {
    const reader = new ThriftReader(bytes, at)
    const header = reader.readStruct()
    const size = integer(header.get(2), `${where}: page size`)
    const compressed = integer(header.get(3), `${where}: compressed page size`)
    at = reader.position + compressed
    if (at > bytes.byteLength) {
      throw new Error(
        `${where}: a page declares ${compressed} bytes, ${bytes.byteLength - reader.position} are left`,
      )
    }
    if (size > parquetLimits.pageBytes || size > 2 ** 20 + parquetLimits.pageRatio * compressed) {
      throw new Error(`${where}: a page declares ${size} bytes in ${compressed}`)
    }
    uncompressed += size
    values += pageValues(header, size, where)
  }
  if (values !== chunk.values) {
    throw new Error(`${where}: declares ${chunk.values} values, its pages ${values}`)
  }
  if (uncompressed > parquetLimits.groupBytes) throw new Error(`${where}: declares ${uncompressed} bytes`)
}

/** How many values of the column a page adds. */
function pageValues(header: ThriftStruct, size: number, where: string): number {
  const dictionary = header.get(7)
  if (dictionary !== undefined) {
    const count = integer(struct(dictionary, `${where}: a dictionary`).get(1), `${where}: dictionary values`)
    // They are written out one after the other.
    if (count > size) throw new Error(`${where}: a dictionary declares ${count} values in ${size} bytes`)
    return 0
  }
  const page = header.get(5) ?? header.get(8)
  if (page === undefined) return 0 // an index
  const fields = struct(page, `${where}: a page`)
  const count = integer(fields.get(1), `${where}: page values`)
  if (header.get(8) !== undefined) {
    const nulls = integer(fields.get(2), `${where}: page nulls`)
    const levels = [5, 6].map(field => integer(fields.get(field), `${where}: page levels`))
    if (nulls > count || levels[0]! + levels[1]! > size)
      throw new Error(`${where}: a page contradicts itself`)
  }
  return count
}

function checkValues(values: number, bytes: number, where: string): void {
  if (values > 2 ** 20 + parquetLimits.valuesPerByte * bytes) {
    throw new Error(`${where}: declares ${values} values in ${bytes} bytes`)
  }
}

/** The schema is a list in depth-first order; each element says how many of those after it are its children. */
function topLevel(schema: readonly ThriftStruct[]): { name: string; type: string }[] {
  let at = 1
  const read = (depth: number): { name: string; type: string } => {
    const element = schema[at++]
    if (element === undefined || depth > 16) throw new Error('the schema is not a tree')
    const count = Number(element.get(5) ?? 0)
    const children = takeChildren(count, depth)
    const name = text(element.get(4))
    return { name, type: count === 0 ? leafType(element) : groupType(element, children) }
  }
  const takeChildren = (count: number, depth: number) => {
    if (count > schema.length)
      throw new Error(`the schema declares ${count} columns in ${schema.length} elements`)
    return Array.from({ length: count }, () => read(depth + 1))
  }
  const columns = takeChildren(integer(schema[0]?.get(5), 'the number of columns'), 0)
  if (at !== schema.length) throw new Error('the schema is not a tree')
  return columns
}

const physicalTypes = ['boolean', 'int32', 'int64', 'int96', 'float', 'double', 'bytes', 'fixed bytes']

function leafType(element: ThriftStruct): string {
  const type = physicalTypes[Number(element.get(1))] ?? 'unknown'
  return type === 'bytes' && element.get(6) === 0 ? 'text' : type
}

function groupType(element: ThriftStruct, children: readonly { name: string; type: string }[]): string {
  if (element.get(6) === 3) return `list of ${(children[0]?.type ?? '').replace(/^\{ \w+: (.*) \}$/, '$1')}`
  return `{ ${children.map(child => `${child.name}: ${child.type}`).join(', ')} }`
}

function integer(value: ThriftValue | undefined, what: string): number {
  if (typeof value !== 'number' || value < 0)
    throw new Error(`${what}: expected a count, got ${shown(value)}`)
  return value
}

function struct(value: ThriftValue | undefined, what: string): ThriftStruct {
  if (!(value instanceof Map)) throw new Error(`${what}: expected a structure, got ${shown(value)}`)
  return value
}

function structs(value: ThriftValue | undefined, what: string): ThriftStruct[] {
  if (!Array.isArray(value)) throw new Error(`${what}: expected a list, got ${shown(value)}`)
  return value.map(each => struct(each, what))
}

function text(value: ThriftValue | undefined): string {
  if (!(value instanceof Uint8Array)) throw new Error(`a name: expected a text, got ${shown(value)}`)
  return new TextDecoder('utf-8', { fatal: true }).decode(value)
}

function shown(value: ThriftValue | undefined): string {
  return typeof value === 'number' || value === undefined ? String(value) : typeof value
}
