// What becomes of a process whose device runs out of memory or fails, as JSON. See cuda-device.test.ts.
import { Device, LuffyError } from '../../lib/index.js'
import { gradientNorm } from '../../lib/ops/gradient-norm.js'

const mebibyte = 2 ** 18 // of float32

async function errorOf(call: () => unknown): Promise<LuffyError> {
  try {
    await call()
  } catch (error) {
    if (LuffyError.isInstance(error)) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

async function memory(): Promise<unknown> {
  const device = await Device.open('cuda')
  const many = Array.from({ length: 10 }, () => device.empty([4 * mebibyte]))
  for (const tensor of many) tensor.dispose()
  const cached = device.info().cachedBytes
  // More than is free: only without the cache.
  const large = device.empty([48 * mebibyte])
  const retried = cached >= 40 * 2 ** 20 && device.info().cachedBytes === 0
  large.dispose()
  device.trim()
  const small = device.float32(Float32Array.of(7))
  device.empty([16 * mebibyte])
  const error = await errorOf(() => device.empty([60 * mebibyte]))
  // Nothing broke: what there is can be used.
  const usable = [...(await device.readFloat32(small))]
  const { code, exitCode, message } = error
  // An op whose scratch memory is not there fails its stream.
  for (const size of [32, 16, 8, 4, 2, 1, 0.5, 0.25]) {
    for (;;) {
      try {
        device.empty([size * mebibyte])
      } catch {
        break
      }
    }
  }
  gradientNorm(small, 1)
  const scratch = await errorOf(() => device.synchronize())
  await device.dispose()
  return { retried, code, exitCode, message, usable, scratch: scratch.message, scratchCode: scratch.code }
}

async function fault(): Promise<unknown> {
  const start = performance.now()
  const device = await Device.open('cuda')
  const good = device.zeros([8])
  const bad = device.zeros([8])
  const waits = [
    () => device.readFloat32(bad),
    () => device.readFloat32(good),
    () => device.synchronize(),
    () => device.synchronize(),
  ]
  const errors: LuffyError[] = []
  for (const wait of waits) errors.push(await errorOf(wait))
  // Larger than anything that is cached.
  const { name, exitCode } = await errorOf(() => device.zeros([mebibyte]))
  good.dispose()
  await device.dispose()
  const second = await errorOf(() => Device.open('cuda'))
  return {
    messages: errors.map(({ message }) => message),
    codes: errors.map(({ code }) => code),
    exitCodes: errors.map(error => error.exitCode),
    allocation: { name, exitCode },
    second: { name: second.name, exitCode: second.exitCode },
    seconds: (performance.now() - start) / 1000,
  }
}

async function open(): Promise<unknown> {
  try {
    await using device = await Device.open('cuda')
    return { products: device.info().products, values: [...(await device.readFloat32(device.zeros([2])))] }
  } catch (error) {
    const { name, message } = error as Error
    return { name, message }
  }
}

/** Kernels before any transfer: each device's thread must have selected it. */
async function two(): Promise<unknown> {
  await using second = await Device.open('cuda:1')
  await using first = await Device.open('cuda:0')
  const tensors = [first, second].map(device => device.zeros([3]))
  return Promise.all(
    [first, second].map((device, i) => device.readFloat32(tensors[i]!).then(data => [...data])),
  )
}

const ways: Record<string, () => Promise<unknown>> = { memory, fault, open, two }
process.stdout.write(JSON.stringify(await ways[process.argv[2] as string]?.()))
