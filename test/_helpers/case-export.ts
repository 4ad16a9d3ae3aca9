// Writes the cases of an op's test as a case file (native/programs/case-file.h), so that luffy_kernel_tests and
// luffy_kernel_bench can run them where there is no Node. The calls are recorded, not made.
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import type { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import type { Tensor } from '../../lib/tensor/tensor.js'
import type { HostTensors, OpCase } from '../_cases/case.js'
import { values } from '../_cases/cast.js'
import type { Tolerance } from './compare.js'
import { Guarded } from './guarded.js'

type Line = string | Uint8Array

const bytesOf = (data: ArrayBufferView) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

/** Appends what is enqueued on `device` to `lines` until `end`; ops are not run. */
class Recording {
  readonly lines: Line[] = []
  /** By handle. */
  readonly #ids = new Map<number, number>()
  readonly #device: Device
  readonly #ops: Device['ops']
  preparing = false
  /** Contents as mean and deviation instead of bytes, for tensors of float32 above this many elements. */
  randomAbove = Number.POSITIVE_INFINITY

  constructor(device: Device) {
    this.#device = device
    this.#ops = device.ops
    const proxy = new Proxy(device.ops, { get: (_, name) => this.#recorded(String(name)) })
    Object.defineProperty(device, 'ops', { value: proxy, configurable: true, writable: true })
  }

  end(): void {
    Object.defineProperty(this.#device, 'ops', { value: this.#ops, configurable: true, writable: true })
  }

  id(tensor: Tensor): number {
    return this.#idOf(tensor.handle)
  }

  add(line: string, data?: ArrayBufferView): void {
    this.lines.push(`${line}\n`)
    if (data !== undefined) this.lines.push(bytesOf(data), '\n')
  }

  #recorded(name: string): unknown {
    const ops = this.#ops as unknown as Record<string, (...values: unknown[]) => unknown>
    const call = ops[name]?.bind(ops)
    if (call === undefined) return undefined
    if (['release', 'linearPackedSize', 'deviceInfo', 'systemInfo'].includes(name)) return call
    return (...values: unknown[]) => {
      if (name === 'allocate') {
        const [, dtype, shape] = values as [unknown, string, readonly number[]]
        const handle = call(...values) as number
        this.#ids.set(handle, this.#ids.size)
        this.add(`tensor ${this.#ids.get(handle)} ${dtype} ${shape.join(' ')}`)
        return handle
      }
      if (name === 'view') {
        const [base, offset, shape, rowStride] = values as [number, number, readonly number[], number]
        const handle = call(...values) as number
        this.#ids.set(handle, this.#ids.size)
        this.add(
          `view ${this.#ids.get(handle)} ${this.#idOf(base)} ${offset} ${rowStride} ${shape.join(' ')}`,
        )
        return handle
      }
      if (name === 'write') {
        const [, tensor, data] = values as [unknown, number, ArrayBufferView]
        this.#write(this.#idOf(tensor), data)
        return undefined
      }
      const words = values.slice(1).map(value => this.#word(value))
      this.add([this.preparing ? 'prepare' : 'call', name, ...words].join(' '))
      return undefined
    }
  }

  #write(id: number, data: ArrayBufferView): void {
    const isFloat = data instanceof Float32Array || data instanceof Uint16Array
    if (isFloat && data.length > this.randomAbove) {
      const sample = Float32Array.from(data.subarray(0, 4096), x =>
        data instanceof Uint16Array ? (values(Uint16Array.of(x), 'bfloat16')[0] as number) : x,
      )
      const mean = sample.reduce((sum, x) => sum + x, 0) / sample.length
      const deviation = Math.sqrt(sample.reduce((sum, x) => sum + (x - mean) ** 2, 0) / sample.length)
      this.add(`random ${id} ${mean} ${deviation}`)
    } else {
      this.add(`data ${id} ${data.byteLength}`, data)
    }
  }

  #idOf(handle: number): number {
    const id = this.#ids.get(handle)
    if (id === undefined) throw new Error(`tensor ${handle} was made before the recording`)
    return id
  }

  #word(value: unknown): string {
    if (value === null || value === undefined) return '-'
    if (typeof value === 'boolean') return String(value)
    if (typeof value === 'object') {
      return `{${Object.entries(value)
        .map(([key, number]) => `${key}=${number}`)
        .join(',')}}`
    }
    const id = this.#ids.get(value as number)
    return id === undefined ? String(value) : `t${id}`
  }
}

function writeLines(path: string, cases: readonly (readonly Line[])[]): void {
  mkdirSync(dirname(path), { recursive: true })
  const file = openSync(path, 'w')
  try {
    for (const lines of cases) for (const line of lines) writeSync(file, line as string)
  } finally {
    closeSync(file)
  }
}

export const measureOf = (tolerance: Tolerance) =>
  typeof tolerance === 'number' ? `share ${tolerance}` : `relative ${tolerance.relative}`

/** The cases with their expected values, guards and what they may be off by; inputs from these random numbers. */
export function exportCases<Case extends OpCase>(
  path: string,
  stem: string,
  device: Device,
  cases: readonly Case[],
  random: (i: number) => CounterRandom,
  measure: (oneCase: Case, name: string, inputs: HostTensors, values: ArrayLike<number>) => string,
): void {
  const all = cases.map((oneCase, i) => {
    const inputs = oneCase.make(random(i))
    const expected = oneCase.reference(inputs)
    const written = oneCase.written ?? []
    const recording = new Recording(device)
    try {
      device.scope(() => {
        recording.add(`case ${stem} ${oneCase.flops} ${oneCase.bytes} ${oneCase.name}`)
        const placed = Object.entries({ ...inputs, ...oneCase.outputs }).map(
          ([name, spec]) =>
            [name, new Guarded(device, spec, written.includes(name) || name in oneCase.outputs, 61)] as const,
        )
        const tensors = Object.fromEntries(placed.map(([name, { tensor }]) => [name, tensor]))
        recording.preparing = true
        oneCase.prepare?.(device, tensors)
        recording.preparing = false
        oneCase.enqueue(device, tensors)
        for (const [name, guarded] of placed) {
          const { base, guard, stride, writable, tensor } = guarded
          recording.add(
            `keep ${recording.id(base)} ${guard} ${tensor.rows} ${tensor.columns} ${stride} ${Number(writable)}`,
          )
          if (!writable) continue
          const wanted = expected[name]
          if (wanted === undefined) throw new Error(`${name}: no reference`)
          recording.add(
            `expect ${recording.id(tensor)} ${measure(oneCase, name, inputs, wanted)} ${wanted.length} ${name}`,
            Float64Array.from(wanted),
          )
        }
        for (const [, guarded] of placed) guarded.dispose()
      })
    } finally {
      recording.end()
    }
    return recording.lines
  })
  writeLines(path, all)
}

/** One case of a benchmark: large contents become random numbers of the same mean and deviation. */
export function exportBenchmark(
  path: string,
  stem: string,
  device: Device,
  cases: readonly Omit<OpCase, 'reference'>[],
  random: () => CounterRandom,
): void {
  const all = cases.map(oneCase => {
    const inputs = oneCase.make(random())
    const recording = new Recording(device)
    recording.randomAbove = 1024
    try {
      device.scope(() => {
        recording.add(`case ${stem} ${oneCase.flops} ${oneCase.bytes} ${oneCase.name}`)
        const tensors: Record<string, Tensor> = {}
        for (const [name, { dtype, shape, data }] of Object.entries(inputs)) {
          tensors[name] = device.empty(shape, dtype)
          device.write(tensors[name], data)
        }
        for (const [name, { shape, dtype }] of Object.entries(oneCase.outputs)) {
          tensors[name] = device.empty(shape, dtype)
        }
        recording.preparing = true
        oneCase.prepare?.(device, tensors)
        recording.preparing = false
        oneCase.enqueue(device, tensors)
      })
    } finally {
      recording.end()
    }
    return recording.lines
  })
  writeLines(path, all)
}
