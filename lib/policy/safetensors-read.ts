// An open safetensors file: its tensors' names, types, shapes and places, and their values, read in bounded pieces into
// memory of the caller. Nothing but the header is held. One read at a time per file, unless each has its own piece.
import type { FileHandle } from 'node:fs/promises'
import { ModelFileError, throwIfAborted } from '../errors.js'
import { openRegularFile, readFully } from '../io/regular-file.js'
import { bfloat16ToFloat32, countNonFinite, float16ToFloat32 } from './float-formats.js'
import {
  parseHeaderLength,
  parseSafetensorsHeader,
  type SafetensorsDtype,
  type SafetensorsEntry,
  type SafetensorsHeader,
} from './safetensors.js'

/** The most that one read asks for: large enough for the disk, small enough for the event loop. */
const pieceBytes = 1 << 20
/** Elements of a piece that is converted: of the widest type it is that many bytes. */
const pieceSize = pieceBytes / 8

export type TensorData = Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array | Uint8Array

export interface ReadOptions {
  signal?: AbortSignal | undefined
}

export class SafetensorsFile {
  readonly path: string
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>
  readonly metadata: ReadonlyMap<string, string>
  readonly #handle: FileHandle
  #closed = false

  private constructor(path: string, handle: FileHandle, header: SafetensorsHeader) {
    this.path = path
    this.tensors = header.tensors
    this.metadata = header.metadata
    this.#handle = handle
  }

  /** Opens the file and checks its header; `within` is the folder it must lie in. */
  static async open(path: string, options: { within?: string } = {}): Promise<SafetensorsFile> {
    const { handle, size } = await openRegularFile(path, options)
    try {
      const start = Buffer.alloc(Math.min(size, 64))
      await readFully(handle, start, 0, path)
      const header = Buffer.alloc(parseHeaderLength(start, size, path))
      await readFully(handle, header, 8, path)
      return new SafetensorsFile(path, handle, parseSafetensorsHeader(header, size, path))
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  entry(name: string): SafetensorsEntry {
    const entry = this.tensors.get(name)
    if (entry === undefined) throw new ModelFileError(`${this.path}: no tensor ${JSON.stringify(name)}`)
    return entry
  }

  /** A tensor's bytes as they stand in the file. `target` has exactly `entry.bytes`. */
  async readBytes(name: string, target: Uint8Array, options: ReadOptions = {}): Promise<void> {
    const entry = this.entry(name)
    checkLength('target', target.byteLength, entry.bytes)
    for (let start = 0; start < entry.bytes; start += pieceBytes) {
      throwIfAborted(options.signal, `reading ${this.path}`)
      const piece = target.subarray(start, Math.min(entry.bytes, start + pieceBytes))
      await readFully(this.#handle, piece, entry.offset + start, this.path)
    }
  }

  /**
   * A tensor's values as float32, from float32, float16, bfloat16 or float64. `target` has exactly `entry.size`.
   * Returns how many of them are NaN or infinite.
   */
  async readFloat32(name: string, target: Float32Array, options: ReadOptions = {}): Promise<number> {
    checkLength('target', target.length, this.entry(name).size)
    return await this.#pieces(name, (start, end) => target.subarray(start, end), undefined, options)
  }

  /**
   * The same piece by piece: `take` gets each with the index of its first element, in a buffer that the next piece
   * overwrites.
   */
  async eachFloat32(
    name: string,
    take: (start: number, values: Float32Array) => void | Promise<void>,
    options: ReadOptions = {},
  ): Promise<number> {
    const buffer = new Float32Array(Math.min(this.entry(name).size, pieceSize))
    return await this.#pieces(name, (start, end) => buffer.subarray(0, end - start), take, options)
  }

  async #pieces(
    name: string,
    partFor: (start: number, end: number) => Float32Array,
    take: ((start: number, values: Float32Array) => void | Promise<void>) | undefined,
    options: ReadOptions,
  ): Promise<number> {
    const entry = this.entry(name)
    if (!['F32', 'F16', 'BF16', 'F64'].includes(entry.dtype)) {
      throw new ModelFileError(
        `${this.path}: tensor ${JSON.stringify(name)}: dtype ${entry.dtype}, expected F32, F16, BF16 or F64`,
      )
    }
    const elementBytes = entry.bytes / Math.max(1, entry.size)
    const staging = new ArrayBuffer(
      entry.dtype === 'F32' ? 0 : Math.min(entry.size, pieceSize) * elementBytes,
    )
    let nonFinite = 0
    for (let start = 0; start < entry.size; start += pieceSize) {
      throwIfAborted(options.signal, `reading ${this.path}`)
      const part = partFor(start, Math.min(entry.size, start + pieceSize))
      const position = entry.offset + start * elementBytes
      if (entry.dtype === 'F32') {
        const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
        await readFully(this.#handle, bytes, position, this.path)
      } else {
        const bytes = new Uint8Array(staging, 0, part.length * elementBytes)
        await readFully(this.#handle, bytes, position, this.path)
        convert(entry.dtype, staging, part)
      }
      nonFinite += countNonFinite(part)
      await take?.(start, part)
    }
    return nonFinite
  }

  /** A whole tensor in a new array of its own type (float16 and bfloat16 as their 16 bits). */
  async read(
    name: string,
    options: ReadOptions = {},
  ): Promise<{ data: TensorData; shape: readonly number[] }> {
    const { bytes, dtype, shape } = this.entry(name)
    const buffer = new ArrayBuffer(bytes)
    await this.readBytes(name, new Uint8Array(buffer), options)
    return { data: new arrayTypes[dtype](buffer), shape }
  }

  /** Closes the file; a second call does nothing. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#handle.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

const arrayTypes: Readonly<Record<SafetensorsDtype, new (buffer: ArrayBuffer) => TensorData>> = {
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  F64: Float64Array,
  I32: Int32Array,
  I64: BigInt64Array,
  U8: Uint8Array,
}

function convert(dtype: SafetensorsDtype, source: ArrayBuffer, target: Float32Array): void {
  if (dtype === 'F16') float16ToFloat32(new Uint16Array(source, 0, target.length), target)
  else if (dtype === 'BF16') bfloat16ToFloat32(new Uint16Array(source, 0, target.length), target)
  else target.set(new Float64Array(source, 0, target.length))
}

function checkLength(name: string, got: number, expected: number): void {
  if (got !== expected) throw new RangeError(`${name}: expected a length of ${expected}, got ${got}`)
}
