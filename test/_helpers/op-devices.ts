// The devices that tests of ops run on: the CPU with every instruction set of this processor, with 1 and 2 threads.
import type { TestFn } from 'ava'
import { native } from '../../lib/native.js'
import { Device, type DeviceOptions } from '../../lib/tensor/device.js'

export interface OpDevice {
  device: Device
  isa: string
  threads: number
  label: string
}

export interface OpDevices {
  /** Instruction set by instruction set, best first; 1 thread before 2. */
  readonly all: readonly OpDevice[]
  /** The best instruction set with 2 threads. */
  readonly best: Device
}

/** Opens them before a file's tests and disposes of them after. Read the members inside tests only. */
export function useDevices(test: TestFn): OpDevices {
  const all: OpDevice[] = []
  test.before('devices', async () => {
    const isas = native()
      .systemInfo()
      .isas.split(',')
      .map(isa => isa.trim())
    if (!isas.includes('baseline'))
      throw new Error(`expected the baseline among the instruction sets: ${isas}`)
    for (const isa of isas) {
      for (const threads of [1, 2]) {
        const device = await Device.open('cpu', { isa: isa as NonNullable<DeviceOptions['isa']>, threads })
        all.push({ device, isa, threads, label: `${isa}, ${threads} thread${threads > 1 ? 's' : ''}` })
      }
    }
  })
  test.after.always('devices', async () => {
    for (const { device } of all) await device.dispose()
  })
  return {
    all,
    get best() {
      const found = all.find(({ threads }) => threads === 2)
      if (found === undefined) throw new Error('no device is open')
      return found.device
    },
  }
}
