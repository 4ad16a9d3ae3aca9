// Tensor: a handle to device memory. Row-major; dimension 0 may be strided (a slice of columns).
import type { DType, TensorHandle } from '../native.js'
import { type ComputeDtype, computesIn } from './compute-dtype.js'
import type { Device } from './device.js'

export type Shape = readonly number[]

export class Tensor {
  readonly device: Device
  readonly handle: TensorHandle
  readonly dtype: DType
  readonly shape: Shape
  /** Elements between consecutive indices of dimension 0. */
  readonly rowStride: number

  /** Made by Device (`empty`, `from`) and by views; not called directly. */
  constructor(device: Device, handle: TensorHandle, dtype: DType, shape: Shape, rowStride: number) {
    this.device = device
    this.handle = handle
    this.dtype = dtype
    this.shape = shape
    this.rowStride = rowStride
  }

  get size(): number {
    return sizeOf(this.shape)
  }

  /** Size of dimension 0 (1 for a scalar). */
  get rows(): number {
    return this.shape[0] ?? 1
  }

  /** Elements of one index of dimension 0. */
  get columns(): number {
    return sizeOf(this.shape.slice(1))
  }

  get contiguous(): boolean {
    return this.rowStride === this.columns || this.rows <= 1
  }

  /** Columns [start, end) of a matrix, sharing its memory. */
  slice(start: number, end: number): Tensor {
    return this.device.view(this, start, [this.rows, end - start], this.rowStride)
  }

  /** Rows [start, end), sharing the memory. */
  rowRange(start: number, end: number): Tensor {
    return this.device.view(
      this,
      start * this.rowStride,
      [end - start, ...this.shape.slice(1)],
      this.rowStride,
    )
  }

  /** The same elements in another shape; the tensor must be contiguous. */
  reshape(shape: Shape): Tensor {
    if (!this.contiguous || sizeOf(shape) !== this.size) {
      throw new RangeError(`reshape: [${this.shape}] cannot be seen as [${shape}]`)
    }
    return this.device.view(this, 0, shape, sizeOf(shape.slice(1)))
  }

  /** Frees the handle; its memory is reused when everything enqueued before is done. Twice is no fault. */
  dispose(): void {
    this.device.release(this)
  }

  toString(): string {
    return `[${this.shape.join(', ')}] ${this.dtype}`
  }
}

export function sizeOf(shape: Shape): number {
  let size = 1
  for (const n of shape) size *= n
  return size
}

/** Throws a RangeError that names the argument unless the tensor has this dtype and shape (-1 = any size). */
export function checkTensor(op: string, name: string, tensor: Tensor, dtype: DType, shape: Shape): void {
  const fits =
    tensor.shape.length === shape.length && shape.every((n, i) => n === -1 || n === tensor.shape[i])
  if (tensor.dtype !== dtype || !fits) {
    const expected = `[${shape.map(n => (n === -1 ? 'any' : n)).join(', ')}] ${dtype}`
    throw new RangeError(`${op}: expected ${name} to be ${expected}, got ${tensor}`)
  }
}

/**
 * The dtype that an op's activations have, after the one given: bfloat16 where the device computes in it, else float32.
 * On the CPU a bfloat16 tensor is refused by `checkTensor`, since this says float32.
 */
export function activationDtype(tensor: Tensor): ComputeDtype {
  return tensor.dtype === 'bfloat16' && computesIn(tensor.device.name, 'bfloat16') ? 'bfloat16' : 'float32'
}
