// Thrift's compact protocol, in which parquet writes its footer and the headers of its pages, read for checking: nothing
// is allocated for a size that the bytes left cannot hold, and structures nest only so deep.

export type ThriftValue = boolean | number | Uint8Array | ThriftValue[] | ThriftStruct
/** Values by field number. */
export type ThriftStruct = Map<number, ThriftValue>

const mostDepth = 32

export class ThriftReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#at = at
  }

  /** Where the next byte is read. */
  get position(): number {
    return this.#at
  }

  /** Throws an Error that says what is declared and what is there. */
  readStruct(depth = 0): ThriftStruct {
    if (depth > mostDepth) throw new Error(`structures nest deeper than ${mostDepth}`)
    const struct: ThriftStruct = new Map()
    for (let field = 0; ; ) {
      const header = this.#byte()
      if (header === 0) return struct
      const delta = header >> 4
      field = delta === 0 ? this.#integer() : field + delta
      const type = header & 15
      struct.set(field, type === 1 ? true : type === 2 ? false : this.#value(type, depth))
    }
  }

  #value(type: number, depth: number): ThriftValue {
    switch (type) {
      case 1:
      case 2:
        return this.#byte() === 1 // in a list; in a structure the type is the value
      case 3:
        return this.#byte()
      case 4:
      case 5:
      case 6:
        return this.#integer()
      case 7: {
        const at = this.#take(8)
        return this.#view.getFloat64(at, true)
      }
      case 8: {
        const length = this.#varint()
        const at = this.#take(length)
        return this.#bytes.subarray(at, at + length)
      }
      case 9: {
        const header = this.#byte()
        const length = header >> 4 === 15 ? this.#varint() : header >> 4
        this.#need(length, 'elements')
        return Array.from({ length }, () => this.#value(header & 15, depth + 1))
      }
      case 12:
        return this.readStruct(depth + 1)
      default:
        throw new Error(`unknown type ${type}`)
    }
  }

  #byte(): number {
    return this.#bytes[this.#take(1)] as number
  }

  #take(length: number): number {
    this.#need(length, 'bytes')
    const at = this.#at
    this.#at += length
    return at
  }

  /** Every element has a byte at least. */
  #need(length: number, what: string): void {
    const left = this.#bytes.byteLength - this.#at
    if (length > left) throw new Error(`declares ${length} ${what} in ${left} bytes`)
  }

  #integer(): number {
    const zigzag = this.#wide()
    const value = zigzag & 1n ? -((zigzag + 1n) >> 1n) : zigzag >> 1n
    return safe(value)
  }

  #varint(): number {
    return safe(this.#wide())
  }

  #wide(): bigint {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte()
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new Error('an integer has more than ten bytes')
  }
}

function safe(value: bigint): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new Error(`an integer is too large: ${value}`)
  return number
}
