// Rows of cases and of their results, for tests of bits that do not depend on what stands beside.
import type { Sequence } from '../_cases/attention.js'
import type { HostTensors } from '../_cases/case.js'
import type { Results } from '../_helpers/run-cases.js'

/** Inputs whose rows are copies of those of another case. */
export function picked(
  inputs: HostTensors,
  names: string[],
  rows: number[],
  sequences: Sequence[],
): HostTensors {
  const result: HostTensors = {
    sequences: { dtype: 'int32', shape: [sequences.length, 4], data: Int32Array.from(sequences.flat()) },
  }
  for (const name of names) {
    const { data, dtype, shape } = inputs[name]!
    const width = shape[1]!
    const size = rows.length * width
    const copy = dtype === 'bfloat16' ? new Uint16Array(size) : new Float32Array(size)
    for (const [i, row] of rows.entries()) copy.set(data.subarray(row * width, (row + 1) * width), i * width)
    result[name] = { dtype, shape: [rows.length, width], data: copy }
  }
  return result
}

/** Rows `from` to `to` of a result. */
export function rowsOf(results: Results, name: string, from: number, to: number, width: number) {
  return results[name]!.slice(from * width, to * width)
}

export const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)
