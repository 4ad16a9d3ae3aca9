// What a case table holds: one call of an op with its sizes, inputs, cost and float64 reference. test/ops runs every
// case on every device (test/_helpers/run-cases.ts); benchmarks time the same cases, or larger ones of the same makers.
import type { DType } from '../../lib/native.js'
import type { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import type { Tensor } from '../../lib/tensor/tensor.js'

export type Data = Float32Array | Float64Array | Int32Array | Uint8Array | Uint16Array

/** A tensor before it is on a device: its elements, rows packed. */
export interface HostTensor {
  dtype: DType
  shape: readonly number[]
  data: Data
  /** Elements between the rows on the device, which the op must neither read nor write. Default 0. */
  gap?: number
}

export type HostTensors = Record<string, HostTensor>

/** A result that starts without a value. */
export interface OutputSpec {
  shape: readonly number[]
  /** Default float32. */
  dtype?: DType
  gap?: number
}

export interface OpCase {
  /** What is special about it, with its sizes: '17x123x5, strided'. */
  readonly name: string
  /** Floating-point operations of one call (a multiply-add is two), and bytes that it must at least move. */
  readonly flops: number
  readonly bytes: number
  /** The arguments by name, from these random numbers and nothing else. */
  make(random: CounterRandom): HostTensors
  /**
   * What the op writes and `make` does not give. Names that stand in `written` are given by `make` and changed in place
   * (or added to); all other arguments must be unchanged after the call.
   */
  readonly outputs: Readonly<Record<string, OutputSpec>>
  readonly written?: readonly string[]
  /** Adds tensors that the op may use but that are not part of its work, such as a packed weight. */
  prepare?(device: Device, tensors: Record<string, Tensor>): void
  /** Enqueues the op once, on the tensors of `make` and `outputs` by name. */
  enqueue(device: Device, tensors: Readonly<Record<string, Tensor>>): void
  /** Expected elements of `outputs` and `written`, in float64 by plain loops. */
  reference(inputs: HostTensors): Record<string, ArrayLike<number>>
}

/** Random numbers that say how many elements of a tensor are enough to know the others by (benchmarks/card-cases.ts). */
export type Drawing = CounterRandom & { readonly sample?: number }

/** Makers of arguments. */
export function normal(random: Drawing, shape: readonly number[], deviation = 1, gap = 0): HostTensor {
  const data = new Float32Array(Math.min(sizeOf(shape), random.sample ?? Number.POSITIVE_INFINITY))
  for (let i = 0; i < data.length; i++) data[i] = deviation * random.normal()
  return { dtype: 'float32', shape, data, gap }
}

export function float32(values: ArrayLike<number>, shape: readonly number[] = [values.length]): HostTensor {
  return { dtype: 'float32', shape, data: Float32Array.from(values) }
}

export function int32(values: ArrayLike<number>, shape: readonly number[] = [values.length]): HostTensor {
  return { dtype: 'int32', shape, data: Int32Array.from(values) }
}

export function uint8(values: ArrayLike<number>, shape: readonly number[] = [values.length]): HostTensor {
  return { dtype: 'uint8', shape, data: Uint8Array.from(values) }
}

/** Integers in [0, below). */
export function integers(random: CounterRandom, count: number, below: number): HostTensor {
  return int32(Int32Array.from({ length: count }, () => random.integer(below)))
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1)
}

/** The elements of an argument; throws when the case has none of this name. */
export function dataOf(inputs: HostTensors, name: string): Data {
  const tensor = inputs[name]
  if (tensor === undefined) throw new Error(`the case has no argument ${name}`)
  return tensor.data
}
