// Device: where tensors live and ops run. JavaScript enqueues, a native thread runs; only `read` and `synchronize` wait.
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'

import { ConfigError, DeviceError, DisposedError, OutOfMemoryError } from '../errors.js'
import {
  type DeviceHandle,
  type DeviceInfo,
  type DType,
  type Native,
  native,
  type OpTime,
  type TensorHandle,
  translateNativeError,
} from '../native.js'
import { type PluginName, pluginPath, probePlugin } from '../native-plugins.js'
import { checkBoolean, checkInteger, checkOptions, describeValue, nearestName } from '../options.js'
import { type Shape, sizeOf, Tensor } from './tensor.js'

export interface DeviceOptions {
  /** Threads of the CPU backend, the stream's own included. Default: the cores of this machine. */
  threads?: number
  /** Instruction set of the CPU kernels: 'avx512', 'avx2' or 'baseline'. Default: the best of this processor. */
  isa?: 'avx512' | 'avx2' | 'baseline'
  /**
   * On CUDA: no library takes products of bfloat16, so that a row's bits never depend on the rows beside it. The CPU is
   * always so. Default false.
   */
  deterministic?: boolean
}

/** Typed arrays by dtype; bfloat16 and float16 travel as their bits. */
interface ArrayOf {
  float32: Float32Array
  float64: Float64Array
  int32: Int32Array
  uint8: Uint8Array
  bfloat16: Uint16Array
  float16: Uint16Array
}

const deviceNames = ['auto', 'cpu', 'cuda', 'emulated'] as const

/** Throws ConfigError for what names no device, with the nearest; whether it is there shows when it is opened. */
export function checkDeviceName(name: unknown, where: string): asserts name is string {
  if (typeof name === 'string' && /^(auto|cpu|emulated|cuda(:\d+)?)$/.test(name)) return
  const nearest =
    name === 'gpu' ? 'cuda' : typeof name === 'string' ? nearestName(name, deviceNames) : undefined
  throw new ConfigError(`${where}: unknown device ${describeValue(name)}`, {
    hint: nearest ? `did you mean "${nearest}"?` : 'known: auto, cpu, cuda, cuda:<n>, emulated',
  })
}

export class Device {
  readonly name: string
  /** The native calls, with errors translated into luffy's classes. */
  readonly ops: Native
  /** First argument of every op. */
  readonly handle: DeviceHandle
  readonly #scopes: Set<Tensor>[] = []
  /** Whether a library takes products, as far as is known here. */
  #hasProducts: boolean
  #closed = false

  private constructor(name: string, ops: Native, handle: DeviceHandle) {
    this.name = name
    this.ops = ops
    this.handle = handle
    this.#hasProducts = ops.deviceProducts(handle)?.reason === ''
  }

  /**
   * Opens a device.
   *
   * @param name 'auto' (the fastest present), 'cpu', 'cuda', 'cuda:1' or 'emulated'
   * @param options `threads` and `isa` are of the CPU: a named device that is none refuses them; where 'auto' takes one
   * they are ignored, with a line on a terminal, so that the same configuration serves machines with and without a GPU
   * @throws {DeviceError} when it is not there
   * @throws {ConfigError} for an unknown name or option
   * @throws {NativeMissingError} when the addon is not built
   */
  static async open(name: string = 'auto', options: DeviceOptions = {}): Promise<Device> {
    const checked = checkOptions(options, 'Device.open', ['threads', 'isa', 'deterministic'])
    const deterministic = checkBoolean(checked.deterministic ?? false, 'deterministic')
    const threads =
      checked.threads === undefined
        ? Math.min(availableParallelism(), 256)
        : checkInteger(checked.threads, 'threads', { min: 1, max: 256 })
    checkDeviceName(name, 'Device.open')
    const plugin = choosePlugin(name)
    if (plugin) {
      for (const option of ['threads', 'isa'] as const) {
        if (checked[option] === undefined) continue
        const message = `${option} is an option of the CPU, the device is ${plugin.label}`
        if (name !== 'auto') throw new ConfigError(`Device.open: ${message}`)
        noticeOnce(`luffy: ${message}: ignored`)
      }
      const ops = translating(native())
      const handle = ops.openPluginDevice(pluginPath(plugin.name), plugin.ordinal, deterministic)
      return new Device(plugin.label, ops, handle)
    }
    const isa = checked.isa === undefined ? (process.env.LUFFY_ISA ?? '') : checked.isa
    if (typeof isa !== 'string') throw new TypeError(`isa: expected a string, got ${describeValue(isa)}`)
    const ops = translating(native())
    return new Device('cpu', ops, ops.openDevice(isa, threads))
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Memory, threads and instruction set. */
  info(): DeviceInfo {
    return this.ops.deviceInfo(this.#live())
  }

  /** Time that each op took on the device's thread since the last call, longest first. */
  opTimes(): OpTime[] {
    return this.ops.opTimes(this.#live(), true).sort((a, b) => b.seconds - a.seconds)
  }

  /** An uninitialised tensor, owned by the innermost scope. Throws OutOfMemoryError. */
  empty(shape: Shape, dtype: DType = 'float32'): Tensor {
    const handle = this.ops.allocate(this.#live(), dtype, shape)
    return this.#adopt(new Tensor(this, handle, dtype, [...shape], sizeOf(shape.slice(1))))
  }

  zeros(shape: Shape, dtype: 'float32' | 'int32' | 'bfloat16' = 'float32'): Tensor {
    const tensor = this.empty(shape, dtype)
    this.ops.fill(this.handle, tensor.handle, 0)
    return tensor
  }

  /** A tensor with a copy of `data`. */
  from<K extends keyof ArrayOf>(data: ArrayOf[K], dtype: K, shape: Shape = [data.length]): Tensor {
    const tensor = this.empty(shape, dtype)
    this.ops.write(this.handle, tensor.handle, data)
    return tensor
  }

  float32(data: Float32Array, shape: Shape = [data.length]): Tensor {
    return this.from(data, 'float32', shape)
  }

  int32(data: Int32Array, shape: Shape = [data.length]): Tensor {
    return this.from(data, 'int32', shape)
  }

  uint8(data: Uint8Array, shape: Shape = [data.length]): Tensor {
    return this.from(data, 'uint8', shape)
  }

  /** A view of `base`'s memory, owned by the innermost scope as well. */
  view(base: Tensor, offset: number, shape: Shape, rowStride: number): Tensor {
    const handle = this.ops.view(base.handle, offset, shape, rowStride)
    return this.#adopt(new Tensor(this, handle, base.dtype, [...shape], rowStride))
  }

  release(tensor: Tensor): void {
    for (const scope of this.#scopes) scope.delete(tensor)
    if (!this.#closed) this.ops.release(tensor.handle)
  }

  /** Copies `data` over a contiguous tensor. */
  write(tensor: Tensor, data: ArrayBufferView): void {
    this.ops.write(this.#live(), tensor.handle, data)
  }

  /** The elements of a float32 tensor, when all that was enqueued before is done. */
  async readFloat32(tensor: Tensor): Promise<Float32Array> {
    return new Float32Array(await this.#read(tensor, 'float32'))
  }

  async readInt32(tensor: Tensor): Promise<Int32Array> {
    return new Int32Array(await this.#read(tensor, 'int32'))
  }

  async readFloat64(tensor: Tensor): Promise<Float64Array> {
    return new Float64Array(await this.#read(tensor, 'float64'))
  }

  /** The bits of a float16 or bfloat16 tensor. */
  async readBits16(tensor: Tensor): Promise<Uint16Array> {
    return new Uint16Array(await this.#read(tensor, tensor.dtype === 'float16' ? 'float16' : 'bfloat16'))
  }

  /** Elements [start, start + count) of a float32 vector: large ones are read in parts, so that no copy takes long. */
  async readRange(tensor: Tensor, start: number, count: number): Promise<Float32Array> {
    const part = this.keep(tensor.rowRange(start, start + count))
    try {
      return await this.readFloat32(part)
    } finally {
      part.dispose()
    }
  }

  /** Throws OutOfMemoryError, naming the numbers, when `bytes` are more than is free. */
  checkMemory(bytes: number, what: string): void {
    const free = this.info().freeMemory
    if (bytes <= free) return
    const gib = (n: number) => `${(n / 2 ** 30).toFixed(1)} GiB`
    throw new OutOfMemoryError(`${what} needs ${gib(bytes)}, free ${gib(free)}`, {
      hint: 'use a smaller policy or a machine with more memory',
      details: { needed: bytes, free },
    })
  }

  /** Resolves when everything enqueued so far is done; rejects with the first error of the stream. */
  async synchronize(): Promise<void> {
    try {
      await this.ops.synchronize(this.#live())
    } catch (error) {
      throw translateNativeError(error)
    }
    this.#noticeProducts()
  }

  /**
   * Runs `body` and frees every tensor that it made, except those that it returns (a tensor, or an array or plain
   * object of tensors), which go to the enclosing scope. `body` must be synchronous: ops enqueue, they do not wait.
   */
  scope<Result>(body: () => Result): Result {
    const scope = new Set<Tensor>()
    this.#scopes.push(scope)
    let kept: Tensor[] = []
    try {
      const result = body()
      if (result instanceof Promise) throw new TypeError('scope: the body must not be asynchronous')
      kept = tensorsIn(result)
      return result
    } finally {
      this.#scopes.pop()
      for (const tensor of kept) {
        if (scope.delete(tensor)) this.#scopes.at(-1)?.add(tensor)
      }
      for (const tensor of scope) if (!this.#closed) this.ops.release(tensor.handle)
    }
  }

  /** Takes tensors out of every scope: they live until they are disposed. */
  keep<Result>(tensors: Result): Result {
    for (const tensor of tensorsIn(tensors)) for (const scope of this.#scopes) scope.delete(tensor)
    return tensors
  }

  /** Gives cached and scratch memory back to the system. */
  trim(): void {
    this.ops.trimMemory(this.#live())
  }

  resetPeak(): void {
    this.ops.resetPeak(this.#live())
  }

  /**
   * Waits for what is enqueued, then stops the device's threads. Its tensors are gone. Twice is no fault. An error of
   * the stream is not thrown once more: whoever waited for a result has it.
   */
  async dispose(): Promise<void> {
    if (this.#closed) return
    await this.synchronize().catch(() => {})
    if (this.#closed) return
    this.#closed = true
    this.ops.closeDevice(this.handle)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  #live(): DeviceHandle {
    if (this.#closed) throw new DisposedError(`the device ${this.name} was disposed`)
    return this.handle
  }

  #adopt(tensor: Tensor): Tensor {
    this.#scopes.at(-1)?.add(tensor)
    return tensor
  }

  async #read(tensor: Tensor, dtype: DType): Promise<ArrayBuffer> {
    if (tensor.dtype !== dtype) throw new TypeError(`read: expected a ${dtype} tensor, got ${tensor}`)
    try {
      const bytes = await this.ops.read(this.#live(), tensor.handle)
      this.#noticeProducts()
      return bytes
    } catch (error) {
      throw translateNativeError(error)
    }
  }

  // Once: the device goes on with its own kernels when its library of products fails.
  #noticeProducts(): void {
    if (!this.#hasProducts || this.#closed) return
    const products = this.ops.deviceProducts(this.handle)
    if (!products?.reason) return
    this.#hasProducts = false
    noticeOnce(`luffy: ${this.name} goes on without ${products.file}: ${products.reason}`)
  }
}

/**
 * The plugin that `name` asks for, or none for the CPU. 'auto' takes the first CUDA device, and the CPU where there is
 * none, without a word when this build has no CUDA kernels and with one line on a terminal when it has.
 */
function choosePlugin(name: string): { name: PluginName; ordinal: number; label: string } | undefined {
  if (name === 'cpu') return undefined
  if (name === 'auto') {
    if (!existsSync(pluginPath('cuda'))) return undefined
    const { count, reason } = probePlugin('cuda')
    if (count > 0) return { name: 'cuda', ordinal: 0, label: 'cuda:0' }
    noticeOnce(`luffy: using the CPU: ${reason}`)
    return undefined
  }
  const kind = name === 'emulated' ? 'emulated' : 'cuda'
  const ordinal = Number(name.split(':')[1] ?? 0)
  const { count, reason } = probePlugin(kind)
  if (count === 0) {
    throw new DeviceError(`device ${name} is not available: ${reason}`, {
      code: kind === 'cuda' ? 'CUDA_UNAVAILABLE' : 'EMULATOR_UNAVAILABLE',
      hint: 'use device "auto" or "cpu"',
    })
  }
  if (ordinal >= count) {
    throw new DeviceError(
      `device ${name} does not exist: this machine has ${count === 1 ? 'only ' : `${kind}:0 to `}${kind}:${count - 1}`,
      {
        code: 'DEVICE_NOT_FOUND',
        hint: 'npx luffy doctor lists the devices',
      },
    )
  }
  return { name: kind, ordinal, label: kind === 'cuda' ? `cuda:${ordinal}` : kind }
}

const noticed = new Set<string>()
function noticeOnce(line: string): void {
  if (noticed.has(line)) return
  noticed.add(line)
  // A person is told; a program's stderr is its own, and device.info() says what was taken.
  if (process.stderr.isTTY) process.stderr.write(`${line}\n`)
}

/** The tensors in a tensor, an array or a plain object of tensors; nothing else is looked into. */
function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value]
  if (Array.isArray(value)) return value.flatMap(tensorsIn)
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.values(value).flatMap(tensorsIn)
  }
  return []
}

// The addon with every synchronous error translated. Made once: a closure per function, no Proxy in the hot path.
let translated: Native | undefined
function translating(addon: Native): Native {
  if (translated) return translated
  const wrapped: Record<string, unknown> = {}
  for (const [name, call] of Object.entries(addon) as [string, (...rest: unknown[]) => unknown][]) {
    wrapped[name] = (...rest: unknown[]) => {
      try {
        return call(...rest)
      } catch (error) {
        throw translateNativeError(error)
      }
    }
  }
  translated = wrapped as unknown as Native
  return translated
}

export type { TensorHandle }
