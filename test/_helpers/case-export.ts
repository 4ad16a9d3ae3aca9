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
  /** Contents as what they are like instead of bytes, for tensors of floats above this many elements. */
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
    if (['linearPackedSize', 'deviceInfo', 'systemInfo'].includes(name)) return call
    return (...values: unknown[]) => {
      if (name === 'release') return undefined
      if (name === 'allocate') {
        const [, dtype, shape] = values as [unknown, string, readonly number[]]
        const handle = this.#newHandle()
        this.add(`tensor ${this.#ids.get(handle)} ${dtype} ${shape.join(' ')}`)
        return handle
      }
      if (name === 'view') {
        const [base, offset, shape, rowStride] = values as [number, number, readonly number[], number]
        const handle = this.#newHandle()
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

  /** Of no memory: a benchmark's tensors take gigabytes, and no argument that is a number is as large. */
  #newHandle(): number {
    const handle = 2 ** 52 + this.#ids.size
    this.#ids.set(handle, this.#ids.size)
    return handle
  }

  #write(id: number, data: ArrayBufferView): void {
    const isFloat = data instanceof Float32Array || data instanceof Uint16Array
    if (isFloat && data.length > this.randomAbove) {
      const dtype = data instanceof Uint16Array ? 'bfloat16' : 'float32'
      // What was computed from elements that were not drawn is NaN.
      const sample = values(data.subarray(0, 4096), dtype).filter(Number.isFinite)
      if (sample.length === 0) throw new Error(`tensor ${id}: no finite element to know the others by`)
      const mean = sample.reduce((sum, x) => sum + x, 0) / sample.length
      const deviation = Math.sqrt(sample.reduce((sum, x) => sum + (x - mean) ** 2, 0) / sample.length)
      this.add(`random ${id} ${mean} ${deviation} ${Math.min(...sample)} ${Math.max(...sample)}`)
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

/** What an error is measured by, and its limit. */
export interface Measure {
  kind: 'share' | 'relative' | 'absolute'
  limit: number
}

export const measureOf = (tolerance: Tolerance): Measure =>
  typeof tolerance === 'number'
    ? { kind: 'share', limit: tolerance }
    : { kind: 'relative', limit: tolerance.relative }

/**
 * Expected values without the digits that no test looks at, as they compress to little: within a 4096th of what each may be
 * off by. In float32 where all of them are.
 */
export function shortened(values: ArrayLike<number>, { kind, limit }: Measure): Float32Array | Float64Array {
  let largest = 0
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i] as number)
    if (Number.isFinite(size)) largest = Math.max(largest, size)
  }
  const short = Float64Array.from(values, x => {
    if (!Number.isFinite(x) || x === 0) return x
    const allowed = limit * { share: largest, relative: Math.abs(x), absolute: 1 }[kind]
    if (Math.abs(Math.fround(x) - x) <= allowed / 4096) return Math.fround(x)
    // A multiple of the largest power of two that is not above it: 0 for a limit of 0.
    const unit = allowed > 0 ? 2 ** Math.floor(Math.log2(allowed / 4096)) : 0
    const rounded = Math.round(x / unit) * unit
    return Number.isFinite(rounded) ? rounded : x
  })
  return short.every(x => Object.is(Math.fround(x), x)) ? Float32Array.from(short) : short
}

/** The cases with their expected values, guards and what they may be off by; inputs from these random numbers. */
export function exportCases<Case extends OpCase>(
  path: string,
  stem: string,
  device: Device,
  cases: readonly Case[],
  random: (i: number) => CounterRandom,
  measure: (oneCase: Case, name: string, inputs: HostTensors, values: ArrayLike<number>) => Measure,
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
          const allowed = measure(oneCase, name, inputs, wanted)
          const data = shortened(wanted, allowed)
          const width = data.BYTES_PER_ELEMENT
          recording.add(
            `expect ${recording.id(tensor)} ${allowed.kind} ${allowed.limit} ${wanted.length} ${width} ${name}`,
            data,
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

/** What a card should reach: a share of the bandwidth of a copy, of the rate of cuBLAS, or of the fastest peer's speed. */
export interface Goal {
  of: 'copy' | 'cublas' | 'peer'
  share: number
}

export type CardCase = Omit<OpCase, 'reference'> & { goal?: Goal }

/** The cases of a benchmark: large contents become random numbers of the same mean and deviation. */
export function exportBenchmark(
  path: string,
  stem: string,
  device: Device,
  cases: readonly CardCase[],
  random: () => CounterRandom,
): void {
  const all = cases.map(oneCase => {
    const inputs = oneCase.make(random())
    const recording = new Recording(device)
    recording.randomAbove = 512
    try {
      device.scope(() => {
        recording.add(`case ${stem} ${oneCase.flops} ${oneCase.bytes} ${oneCase.name}`)
        if (oneCase.goal) recording.add(`goal ${oneCase.goal.of} ${oneCase.goal.share}`)
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
