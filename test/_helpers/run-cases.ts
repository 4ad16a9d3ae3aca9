// Runs case tables: every case on every device, against its float64 reference, and bit for bit the same with 1 and 2
// threads. LUFFY_SHOW_ERRORS=1 prints the largest error of each result, which the tolerances are made from.
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestFn } from 'ava'
import { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import type { Data, HostTensors, OpCase } from '../_cases/case.js'
import { exportCases } from './case-export.js'
import { isClose, sameBits, type Tolerance } from './compare.js'
import { Guarded } from './guarded.js'
import type { OpDevices } from './op-devices.js'

/** By result. */
export type Tolerances = Readonly<Record<string, Tolerance>>

export type Results = Record<string, Data>

// Cases that move or compute more than this run with the best instruction set only.
const largeBytes = 4e6
const largeFlops = 1e8
// The emulator runs a thread at a time: a hundred times slower.
const emulatedBytes = 1e6
const emulatedFlops = 1e7

// A folder: the cases are written there as case files instead of being run (scripts/gpu-pack.mjs).
const exportFolder = process.env.LUFFY_EXPORT_CASES
/** Files that go to a card stay small: the largest cases are left out. */
const exportedBytes = 2e6

/** One test for each case. */
export function testCases(
  test: TestFn,
  devices: OpDevices,
  cases: readonly OpCase[],
  tolerances: Tolerances,
): void {
  if (cases.length === 0) throw new Error('no cases to test')
  if (exportFolder !== undefined) {
    const stem = basename(fileURLToPath(test.meta.file), '.test.js')
    test('exported', t => {
      const path = join(exportFolder, `${stem}.cases`)
      const device = devices.all.find(({ isa }) => isa === 'emulated')?.device
      if (device === undefined) throw new Error('cases are exported for the CUDA backend: no emulated device')
      const chosen = cases.filter(({ bytes }) => bytes < exportedBytes)
      exportCases(path, stem, device, chosen, tolerances)
      t.true(chosen.length > 0)
    })
    return
  }
  for (const [i, oneCase] of cases.entries()) {
    test(oneCase.name, async t => {
      const inputs = oneCase.make(new CounterRandom(1, 'case', i))
      const expected = oneCase.reference(inputs)
      const { bytes, flops } = oneCase
      const chosen = devices.all.filter(({ isa }) =>
        isa === 'emulated'
          ? bytes < emulatedBytes && flops < emulatedFlops
          : (bytes < largeBytes && flops < largeFlops) || isa === devices.all[0]?.isa,
      )
      let previous: { isa: string; results: Results } | undefined
      for (const place of chosen) {
        const results = await runCase(place.device, oneCase, inputs, place.threads === 1 ? 64 : 61)
        for (const name of resultNames(oneCase)) {
          isClose(t, `${place.label}: ${name}`, results[name]!, expected[name], tolerances[name])
          if (previous?.isa === place.isa) {
            sameBits(
              t,
              `${place.label}: ${name}, not as with 1 thread`,
              results[name]!,
              previous.results[name]!,
            )
          }
        }
        previous = { isa: place.isa, results }
      }
      if (chosen.length === 0) t.pass('too large for the only device')
    })
  }
}

/** Results of a case, guards checked. */
export async function runCase(
  device: Device,
  oneCase: OpCase,
  inputs: HostTensors,
  guard = 61,
): Promise<Results> {
  const { outputs, written = [] } = oneCase
  const placed: Record<string, Guarded> = {}
  try {
    device.scope(() => {
      for (const [name, input] of Object.entries(inputs)) {
        placed[name] = new Guarded(device, input, written.includes(name), guard)
      }
      for (const [name, output] of Object.entries(outputs)) {
        placed[name] = new Guarded(device, output, true, guard)
      }
      const tensors = Object.fromEntries(Object.entries(placed).map(([name, { tensor }]) => [name, tensor]))
      oneCase.prepare?.(device, tensors)
      oneCase.enqueue(device, tensors)
    })
    const results: Results = {}
    for (const [name, guarded] of Object.entries(placed)) {
      results[name] = await guarded.read(`${oneCase.name}: ${name}`)
    }
    return results
  } finally {
    for (const guarded of Object.values(placed)) guarded.dispose()
  }
}

export function resultNames(oneCase: OpCase): string[] {
  return [...Object.keys(oneCase.outputs), ...(oneCase.written ?? [])]
}
