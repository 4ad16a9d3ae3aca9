// Handles at the border: every function of the addon against every wrong handle and number. Nothing may be enqueued,
// nothing may crash.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Device, DisposedError } from '../../lib/index.js'
import { type Native, native, nativeNames } from '../../lib/native.js'
import { packageRoot } from '../../lib/native-loader.js'
import type { Tensor } from '../../lib/tensor/tensor.js'

type Call = (...rest: unknown[]) => unknown

/** The types of a function's arguments as lib/native.ts declares them. */
function signature(name: keyof Native): string[] {
  const source = readFileSync(join(packageRoot, 'lib/native.ts'), 'utf8')
  const body = source.slice(source.indexOf('export interface Native {'))
  const declaration = new RegExp(`\\n  ${name}\\(([^)]*)\\)`).exec(body)?.[1] ?? ''
  return declaration
    .split(/,\s*/)
    .filter(part => part.includes(':'))
    .map(part => part.slice(part.indexOf(':') + 1).trim())
}

const options: Record<string, object> = {
  NativeAdamWOptions: { learningRate: 0.1, beta1: 0.9, beta2: 0.9, epsilon: 1e-8, weightDecay: 0, step: 1 },
  NativeAdvantageOptions: { baseline: 0, epsilon: 0, clip: 0, onPolicyWeight: 1, offPolicyWeight: 1 },
  NativeSamplingOptions: { temperature: 1, topK: 0, topP: 1, minP: 0, seed: 0 },
  NativePolicyObjective: {
    clipLow: 0,
    clipHigh: 0,
    dualClip: 0,
    logRatioClamp: 0,
    shaping: 0,
    gamma: 0.1,
    exponent: 1,
    offPolicyCap: 0,
    supervisedWeight: 0,
    klCoef: 0,
    entropyShare: 0,
  },
}

/** Arguments of the right types; the tensors all are `tensor`. */
function argumentsFor(name: keyof Native, device: Device, tensor: Tensor): unknown[] {
  return signature(name).map(type => {
    if (type === 'D') return device.handle
    if (type === 'T' || type === 'M') return tensor.handle
    if (type === 'number') return 1
    if (type === 'boolean') return false
    if (type === 'string' || type === 'DType') return 'float32'
    if (type === 'ArrayBufferView') return new Float32Array(tensor.size)
    if (type.startsWith('readonly number')) return [1]
    return options[type]
  })
}

// openDevice, systemInfo and the like take no handles.
const withHandles = nativeNames.filter(name => signature(name).some(type => /^[DTM]$/.test(type)))

test('every argument that is a handle is checked before anything is enqueued', async t => {
  await using device = await Device.open('cpu', { threads: 1 })
  await using other = await Device.open('cpu', { threads: 1 })
  const tensor = device.zeros([4])
  const gone = device.zeros([4])
  gone.dispose()
  const elsewhere = other.zeros([4])
  const closed = await Device.open('cpu', { threads: 1 })
  await closed.dispose()
  await device.synchronize()
  const { enqueuedOps, liveTensors } = device.info()

  const anything: [unknown, string | undefined][] = [
    [-1, undefined],
    [3.9, undefined],
    [Number.NaN, undefined],
    [Number.POSITIVE_INFINITY, undefined],
    [2 ** 32 + 5, 'DISPOSED or not a handle'], // cut to 32 bits it would be a live slot
    [2 ** 60, undefined],
    ['1', undefined],
    [true, undefined],
    [1n, undefined],
    [{}, undefined],
    [Symbol('handle'), undefined],
  ]
  let checked = 0
  for (const name of withHandles) {
    const call = native()[name] as unknown as Call
    for (const [i, type] of signature(name).entries()) {
      if (!/^[DTM]$/.test(type)) continue
      const wrong: [unknown, string | undefined][] = [
        ...anything,
        type === 'D' ? [closed.handle, 'DISPOSED'] : [gone.handle, 'DISPOSED'],
        type === 'D' ? [tensor.handle, undefined] : [device.handle, undefined],
        ...(type === 'D' ? ([[null, undefined]] as [unknown, undefined][]) : []),
        // A view does not name a device, and a released handle needs none.
        ...(type !== 'D' && name !== 'view' && name !== 'release'
          ? ([[elsewhere.handle, undefined]] as [unknown, undefined][])
          : []),
      ]
      for (const [value, code] of wrong) {
        if (name === 'release' && code === 'DISPOSED') continue // twice is no fault
        const given = argumentsFor(name, device, tensor)
        given[i] = value
        const error = t.throws(() => call(...given), undefined, `${name} ${i} ${String(value)}`)
        const disposed = (error as { code?: string }).code === 'DISPOSED'
        const right = code
          ? disposed || (error instanceof TypeError && code !== 'DISPOSED')
          : error instanceof TypeError
        t.true(right, `${name} ${i} ${String(value)}: ${error}`)
        t.true(error?.message.startsWith(`${name}: argument ${i}`), error?.message)
        checked += 1
      }
    }
  }
  t.true(checked > 1500, `${checked}`)
  t.is(native().release(gone.handle), undefined)
  t.deepEqual([device.info().enqueuedOps, device.info().liveTensors], [enqueuedOps, liveTensors])
})

test('numbers, options and shapes are checked before anything is enqueued', async t => {
  await using device = await Device.open('cpu', { threads: 1 })
  const tensor = device.zeros([4])
  await device.synchronize()
  const { enqueuedOps, liveTensors } = device.info()
  const throws = (name: keyof Native, i: number, value: unknown) => {
    const given = argumentsFor(name, device, tensor)
    given[i] = value
    const error = t.throws(() => (native()[name] as unknown as Call)(...given), undefined, `${name} ${i}`)
    t.true(
      error instanceof TypeError || error instanceof RangeError,
      `${name} ${i} ${String(value)}: ${error}`,
    )
    t.true(error?.message.startsWith(name), error?.message)
  }
  for (const name of nativeNames) {
    for (const [i, type] of signature(name).entries()) {
      if (type === 'number') for (const value of ['1', 1n, null, {}, undefined]) throws(name, i, value)
      if (type === 'boolean') for (const value of [0, 'true', null]) throws(name, i, value)
      if (type === 'DType') for (const value of ['float', '', 3, null]) throws(name, i, value)
      if (type === 'ArrayBufferView') {
        const wrong = [new Int32Array(4), new Float64Array(4), new Float32Array(3), [1, 2, 3, 4], null]
        for (const value of [...wrong, new ArrayBuffer(16), new DataView(new ArrayBuffer(16))])
          throws(name, i, value)
      }
      if (type.startsWith('readonly number')) {
        const sizes = [-1, 3.9, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2 ** 52, '1', 1n, null]
        for (const size of sizes) throws(name, i, [size])
        for (const value of [[1, 1, 1, 1, 1], [2 ** 30, 2 ** 30], [0, 2 ** 52, 2 ** 52], 4, null, {}])
          throws(name, i, value)
      }
      const fields = options[type]
      if (fields) {
        for (const value of [null, undefined, 3, {}]) throws(name, i, value)
        for (const field of Object.keys(fields)) {
          for (const value of ['1', null, undefined, 1n]) throws(name, i, { ...fields, [field]: value })
        }
      }
    }
  }
  for (const i of [1, 3]) for (const value of [-1, 3.9, Number.NaN, 2 ** 53]) throws('view', i, value)
  throws('view', 1, 2 ** 32 + 5)
  for (const threads of [0, -1, 257, 1.5, Number.NaN]) {
    t.throws(() => native().openDevice('', threads), { instanceOf: RangeError })
  }
  t.throws(() => native().openDevice('mmx', 1))
  t.deepEqual([device.info().enqueuedOps, device.info().liveTensors], [enqueuedOps, liveTensors])
})

test('more memory than there is: OutOfMemoryError at once, and the device goes on', async t => {
  await using device = await Device.open('cpu', { threads: 1 })
  const started = performance.now()
  const error = t.throws(() => device.empty([2 ** 45]), { code: 'OUT_OF_MEMORY' })
  t.is((error as unknown as { details: { bytes: number } }).details.bytes >= 2 ** 47, true)
  t.true(performance.now() - started < 1000)
  const after = device.float32(Float32Array.of(1, 2))
  t.deepEqual([...(await device.readFloat32(after))], [1, 2])
})

test('an op that fails poisons the device: every wait gives the first error, and closing does not hang', async t => {
  const device = await Device.open('cpu', { threads: 2 })
  const tokens = device.int32(Int32Array.of(0, 7))
  const table = device.zeros([3, 4])
  const out = device.zeros([2, 4])
  device.ops.embeddingForward(device.handle, tokens.handle, table.handle, out.handle)
  const message = /embeddingForward.*tokens\[1\] is 7.*\[2\] int32, \[3, 4\] float32, \[2, 4\] float32/
  await t.throwsAsync(device.readFloat32(out), { name: 'DeviceError', message })
  await t.throwsAsync(device.synchronize(), { name: 'DeviceError', message })
  await device.dispose()
})

test('a tensor that is disposed while an op waits to read it is read', async t => {
  await using device = await Device.open('cpu', { threads: 2 })
  const a = device.float32(
    Float32Array.from({ length: 4096 }, (_, i) => i),
    [64, 64],
  )
  const busy = device.zeros([512, 512])
  const sink = device.empty([512, 512])
  const out = device.empty([64, 64])
  for (let i = 0; i < 4; i++) {
    device.ops.matmul(device.handle, busy.handle, busy.handle, sink.handle, false, false, false)
  }
  device.ops.addRows(device.handle, a.handle, a.handle, out.handle)
  a.dispose()
  const reused = device.zeros([64, 64])
  const sum = await device.readFloat32(out)
  t.true(sum.every((x, i) => x === 2 * i))
  t.throws(() => device.ops.addRows(device.handle, a.handle, reused.handle, out.handle), {
    instanceOf: DisposedError,
    message: /addRows: argument 1: this tensor was disposed/,
  })
  a.dispose()
})

test('an array that changes after write is not seen', async t => {
  await using device = await Device.open('cpu', { threads: 1 })
  const data = Float32Array.of(1, 2, 3)
  const tensor = device.float32(data)
  data.fill(9)
  structuredClone(data.buffer, { transfer: [data.buffer] })
  t.deepEqual([...(await device.readFloat32(tensor))], [1, 2, 3])
  t.throws(() => device.write(tensor, data), { instanceOf: RangeError })
  const shared = new Float32Array(new SharedArrayBuffer(12)).fill(4)
  device.write(tensor, shared)
  t.deepEqual([...(await device.readFloat32(tensor))], [4, 4, 4])
})

test('a disposed device says so, and twice is no fault', async t => {
  const device = await Device.open('cpu', { threads: 1 })
  const tensor = device.zeros([2])
  const pending = Promise.allSettled([device.readFloat32(tensor), device.synchronize()])
  await Promise.all([device.dispose(), device.dispose()])
  await pending
  await device.dispose()
  t.true(device.closed)
  const disposed = { instanceOf: DisposedError, message: /device cpu was disposed/ }
  t.throws(() => device.empty([1]), disposed)
  t.throws(() => device.info(), disposed)
  t.throws(() => device.write(tensor, new Float32Array(2)), disposed)
  await t.throwsAsync(device.readFloat32(tensor), disposed)
  await t.throwsAsync(device.synchronize(), disposed)
  t.notThrows(() => tensor.dispose())
})

test('what still waits when a device is closed is rejected', async t => {
  const device = await Device.open('cpu', { threads: 1 })
  const big = device.zeros([400, 400])
  const out = device.empty([400, 400])
  for (let i = 0; i < 50; i++) {
    device.ops.matmul(device.handle, big.handle, big.handle, out.handle, false, false, false)
  }
  const reading = device.readFloat32(out)
  native().closeDevice(device.handle)
  await t.throwsAsync(reading, { instanceOf: DisposedError, message: /closed before it was done/ })
})

test('a handle of another thread is foreign there', async t => {
  await using device = await Device.open('cpu', { threads: 1 })
  const tensor = device.zeros([2])
  const source = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.lib).then(async ({ Device }) => {
      const device = await Device.open('cpu', { threads: 1 })
      const own = device.zeros([2])
      try {
        device.ops.addRows(device.handle, own.handle, workerData.tensor, own.handle)
      } catch (error) { parentPort.postMessage(error.name + ': ' + error.message) }
      try { device.ops.deviceInfo(workerData.device) } catch (error) { parentPort.postMessage(error.name + ': ' + error.message) }
      await device.dispose()
    })`
  const worker = new Worker(source, {
    eval: true,
    workerData: {
      lib: new URL('../../lib/index.js', import.meta.url).href,
      tensor: tensor.handle,
      device: device.handle,
    },
  })
  const messages: string[] = []
  worker.on('message', message => messages.push(message))
  const code = await new Promise(resolve => worker.once('exit', resolve))
  t.is(code, 0)
  t.deepEqual(messages, [
    'TypeError: addRows: argument 2: this tensor belongs to another thread',
    'TypeError: deviceInfo: argument 0: this device belongs to another thread',
  ])
  t.is(device.info().liveTensors, 1)
})
