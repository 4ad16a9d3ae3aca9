// Devices for tests of whole policies and of the public functions: the CPU with its threads, and the emulated one.
import { Device } from '../../lib/index.js'
import { type TestDeviceName, testDeviceNames } from './emulator.js'

export interface TestDevice {
  label: string
  name: TestDeviceName
  threads: number
}

/** The CPU with 1 and 2 threads, then the emulated device where it can be built. */
export const testDevices: readonly TestDevice[] = testDeviceNames().flatMap((name): TestDevice[] =>
  name === 'cpu'
    ? [1, 2].map(threads => ({ label: `${threads} threads`, name, threads }))
    : [{ label: name, name, threads: 1 }],
)

export function openTestDevice({ name, threads }: TestDevice): Promise<Device> {
  return Device.open(name, { deterministic: true, ...(name === 'cpu' ? { threads } : {}) })
}
