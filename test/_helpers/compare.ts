// Comparisons whose messages give the coordinate and both values.
import type { ExecutionContext } from 'ava'
import type { Data } from '../_cases/case.js'

const showErrors = process.env.LUFFY_SHOW_ERRORS === '1'

/** A share of the largest expected magnitude, or of each element's own. */
export type Tolerance = number | { relative: number }

/** Fails unless every |got - expected| is within tolerance. NaN and infinities must be where they are expected. */
export function isClose(
  t: ExecutionContext,
  what: string,
  got: ArrayLike<number>,
  expected: ArrayLike<number> | undefined,
  tolerance: Tolerance | undefined,
): void {
  if (expected === undefined || tolerance === undefined) {
    t.fail(`${what}: no ${expected === undefined ? 'reference' : 'tolerance'}`)
    return
  }
  if (got.length !== expected.length) {
    t.fail(`${what}: ${got.length} elements, expected ${expected.length}`)
    return
  }
  let largest = 0
  for (let i = 0; i < expected.length; i++) {
    const magnitude = Math.abs(expected[i]!)
    if (magnitude > largest && magnitude < Number.POSITIVE_INFINITY) largest = magnitude
  }
  const byElement = typeof tolerance !== 'number'
  let worst = 0
  let at = -1
  for (let i = 0; i < expected.length; i++) {
    const a = got[i]!
    const b = expected[i]!
    if (Object.is(a, b) || a === b) continue
    const error = Math.abs(a - b) / (byElement ? Math.abs(b) : largest)
    if (error <= worst) continue // never for NaN
    worst = Number.isNaN(error) || Number.isNaN(worst) ? Number.POSITIVE_INFINITY : error
    at = i
    if (worst === Number.POSITIVE_INFINITY) break
  }
  if (showErrors) t.log(`${what}: ${worst.toExponential(1)}`)
  if (worst <= (byElement ? tolerance.relative : tolerance)) {
    t.pass()
  } else {
    t.fail(
      `${what}[${at}]: got ${got[at]}, expected ${expected[at]}; error ${worst.toExponential(2)} of ` +
        `${byElement ? 'it' : `the largest (${largest.toPrecision(4)})`}, allowed ${JSON.stringify(tolerance)}`,
    )
  }
}

/** Fails unless both hold the same bits. */
export function sameBits(t: ExecutionContext, what: string, got: Data, expected: Data): void {
  const bytes = (data: Data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (got.length !== expected.length) {
    t.fail(`${what}: ${got.length} elements, expected ${expected.length}`)
  } else if (Buffer.compare(bytes(got), bytes(expected)) === 0) {
    t.pass()
  } else {
    const at = Array.from(got).findIndex((x, i) => !Object.is(x, expected[i]))
    t.fail(`${what}[${at}]: got ${got[at]}, expected the same bits as ${expected[at]}`)
  }
}

/** True when some element differs: for tests of what a flag changes. */
export function differs(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length !== b.length || Array.from(a).some((x, i) => !Object.is(x, b[i]))
}
