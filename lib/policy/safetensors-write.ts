// Writes safetensors files: tensors in the order given, streamed in bounded pieces, durable once the call returns.
import { CheckpointError, ModelFileError, throwIfAborted } from '../errors.js'
import { DurableFile, type FileRecord } from '../io/atomic.js'
import { countNonFinite, float32ToBfloat16, float32ToFloat16 } from './float-formats.js'
import { dtypeBytes, maxHeaderBytes, type SafetensorsDtype } from './safetensors.js'
import type { TensorData } from './safetensors-read.js'

const pieceElements = 1 << 18

/**
 * A tensor to write. `data` has the elements, or gives `count` of them from `start` on when it is asked (a device's
 * memory, say). Float32Array is converted where the dtype is F16 or BF16; otherwise the array's type must be the dtype's.
 */
export interface TensorToWrite {
  name: string
  dtype: SafetensorsDtype
  shape: readonly number[]
  data: TensorData | ((start: number, count: number) => TensorData | Promise<TensorData>)
}

export interface WriteOptions {
  /** `{ format: "pt" }` by default, which Hugging Face's readers ask for. */
  metadata?: Readonly<Record<string, string>>
  signal?: AbortSignal | undefined
}

/** Bytes of a tensor of this type and shape. */
export function tensorBytes(dtype: SafetensorsDtype, shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, dtypeBytes[dtype])
}

/** Writes the file under a temporary name, syncs it and renames it. Returns its size and sha256. */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  options: WriteOptions = {},
): Promise<FileRecord> {
  const header = encodeHeader(path, tensors, options.metadata ?? { format: 'pt' })
  const file = await DurableFile.create(path)
  try {
    await file.write(header)
    for (const tensor of tensors) await writeTensor(file, tensor, options.signal)
    return await file.commit()
  } catch (error) {
    await file.abort()
    throw error
  }
}

function encodeHeader(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>>,
): Buffer {
  // By hand: an object would sort names that look like numbers first, and lose `__proto__`.
  const members = Object.keys(metadata).length === 0 ? [] : [`"__metadata__":${JSON.stringify(metadata)}`]
  const names = new Set(['__metadata__'])
  let begin = 0
  for (const { name, dtype, shape, data } of tensors) {
    // A tensor of that name would make a file that nobody can read.
    if (names.has(name)) throw new ModelFileError(`${path}: tensor name ${JSON.stringify(name)} is taken`)
    names.add(name)
    const end = begin + tensorBytes(dtype, shape)
    const isSize = shape.every(dimension => Number.isSafeInteger(dimension) && dimension >= 0)
    if (!isSize || !Number.isSafeInteger(end)) {
      throw new RangeError(`${name}: expected a shape of integers, got [${shape.join(', ')}]`)
    }
    if (typeof data !== 'function') checkElements(name, dtype, (end - begin) / dtypeBytes[dtype], data)
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`)
    begin = end
  }
  const text = Buffer.from(`{${members.join(',')}}`)
  // Spaces up to a multiple of 8, so that readers can map the data.
  const length = Math.ceil(text.byteLength / 8) * 8
  if (length > maxHeaderBytes)
    throw new ModelFileError(`${path}: header of ${length} bytes, the most is ${maxHeaderBytes}`)
  const header = Buffer.alloc(8 + length, 0x20)
  header.writeBigUInt64LE(BigInt(length), 0)
  text.copy(header, 8)
  return header
}

async function writeTensor(file: DurableFile, tensor: TensorToWrite, signal?: AbortSignal): Promise<void> {
  const { name, dtype, data } = tensor
  const size = tensorBytes(dtype, tensor.shape) / dtypeBytes[dtype]
  const isHalf = dtype === 'F16' || dtype === 'BF16'
  const half = isHalf ? new Uint16Array(Math.min(size, pieceElements)) : undefined
  for (let start = 0; start < size; start += pieceElements) {
    throwIfAborted(signal, `writing ${file.path}`)
    const count = Math.min(pieceElements, size - start)
    let piece: TensorData
    if (typeof data === 'function') {
      piece = await data(start, count)
      checkElements(name, dtype, count, piece)
    } else {
      piece = data.subarray(start, start + count)
    }
    if (half !== undefined && piece instanceof Float32Array) {
      piece = toHalf(file.path, tensor, piece, half.subarray(0, count))
    }
    await file.write(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength))
  }
}

function toHalf(
  path: string,
  { name, dtype }: TensorToWrite,
  source: Float32Array,
  target: Uint16Array,
): Uint16Array {
  if (dtype === 'BF16') float32ToBfloat16(source, target)
  else float32ToFloat16(source, target)
  // What was finite must stay so: a checkpoint with an infinity in it is lost.
  const exponent = dtype === 'BF16' ? 0x7f80 : 0x7c00
  let infinite = 0
  for (const bits of target) if ((bits & exponent) === exponent) ++infinite
  if (infinite > countNonFinite(source)) {
    throw new CheckpointError(`${path}: tensor ${JSON.stringify(name)} has values too large for ${dtype}`, {
      hint: 'write it as float32',
      path,
      details: { tensor: name },
    })
  }
  return target
}

const arrayNames: Readonly<Record<SafetensorsDtype, readonly string[]>> = {
  F32: ['Float32Array'],
  F16: ['Float32Array', 'Uint16Array'],
  BF16: ['Float32Array', 'Uint16Array'],
  F64: ['Float64Array'],
  I32: ['Int32Array'],
  I64: ['BigInt64Array'],
  U8: ['Uint8Array', 'Buffer'],
}

function checkElements(name: string, dtype: SafetensorsDtype, expected: number, data: TensorData): void {
  if (!arrayNames[dtype].includes(data.constructor.name)) {
    throw new TypeError(
      `${name}: expected ${arrayNames[dtype].join(' or ')} for ${dtype}, got ${data.constructor.name}`,
    )
  }
  if (data.length !== expected) {
    throw new RangeError(`${name}: expected ${expected} elements, got ${data.length}`)
  }
}
