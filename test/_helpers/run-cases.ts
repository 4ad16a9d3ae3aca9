// Runs case tables: every case on every device, against its float64 reference, and bit for bit the same with 1 and 2
// threads. LUFFY_SHOW_ERRORS=1 prints the largest error of each result, which the tolerances are made from.
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestFn } from 'ava'
import type { DType } from '../../lib/native.js'
import { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import type { Data, HostTensors, OpCase } from '../_cases/case.js'
import { exportCases, measureOf } from './case-export.js'
import { isClose, sameBits, type Tolerance } from './compare.js'
import { withEnvironment } from './environment.js'
import { bytesOf, Guarded } from './guarded.js'
import { isCuda, type OpDevices } from './op-devices.js'

/** By result. */
export type Tolerances = Readonly<Record<string, Tolerance>>

export type Results = Record<string, Data>

// Cases that move or compute more than this run with the best instruction set only.
const largeBytes = 4e6
const largeFlops = 1e8
// The emulator runs a thread at a time: a hundred times slower.
const emulatedBytes = 1e6
const emulatedFlops = 1e7
// Cases below these also run with the emulator's threads in another order, so that a missing barrier shows.
const otherOrders = ['lifo']
const otherOrderBytes = 1e5
const otherOrderFlops = 1e6

// A folder: the cases are written there as case files instead of being run (scripts/gpu-pack.mjs).
export const exportFolder = process.env.LUFFY_EXPORT_CASES
/** Files that go to a card stay small: the largest cases are left out. */
const exportedBytes = 3e5

/** Instead of a table's tests: one that writes its case file, where LUFFY_EXPORT_CASES asks for it. */
export function exporting(
  test: TestFn,
  devices: OpDevices,
  cases: readonly OpCase[],
  mark: string,
  write: (device: Device, path: string, stem: string) => void,
): void {
  const stem = basename(fileURLToPath(test.meta.file), '.test.js')
  const name = `${stem}${mark}${numbered(test, mark, '-')}`
  test(`exported: ${name}`, t => {
    const device = devices.all.find(({ isa }) => isa === 'emulated')?.device
    if (device === undefined) throw new Error('cases are exported for the CUDA backend: no emulated device')
    write(device, join(exportFolder as string, `${name}.cases`), stem)
    t.true(cases.length > 0)
  })
}

/** One test for each case, and one of the small cases with the emulator's threads in another order. */
export function testCases(
  test: TestFn,
  devices: OpDevices,
  cases: readonly OpCase[],
  tolerances: Tolerances,
): void {
  if (cases.length === 0) throw new Error('no cases to test')
  if (exportFolder !== undefined) {
    exporting(test, devices, cases, '', (device, path, stem) =>
      exportCases(
        path,
        stem,
        device,
        cases.filter(({ bytes }) => bytes < exportedBytes),
        i => new CounterRandom(1, 'case', i),
        (oneCase, name) => {
          const tolerance = tolerances[name]
          if (tolerance === undefined) throw new Error(`${oneCase.name}, ${name}: no tolerance`)
          return measureOf(tolerance)
        },
      ),
    )
    return
  }
  test.serial(`the order of threads changes nothing${numbered(test, 'order', ', table ')}`, async t => {
    const small = cases.filter(({ bytes, flops }) => bytes < otherOrderBytes && flops < otherOrderFlops)
    t.true(small.length > 0, 'no case is small enough')
    for (const { device, label } of devices.all.filter(({ isa }) => isa === 'emulated')) {
      for (const order of otherOrders) {
        await withEnvironment({ EMULATOR_SCHEDULE: order }, async () => {
          for (const oneCase of small) {
            const i = cases.indexOf(oneCase)
            const inputs = oneCase.make(new CounterRandom(1, 'case', i))
            const expected = oneCase.reference(inputs)
            const results = await runCase(device, oneCase, inputs, 64)
            for (const name of resultNames(oneCase)) {
              const what = `${label}, ${order}, ${oneCase.name}: ${name}`
              isClose(t, what, results[name]!, expected[name], tolerances[name])
            }
          }
        })
      }
    }
  })
  testPlaces(test, devices, smallCases(cases))
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

/**
 * One test: the cases on CUDA with one tensor after the other at a multiple of 8 bytes but not of 16, and next to one, the
 * others at multiples of 64, as slices of larger tensors stand: a kernel that forgets one of them misses its alignment.
 * Another: no two strided tensors with one gap.
 */
export function testPlaces(test: TestFn, devices: OpDevices, cases: readonly OpCase[]): void {
  test.serial(`each tensor alone off sixteen bytes${numbered(test, 'places', ', table ')}`, async t => {
    for (const { device, label } of devices.all.filter(isCuda)) {
      for (const [i, oneCase] of cases.entries()) {
        const inputs = oneCase.make(new CounterRandom(3, 'places', i))
        const aligned = await runCase(device, oneCase, inputs, 64)
        const apart = [...Object.keys(inputs), ...Object.keys(oneCase.outputs)]
        for (const [moved, bytes] of apart.flatMap(name => [[name, 8] as const, [name, 0] as const])) {
          const results = await runCase(device, oneCase, inputs, (name, dtype) =>
            name === moved ? 64 + (bytes / bytesOf(dtype) || 1) : 64,
          )
          for (const name of resultNames(oneCase)) {
            const what = `${label}, ${oneCase.name}: ${name}, ${moved} apart`
            sameBits(t, what, results[name]!, aligned[name]!)
          }
        }
      }
    }
    t.true(cases.length > 0, 'no case is small enough')
  })
  test.serial(`each tensor by its own stride${numbered(test, 'strides', ', table ')}`, async t => {
    for (const { device, label } of devices.all.filter(isCuda)) {
      for (const [i, oneCase] of cases.entries()) {
        const inputs = oneCase.make(new CounterRandom(3, 'places', i))
        const names = [...Object.keys(inputs), ...Object.keys(oneCase.outputs)]
        const alike = await runCase(device, oneCase, inputs, 64)
        const results = await runCase(device, oneCase, inputs, 64, (name, gap) =>
          gap === 0 ? 0 : gap + 1 + names.indexOf(name),
        )
        for (const name of resultNames(oneCase)) {
          sameBits(t, `${label}, ${oneCase.name}: ${name}`, results[name]!, alike[name]!)
        }
      }
    }
    t.true(cases.length > 0, 'no case is small enough')
  })
}

/** Those whose work is little enough to be done twice for every tensor. */
export const smallCases = (cases: readonly OpCase[]): readonly OpCase[] =>
  cases.filter(({ bytes, flops }) => bytes < 2 * otherOrderBytes && flops < otherOrderFlops)

const tables = new WeakMap<TestFn, Map<string, number>>()
/** A file may test several tables of a kind: '' for the first, then `between` and its number. */
function numbered(test: TestFn, kind: string, between: string): string {
  const counts = tables.get(test) ?? new Map<string, number>()
  tables.set(test, counts)
  const count = (counts.get(kind) ?? 0) + 1
  counts.set(kind, count)
  return count === 1 ? '' : `${between}${count}`
}

/** Elements before and after each tensor, the same for all or by name. */
export type Guards = number | ((name: string, dtype: DType) => number)

/** Results of a case, guards checked. */
export async function runCase(
  device: Device,
  oneCase: OpCase,
  inputs: HostTensors,
  guards: Guards = 61,
  gapOf: (name: string, gap: number) => number = (_, gap) => gap,
): Promise<Results> {
  const { outputs, written = [] } = oneCase
  const guardOf = (name: string, dtype: DType = 'float32') =>
    typeof guards === 'number' ? guards : guards(name, dtype)
  const placed: Record<string, Guarded> = {}
  try {
    device.scope(() => {
      for (const [name, host] of Object.entries(inputs)) {
        const input = { ...host, gap: gapOf(name, host.gap ?? 0) }
        placed[name] = new Guarded(device, input, written.includes(name), guardOf(name, input.dtype))
      }
      for (const [name, spec] of Object.entries(outputs)) {
        const output = { ...spec, gap: gapOf(name, spec.gap ?? 0) }
        placed[name] = new Guarded(device, output, true, guardOf(name, output.dtype))
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
