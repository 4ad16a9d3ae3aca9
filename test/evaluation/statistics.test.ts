// pass@k against exact fractions, means and errors against their definitions.
import test from 'ava'
import { meanAndError, powersUpTo } from '../../lib/evaluation/statistics.js'
import { passAtK } from '../../lib/index.js'

function choose(n: number, k: number): bigint {
  let result = 1n
  for (let i = 1; i <= k; i++) result = (result * BigInt(n - k + i)) / BigInt(i)
  return k > n ? 0n : result
}

/** 1 - C(n - c, k) / C(n, k) with exact integers, rounded once to float64. */
function exact(n: number, c: number, k: number): number {
  const all = choose(n, k)
  const scale = 10n ** 30n
  return Number(((all - choose(n - c, k)) * scale) / all) / 1e30
}

test('pass@k is the share of subsets of k samples with a right one', t => {
  let cases = 0
  for (const n of [1, 2, 3, 8, 32, 100, 1000]) {
    for (const c of new Set([0, 1, 2, Math.floor(n / 3), n - 1, n])) {
      for (const k of new Set([1, 2, Math.ceil(n / 2), n - 1, n])) {
        if (c < 0 || c > n || k < 1 || k > n) continue
        cases += 1
        t.true(Math.abs(passAtK(n, c, k) - exact(n, c, k)) < 1e-12, `${n} ${c} ${k}`)
      }
    }
  }
  t.true(cases > 100)
  t.true(Math.abs(passAtK(32, 8, 1) - 0.25) < 1e-15)
})

test('pass@k by enumeration of all subsets', t => {
  const right = [true, false, false, true, false]
  for (let k = 1; k <= 5; k++) {
    let with1 = 0
    let all = 0
    for (let set = 0; set < 32; set++) {
      const members = right.filter((_, i) => (set >> i) & 1)
      if (members.length !== k) continue
      all += 1
      if (members.includes(true)) with1 += 1
    }
    t.true(Math.abs(passAtK(5, 2, k) - with1 / all) < 1e-14)
  }
  for (const [n, c, k] of [
    [0, 0, 1],
    [4, 5, 1],
    [4, 1, 5],
    [4, -1, 1],
    [4, 1, 0],
    [4, 0.5, 1],
  ] as const) {
    t.throws(() => passAtK(n, c, k), { instanceOf: RangeError, message: /0 <= c <= n/ })
  }
})

test('the mean, its standard error, and the values of k', t => {
  const values = [1, 0, 0.5, 0.25]
  const { mean, standardError } = meanAndError(values)
  t.is(mean, 0.4375)
  // Deviations 0.5625, -0.4375, 0.0625, -0.1875: squares sum up to 0.546875.
  t.true(Math.abs(standardError - Math.sqrt(0.546875 / 3 / 4)) < 1e-15)
  t.deepEqual(meanAndError([0.5]), { mean: 0.5, standardError: 0 })
  t.deepEqual(powersUpTo(32), [1, 2, 4, 8, 16, 32])
  t.deepEqual(powersUpTo(5), [1, 2, 4, 5])
  t.deepEqual(powersUpTo(1), [1])
})
