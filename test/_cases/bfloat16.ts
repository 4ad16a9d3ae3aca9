// Cases in bfloat16 made from those in float32: the named arguments are rounded, the named results are bfloat16.

import type { HostTensor, HostTensors, OpCase } from './case.js'
import { round, values } from './cast.js'

export type Rounding = (x: number) => number

export const toBfloat16: Rounding = x => round(x, 'bfloat16')

export interface Bfloat16Case extends OpCase {
  /** What the same computation gives with every intermediate result rounded to bfloat16 as well. */
  plain(inputs: HostTensors): Record<string, ArrayLike<number>>
}

/** The bits of numbers rounded to bfloat16. */
export function bfloat16Bits(data: ArrayLike<number>): Uint16Array {
  const words = new Uint32Array(Float32Array.from(data, toBfloat16).buffer)
  return Uint16Array.from(words, word => word >>> 16)
}

export function bfloat16Tensor({ shape, data, gap = 0 }: HostTensor): HostTensor {
  return { dtype: 'bfloat16', shape, gap, data: bfloat16Bits(data as Float32Array) }
}

/**
 * @param names arguments and results that are bfloat16; the others stay as they are
 * @param plain intermediate results rounded: the reference of a case that rounds them; default: only the results are
 */
export function bfloat16Case(oneCase: OpCase, names: readonly string[], plain?: OpCase): Bfloat16Case {
  const decoded = (inputs: HostTensors): HostTensors =>
    Object.fromEntries(
      Object.entries(inputs).map(([name, tensor]) => [
        name,
        tensor.dtype === 'bfloat16'
          ? { ...tensor, dtype: 'float32' as const, data: Float32Array.from(values(tensor.data, 'bfloat16')) }
          : tensor,
      ]),
    )
  return {
    ...oneCase,
    name: `bfloat16: ${oneCase.name}`,
    make(random) {
      const inputs = oneCase.make(random)
      for (const name of names) if (inputs[name]) inputs[name] = bfloat16Tensor(inputs[name])
      return inputs
    },
    outputs: Object.fromEntries(
      Object.entries(oneCase.outputs).map(([name, output]) => [
        name,
        names.includes(name) ? { ...output, dtype: 'bfloat16' as const } : output,
      ]),
    ),
    reference: inputs => oneCase.reference(decoded(inputs)),
    plain(inputs) {
      const results = (plain ?? oneCase).reference(decoded(inputs))
      return Object.fromEntries(
        Object.entries(results).map(([name, data]) => [
          name,
          names.includes(name) ? Float64Array.from(data, toBfloat16) : data,
        ]),
      )
    },
  }
}

/** The results of a case as numbers. */
export function numbersOf(oneCase: OpCase, inputs: HostTensors, name: string, data: HostTensor['data']) {
  const dtype = oneCase.outputs[name]?.dtype ?? inputs[name]?.dtype ?? 'float32'
  return dtype === 'bfloat16' ? values(data, dtype) : Float64Array.from(data)
}
