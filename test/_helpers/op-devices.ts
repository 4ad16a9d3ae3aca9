// The devices that tests of ops run on: the CPU with every instruction set of this processor, with 1 and 2 threads, and
// the emulated CUDA device where a CUDA toolkit is installed. LUFFY_TEST_DEVICES=cpu or =emulated keeps to one of
// them, =cuda takes a GPU.
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestFn } from 'ava'
import { native } from '../../lib/native.js'
import { packageRoot } from '../../lib/native-loader.js'
import { Device, type DeviceOptions } from '../../lib/tensor/device.js'
import { testDeviceNames } from './emulator.js'

export interface OpDevice {
  device: Device
  isa: string
  threads: number
  label: string
}

/** Whether it runs the CUDA kernels. */
export const isCuda = ({ isa }: OpDevice): boolean => isa === 'emulated' || isa === 'cuda'

export interface OpDevices {
  /** Every device, the emulated one last. */
  /** On the CPU: instruction set by instruction set, best first; 1 thread before 2. */
  readonly all: readonly OpDevice[]
  /** The best instruction set with 2 threads. */
  readonly best: Device
}

/**
 * Opens them before a file's tests and disposes of them after. Read the members inside tests only. The emulated device
 * joins where the op that the test file is named after has a CUDA kernel.
 */
export function useDevices(test: TestFn): OpDevices {
  const all: OpDevice[] = []
  test.before('devices', async () => {
    const names = testDeviceNames()
    if (names.includes('cpu')) await openProcessors(all)
    for (const name of ['emulated', 'cuda'] as const) {
      if (names.includes(name) && hasCudaKernel(test.meta.file)) {
        // Work waits until something waits for its stream: what went to another stream comes too late.
        process.env.EMULATOR_STREAMS ??= 'lazy'
        // Bits are compared, and the kernels are luffy's own: products by a library have a test of themselves.
        const device = await Device.open(name, { deterministic: true })
        all.push({ device, isa: name, threads: 1, label: name })
      }
    }
    if (all.length === 0) throw new Error('no device to test: the op has no CUDA kernel')
  })
  test.after.always('devices', async () => {
    for (const { device } of all) await device.dispose()
  })
  return {
    all,
    get best() {
      const found = all.find(({ threads }) => threads === 2) ?? all[0]
      if (found === undefined) throw new Error('no device is open')
      return found.device
    },
  }
}

async function openProcessors(all: OpDevice[]): Promise<void> {
  const isas = native()
    .systemInfo()
    .isas.split(',')
    .map(isa => isa.trim())
  if (!isas.includes('baseline')) throw new Error(`expected the baseline among the instruction sets: ${isas}`)
  for (const isa of isas) {
    for (const threads of [1, 2]) {
      const device = await Device.open('cpu', { isa: isa as NonNullable<DeviceOptions['isa']>, threads })
      all.push({ device, isa, threads, label: `${isa}, ${threads} thread${threads > 1 ? 's' : ''}` })
    }
  }
}

function hasCudaKernel(testFile: string): boolean {
  const stem = basename(fileURLToPath(testFile), '.test.js')
  return existsSync(join(packageRoot, `native/ops/${stem}.cu`))
}
