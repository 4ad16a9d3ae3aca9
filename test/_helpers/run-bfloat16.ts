// Runs cases in bfloat16 on the devices that compute in it. The rule (FlashAttention's): the error against float64 is at
// most twice that of a plain bfloat16 computation of the same inputs, three times for gradients, beside the rounding
// noise of float32. Results for which a tolerance is given are held to that instead.
import type { ExecutionContext, TestFn } from 'ava'
import { CounterRandom } from '../../lib/random.js'
import { type Bfloat16Case, numbersOf } from '../_cases/bfloat16.js'
import { exportCases, measureOf } from './case-export.js'
import { isClose, sameBits } from './compare.js'
import { isCuda, type OpDevices } from './op-devices.js'
import {
  exportFolder,
  exporting,
  resultNames,
  runCase,
  smallCases,
  type Tolerances,
  testPlaces,
} from './run-cases.js'

const showErrors = process.env.LUFFY_SHOW_ERRORS === '1'

export function testBfloat16(
  test: TestFn,
  devices: OpDevices,
  cases: readonly Bfloat16Case[],
  tolerances: Tolerances = {},
): void {
  if (cases.length === 0) throw new Error('no cases to test')
  if (exportFolder !== undefined) {
    exporting(test, devices, cases, '-bfloat16', (device, path, stem) =>
      exportCases(
        path,
        stem,
        device,
        cases,
        i => new CounterRandom(1, 'bfloat16', i),
        (oneCase, name, inputs, values) =>
          tolerances[name] === undefined
            ? {
                kind: 'absolute',
                limit: allowedError(values, oneCase.plain(inputs)[name] ?? [], factorOf(name)).allowed,
              }
            : measureOf(tolerances[name]),
      ),
    )
    return
  }
  testPlaces(test, devices, smallCases(cases))
  for (const [i, oneCase] of cases.entries()) {
    test(oneCase.name, async t => {
      const inputs = oneCase.make(new CounterRandom(1, 'bfloat16', i))
      const expected = oneCase.reference(inputs)
      const plain = oneCase.plain(inputs)
      const chosen = devices.all.filter(isCuda)
      for (const { device, label } of chosen) {
        const results = await runCase(device, oneCase, inputs)
        const again = await runCase(device, oneCase, inputs, 64)
        for (const name of resultNames(oneCase)) {
          const got = numbersOf(oneCase, inputs, name, results[name]!)
          const where = `${label}: ${name}`
          if (tolerances[name] !== undefined) isClose(t, where, got, expected[name], tolerances[name])
          else isNearAsPlain(t, where, got, expected[name], plain[name], factorOf(name))
          sameBits(t, `${where}, aligned otherwise`, again[name]!, results[name]!)
        }
      }
      if (chosen.length === 0) t.pass('no device that computes in bfloat16')
    })
  }
}

const factorOf = (name: string) => (name.startsWith('grad') ? 3 : 2)

/** The error of a plain computation, and what is allowed beside it. */
function allowedError(
  expected: ArrayLike<number>,
  plain: ArrayLike<number>,
  factor: number,
): { ofPlain: number; allowed: number } {
  let [ofPlain, noise] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    const x = expected[i] as number
    if (!Number.isFinite(x)) continue
    ofPlain = Math.max(ofPlain, Math.abs((plain[i] as number) - x))
    noise = Math.max(noise, Math.abs(Math.fround(Math.fround(x + 0.3) - 0.3) - x))
  }
  return { ofPlain, allowed: factor * ofPlain + 2 * noise }
}

/** Whether a result is as near to float64 as a plain bfloat16 computation, by the rule above. */
export function isNearAsPlain(
  t: ExecutionContext,
  what: string,
  got: Float64Array,
  expected: ArrayLike<number> | undefined,
  plain: ArrayLike<number> | undefined,
  factor: number,
): void {
  if (expected === undefined || plain === undefined || expected.length !== got.length) {
    t.fail(`${what}: no reference of ${got.length} elements`)
    return
  }
  let [worst, at] = [0, -1]
  for (let i = 0; i < got.length; i++) {
    const x = expected[i]!
    if (Object.is(got[i], x)) continue
    const error = Math.abs(got[i]! - x)
    if (error <= worst) continue // never for NaN
    worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error
    at = i
    if (worst === Number.POSITIVE_INFINITY) break
  }
  const { ofPlain, allowed } = allowedError(expected, plain, factor)
  if (showErrors) t.log(`${what}: ${worst.toExponential(2)}, of ${allowed.toExponential(2)} allowed`)
  if (worst <= allowed) t.pass()
  else {
    t.fail(
      `${what}[${at}]: got ${got[at]}, expected ${expected[at]}; a plain bfloat16 computation is off by ` +
        `${ofPlain.toExponential(2)} at most, allowed ${allowed.toExponential(2)}`,
    )
  }
}
