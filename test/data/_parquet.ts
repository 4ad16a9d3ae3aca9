// Parquet files that lie: a writer of Thrift's compact protocol and of a file of one column, all of whose numbers can be
// set.
import { readFileSync } from 'node:fs'

/** A struct by field number: a count, a text, a list of structs, a struct, or bytes as they are. */
export interface Fields {
  [field: number]: FieldValue
}
/** A number is an i32, a bigint an i64. */
type FieldValue = number | bigint | string | Fields | Fields[] | Raw

/** The type of a field and its bytes as they are. */
class Raw {
  readonly bytes: readonly number[]
  constructor(bytes: readonly number[]) {
    this.bytes = bytes
  }
}

export function varint(value: number | bigint): number[] {
  const bytes: number[] = []
  let left = BigInt(value)
  while (left >= 128n) {
    bytes.push(Number(left & 127n) | 128)
    left >>= 7n
  }
  return [...bytes, Number(left)]
}

export function thrift(fields: Fields): number[] {
  const bytes: number[] = []
  let last = 0
  for (const [key, value] of Object.entries(fields)) {
    const field = Number(key)
    const delta = field - last
    last = field
    const header = (type: number) => bytes.push((delta << 4) | type)
    if (typeof value === 'number' || typeof value === 'bigint') {
      header(typeof value === 'number' ? 5 : 6)
      bytes.push(...varint(2n * BigInt(value)))
    } else if (typeof value === 'string') {
      header(8)
      bytes.push(...varint(Buffer.byteLength(value)), ...Buffer.from(value))
    } else if (Array.isArray(value)) {
      header(9)
      bytes.push(0xf0 | 12, ...varint(value.length))
      for (const each of value) bytes.push(...thrift(each))
    } else if (value instanceof Raw) {
      const [type = 0, ...rest] = value.bytes
      header(type)
      bytes.push(...rest)
    } else {
      header(12)
      bytes.push(...thrift(value))
    }
  }
  return [...bytes, 0]
}

export interface OneColumn {
  rows?: number
  groupRows?: number
  values?: number
  pageValues?: number
  pageSize?: number
  compressedSize?: number
  chunkSize?: number
  offset?: number
  /** Of the definition levels: how often the run of ones is said to repeat. */
  run?: number
  /** The texts, as plain values. */
  texts?: readonly (string | Uint8Array)[]
}

/** A file with one optional text column `prompt`. Every number is the right one unless it is given. */
export function oneColumn(lies: OneColumn = {}): Buffer {
  const texts = (lies.texts ?? ['a', 'b', 'c']).map(text => Buffer.from(text))
  const n = texts.length
  const levels = [...varint((lies.run ?? n) * 2), 1]
  const page = [
    ...int32(levels.length),
    ...levels,
    ...texts.flatMap(text => [...int32(text.length), ...text]),
  ]
  const header = thrift({
    1: 0,
    2: lies.pageSize ?? page.length,
    3: lies.compressedSize ?? page.length,
    5: { 1: lies.pageValues ?? n, 2: 0, 3: 3, 4: 3 },
  })
  const chunk = [...header, ...page]
  const footer = thrift({
    1: 1,
    2: [
      { 4: 'schema', 5: 1 },
      { 1: 6, 3: 1, 4: 'prompt', 6: 0 },
    ],
    3: BigInt(lies.rows ?? n),
    4: [
      {
        1: [
          {
            2: 4n,
            3: {
              1: 6,
              2: new Raw([9, 0x15, 0]),
              3: new Raw([9, 0x18, 6, ...Buffer.from('prompt')]),
              4: 0,
              5: BigInt(lies.values ?? n),
              6: BigInt(lies.chunkSize ?? chunk.length),
              7: BigInt(lies.chunkSize ?? chunk.length),
              9: BigInt(lies.offset ?? 4),
            },
          },
        ],
        2: BigInt(chunk.length),
        3: BigInt(lies.groupRows ?? lies.rows ?? n),
      },
    ],
  })
  return parquetFile(chunk, footer)
}

export function parquetFile(data: readonly number[], footer: readonly number[]): Buffer {
  return Buffer.from([
    ...Buffer.from('PAR1'),
    ...data,
    ...footer,
    ...int32(footer.length),
    ...Buffer.from('PAR1'),
  ])
}

function int32(value: number): number[] {
  return [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255]
}

/** The most memory that this process had at a time, in bytes. */
export function peakMemory(): number {
  const status = readFileSync('/proc/self/status', 'utf8')
  return 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1])
}
