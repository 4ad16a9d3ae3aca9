// The safetensors format: what a header may say. Reading files is in safetensors-read.ts, writing in
// safetensors-write.ts. A file is the length of the header (8 bytes, little-endian), the header (one JSON object), and
// the tensors' bytes end to end. The header is read value by value, and the first one that breaks a rule ends it:
// nothing is allocated by a size that the file only claims.
import { basename } from 'node:path'
import { ModelFileError } from '../errors.js'
import { describeValue } from '../options.js'
import { JsonReader } from './json.js'

/** The types that luffy can hold; the format's others are known by name and refused. */
export type SafetensorsDtype = 'F32' | 'F16' | 'BF16' | 'F64' | 'I32' | 'I64' | 'U8'

export const dtypeBytes: Readonly<Record<SafetensorsDtype, number>> = {
  F32: 4,
  F16: 2,
  BF16: 2,
  F64: 8,
  I32: 4,
  I64: 8,
  U8: 1,
}

const otherDtypes: ReadonlySet<string> = new Set([
  'BOOL',
  'I8',
  'F8_E5M2',
  'F8_E4M3',
  'F8_E8M0',
  'F8_E4M3FNUZ',
  'F8_E5M2FNUZ',
  'I16',
  'U16',
  'U32',
  'U64',
  'C64',
  'F4',
  'F6_E2M3',
  'F6_E3M2',
])

export interface SafetensorsEntry {
  readonly name: string
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
  /** The number of elements. */
  readonly size: number
  /** Position of the first byte in the file. */
  readonly offset: number
  readonly bytes: number
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>
  readonly metadata: ReadonlyMap<string, string>
}

export const maxHeaderBytes = 100_000_000
const maxTensors = 1 << 17
const maxRank = 64

/** The rules of the format, named in `details.rule` of each error. */
export type SafetensorsRule =
  | 'file-too-small'
  | 'git-lfs-pointer'
  | 'header-length'
  | 'header-too-large'
  | 'header-json'
  | 'metadata'
  | 'entry-fields'
  | 'dtype'
  | 'shape'
  | 'overflow'
  | 'offsets'
  | 'tensor-bytes'
  | 'overlap'
  | 'hole'
  | 'past-end'
  | 'trailing-bytes'
  | 'too-many-tensors'

/** An error about a file's content; `subject` is the tensor concerned, if any. */
export function safetensorsError(
  source: string,
  rule: SafetensorsRule,
  problem: string,
  subject?: string,
  hint?: string,
): ModelFileError {
  const where = subject === undefined ? '' : ` tensor ${describeValue(subject)}:`
  return new ModelFileError(`${source}:${where} ${problem}`, {
    ...(hint === undefined ? {} : { hint }),
    path: source,
    details: { rule, ...(subject === undefined ? {} : { tensor: subject }) },
  })
}

/** The length of the header, from a file's first bytes (up to 200 of them) and its size. */
export function parseHeaderLength(start: Uint8Array, fileSize: number, source: string): number {
  if (isLfsPointer(start)) {
    const problem = `${fileSize} bytes, is a Git LFS pointer`
    throw safetensorsError(basename(source), 'git-lfs-pointer', problem, undefined, 'run git lfs pull')
  }
  if (fileSize < 8 || start.byteLength < 8) {
    throw safetensorsError(source, 'file-too-small', `${fileSize} bytes, expected at least 8`)
  }
  const length = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(maxHeaderBytes)) {
    throw safetensorsError(
      source,
      'header-too-large',
      `header of ${length} bytes, expected at most ${maxHeaderBytes}`,
    )
  }
  if (length < 2n || 8 + Number(length) > fileSize) {
    const problem = `header of ${length} bytes in a file of ${fileSize}`
    throw safetensorsError(source, 'header-length', problem, undefined, 'the file is damaged or not complete')
  }
  return Number(length)
}

const lfsStart = Buffer.from('version https://git-lfs')

/** True for the small text file that stands for a large one where Git LFS has not fetched it. */
export function isLfsPointer(start: Uint8Array): boolean {
  return lfsStart.equals(start.subarray(0, lfsStart.length))
}

/** The tensors of a header, checked against each other and against the size of the file. */
export function parseSafetensorsHeader(
  header: Uint8Array,
  fileSize: number,
  source: string,
): SafetensorsHeader {
  const parser = new HeaderParser(header, source)
  const tensors = parser.parse()
  checkLayout(tensors, fileSize - 8 - header.byteLength, 8 + header.byteLength, source)
  return { tensors, metadata: parser.metadata }
}

class HeaderParser {
  readonly metadata = new Map<string, string>()
  readonly #reader: JsonReader
  readonly #source: string
  readonly #dataStart: number

  constructor(header: Uint8Array, source: string) {
    this.#source = source
    this.#dataStart = 8 + header.byteLength
    this.#reader = new JsonReader(header, {
      source: `${source} header`,
      maxDepth: 3,
      error: message => new ModelFileError(message, { path: source, details: { rule: 'header-json' } }),
    })
  }

  parse(): Map<string, SafetensorsEntry> {
    const tensors = new Map<string, SafetensorsEntry>()
    this.#reader.readObject(key => {
      if (key === '__metadata__') {
        this.#readMetadata()
        return
      }
      if (tensors.size === maxTensors) {
        throw safetensorsError(this.#source, 'too-many-tensors', `more than ${maxTensors} tensors`)
      }
      tensors.set(key, this.#readEntry(key))
    })
    this.#reader.end()
    return tensors
  }

  #readMetadata(): void {
    this.#reader.readObject(key => {
      this.metadata.set(
        key,
        this.#reader.readString(() => `a string for __metadata__ ${describeValue(key)}`),
      )
    })
  }

  #readEntry(name: string): SafetensorsEntry {
    const fail = (rule: SafetensorsRule, problem: string): never => {
      throw safetensorsError(this.#source, rule, problem, name)
    }
    const reader = this.#reader
    const what = (part: string) => () => `${part} of ${describeValue(name)}`
    let dtype: string | undefined
    let shape: number[] | undefined
    let span: number[] | undefined
    const numbers = (part: string, max: number, rule: SafetensorsRule) => {
      const list: number[] = []
      reader.readArray(index => {
        if (index === max) fail(rule, `${part} has more than ${max} numbers`)
        list.push(reader.readUnsigned(what(part)))
      })
      return list
    }
    reader.readObject(key => {
      if (key === 'dtype') dtype = reader.readString(what('a string for dtype'))
      else if (key === 'shape') shape = numbers('shape', maxRank, 'shape')
      else if (key === 'data_offsets') span = numbers('data_offsets', 2, 'offsets')
      else fail('entry-fields', `unknown field ${describeValue(key)}`)
    })
    if (dtype === undefined) return fail('entry-fields', 'dtype is missing')
    if (shape === undefined) return fail('entry-fields', 'shape is missing')
    if (span === undefined) return fail('entry-fields', 'data_offsets is missing')
    if (!Object.hasOwn(dtypeBytes, dtype)) {
      const known = otherDtypes.has(dtype) ? 'not supported' : 'unknown'
      return fail(
        'dtype',
        `dtype ${describeValue(dtype)} ${known} (have: ${Object.keys(dtypeBytes).join(', ')})`,
      )
    }
    const [begin, end] = span
    if (begin === undefined || end === undefined) return fail('offsets', 'data_offsets: expected two numbers')
    if (end < begin) return fail('offsets', `data_offsets end before they begin: [${begin}, ${end}]`)

    const size = checkedProduct(shape)
    const elementBytes = dtypeBytes[dtype as SafetensorsDtype]
    if (size === undefined || size * elementBytes > Number.MAX_SAFE_INTEGER) {
      return fail('overflow', `the size of ${dtype} [${shape.join(', ')}] overflows`)
    }
    if (end - begin !== size * elementBytes) {
      const expected = `${dtype} [${shape.join(', ')}] needs ${size * elementBytes} bytes`
      return fail('tensor-bytes', `data_offsets [${begin}, ${end}] are ${end - begin} bytes, ${expected}`)
    }
    return {
      name,
      dtype: dtype as SafetensorsDtype,
      shape: Object.freeze(shape),
      size,
      offset: this.#dataStart + begin,
      bytes: end - begin,
    }
  }
}

// The number of elements; undefined where a partial product leaves the safe integers, even if a 0 follows.
function checkedProduct(shape: readonly number[]): number | undefined {
  let product = 1
  for (const dimension of shape) {
    product *= dimension
    if (product > Number.MAX_SAFE_INTEGER) return undefined
  }
  return product
}

// End to end from the first byte to the last: no hole, no overlap, nothing after.
function checkLayout(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  dataBytes: number,
  dataStart: number,
  source: string,
): void {
  // An empty tensor stands before a full one that begins at the same byte.
  const sorted = [...tensors.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)
  let end = 0
  for (const { name, offset, bytes } of sorted) {
    const begin = offset - dataStart
    const span = `data_offsets [${begin}, ${begin + bytes}]`
    if (begin < end)
      throw safetensorsError(
        source,
        'overlap',
        `${span} overlap the tensor before, which ends at ${end}`,
        name,
      )
    if (begin > end) {
      throw safetensorsError(source, 'hole', `${span} leave a hole: the tensor before ends at ${end}`, name)
    }
    end = begin + bytes
    if (end > dataBytes) {
      const hint = 'the file is damaged or not complete'
      throw safetensorsError(
        source,
        'past-end',
        `${span} end after the file's ${dataBytes} bytes of data`,
        name,
        hint,
      )
    }
  }
  if (end < dataBytes) {
    throw safetensorsError(source, 'trailing-bytes', `${dataBytes - end} bytes follow the last tensor`)
  }
}
