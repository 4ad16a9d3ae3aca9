// Tensors in the middle of a larger buffer: sentinels before, after and between the rows, and NaN where a result is
// still to come. What an op touches besides its results, and what it leaves unwritten, shows before any tolerance does.
import type { DType } from '../../lib/native.js'
import type { Device } from '../../lib/tensor/device.js'
import type { Tensor } from '../../lib/tensor/tensor.js'
import { type Data, type HostTensor, type OutputSpec, sizeOf } from '../_cases/case.js'

const arrays: Record<DType, new (length: number) => Data> = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  bfloat16: Uint16Array,
  float16: Uint16Array,
}

export const bytesOf = (dtype: DType): number => new arrays[dtype](0).BYTES_PER_ELEMENT

// Around inputs stands NaN, which spoils the result of an op that reads it; around results, numbers that no op makes.
const sentinels: Record<DType, number> = {
  float32: -7.0625e11,
  float64: -7.0625e11,
  int32: 0x5a5a5a5a,
  uint8: 0xa5,
  bfloat16: 0xa5a5,
  float16: 0xa5a5,
}
const poisons: Record<DType, number> = {
  float32: Number.NaN,
  float64: Number.NaN,
  int32: -0x21524111,
  uint8: 0xee,
  bfloat16: 0x7fc1,
  float16: 0x7e01,
}

export class Guarded {
  readonly tensor: Tensor
  readonly #base: Tensor
  readonly #image: Data
  readonly #guard: number
  readonly #stride: number
  readonly #writable: boolean

  /** @param guard elements before and after: an odd number also takes the tensor off every alignment */
  constructor(device: Device, source: HostTensor | OutputSpec, writable: boolean, guard: number) {
    const dtype = source.dtype ?? 'float32'
    const { shape } = source
    const rows = shape[0] ?? 1
    const columns = sizeOf(shape.slice(1))
    this.#guard = guard
    this.#stride = columns + (source.gap ?? 0)
    this.#writable = writable
    const isInput = 'data' in source
    this.#image = new arrays[dtype](2 * guard + rows * this.#stride)
    this.#image.fill(isInput && !writable ? poisons[dtype] : sentinels[dtype])
    for (let r = 0; r < rows; r++) {
      const begin = guard + r * this.#stride
      if (isInput) this.#image.set(source.data.subarray(r * columns, (r + 1) * columns), begin)
      else this.#image.fill(poisons[dtype], begin, begin + columns)
    }
    this.#base = device.keep(device.empty([this.#image.length], dtype))
    device.write(this.#base, this.#image)
    this.tensor = device.keep(device.view(this.#base, guard, shape, this.#stride))
  }

  /** Where the tensor stands in the memory around it: elements before it and between its rows' beginnings. */
  get base(): Tensor {
    return this.#base
  }
  get guard(): number {
    return this.#guard
  }
  get stride(): number {
    return this.#stride
  }
  get writable(): boolean {
    return this.#writable
  }

  dispose(): void {
    this.tensor.dispose()
    this.#base.dispose()
  }

  /** The elements, rows packed. Throws when anything but the rows of a writable tensor has changed. */
  async read(name: string): Promise<Data> {
    const { device, dtype, shape } = this.#base
    const bytes = await device.ops.read(device.handle, this.#base.handle)
    const after = new Uint8Array(bytes)
    const before = new Uint8Array(this.#image.buffer)
    const rows = this.tensor.rows
    const columns = this.tensor.columns
    const width = this.#image.BYTES_PER_ELEMENT
    const result = new arrays[dtype](rows * columns)
    const packed = new Uint8Array(result.buffer)
    for (let r = 0; r < rows; r++) {
      const begin = (this.#guard + r * this.#stride) * width
      const row = after.subarray(begin, begin + columns * width)
      packed.set(row, r * columns * width)
      if (this.#writable) before.set(row, begin)
    }
    if (Buffer.compare(before, after) !== 0) {
      const at = Math.floor(before.findIndex((byte, i) => byte !== after[i]) / width) - this.#guard
      const row = Math.floor(at / this.#stride)
      throw new Error(
        `${name}: the op changed what it must not, at element ${at} (row ${row}, column ${at - row * this.#stride}) ` +
          `of ${this.tensor} in a buffer of ${shape}`,
      )
    }
    return result
  }
}
