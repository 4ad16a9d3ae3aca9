// Where a tensor begins in memory must not change a bit: kernels read aligned rows by wider instructions.
import type { TestFn } from 'ava'
import { CounterRandom } from '../../lib/random.js'
import type { OpCase } from '../_cases/case.js'
import { sameBits } from './compare.js'
import type { OpDevices } from './op-devices.js'
import { resultNames, runCase, testPlaces } from './run-cases.js'

/** Every case on every device at a multiple of 256 bytes and four bytes beside one; and each tensor alone off sixteen. */
export function testAlignment(test: TestFn, devices: OpDevices, cases: readonly OpCase[]): void {
  if (cases.length === 0) throw new Error('no cases to test')
  testPlaces(test, devices, cases)
  test('the bits do not depend on where the tensors begin', async t => {
    for (const [i, oneCase] of cases.entries()) {
      const inputs = oneCase.make(new CounterRandom(2, 'alignment', i))
      for (const { device, label } of devices.all) {
        const aligned = await runCase(device, oneCase, inputs, 64)
        const beside = await runCase(device, oneCase, inputs, 65)
        for (const name of resultNames(oneCase))
          sameBits(t, `${label}, ${oneCase.name}: ${name}`, beside[name]!, aligned[name]!)
      }
    }
  })
}
