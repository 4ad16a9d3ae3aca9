// Ends in the way that its argument names while a long op runs on the device. See exits.test.ts.
import { Worker } from 'node:worker_threads'
import { Device } from '../../lib/index.js'

/** Ops that take seconds, and a read that waits for them. */
async function busyDevice(): Promise<{ device: Device; reading: Promise<unknown> }> {
  const device = await Device.open('cpu', { threads: 2 })
  const a = device.zeros([1500, 1500])
  const out = device.empty([1500, 1500])
  for (let i = 0; i < 200; i++) {
    device.ops.matmul(device.handle, a.handle, a.handle, out.handle, false, false, false)
  }
  const reading = device.readFloat32(out)
  reading.catch(() => {})
  return { device, reading }
}

function busyWorker(): { worker: Worker; ready: Promise<unknown> } {
  const worker = new Worker(new URL(import.meta.url), { argv: ['worker'] })
  return { worker, ready: new Promise(resolve => worker.once('message', resolve)) }
}

async function terminated(workers: Worker[]): Promise<void> {
  await Promise.all(workers.map(worker => worker.terminate()))
}

const ways: Record<string, () => Promise<void> | void> = {
  // The last promise that waits keeps the process alive; without one it may end at once.
  async return() {
    const device = await Device.open('cpu', { threads: 2 })
    device.zeros([10])
  },
  async disposed() {
    await using device = await Device.open('cpu', { threads: 2 })
    device.zeros([10])
  },
  async waited() {
    const device = await Device.open('cpu', { threads: 2 })
    const [x] = await device.readFloat32(device.float32(Float32Array.of(7)))
    process.exitCode = x
  },
  async throw() {
    await busyDevice()
    throw new Error('thrown on purpose')
  },
  async exit() {
    await busyDevice()
    process.exit(3)
  },
  async closed() {
    const { device } = await busyDevice()
    device.ops.closeDevice(device.handle)
  },
  async signal() {
    await busyDevice()
    process.stdout.write('busy\n')
    setInterval(() => {}, 1000)
  },
  async handler() {
    await busyDevice()
    process.on('SIGTERM', () => process.exit(143))
    process.stdout.write('busy\n')
    setInterval(() => {}, 1000)
  },
  async terminate() {
    const { worker, ready } = busyWorker()
    await ready
    await terminated([worker])
  },
  async terminateTwo() {
    const pair = [busyWorker(), busyWorker()]
    await Promise.all(pair.map(({ ready }) => ready))
    const { device } = await busyDevice()
    await terminated(pair.map(({ worker }) => worker))
    device.ops.closeDevice(device.handle)
  },
  async exitWithWorkers() {
    const pair = [busyWorker(), busyWorker()]
    await Promise.all(pair.map(({ ready }) => ready))
    process.exit(3)
  },
  async worker() {
    const { parentPort } = await import('node:worker_threads')
    const { reading } = await busyDevice()
    parentPort?.postMessage('busy')
    await reading
  },
}

await ways[process.argv[2] as string]?.()
