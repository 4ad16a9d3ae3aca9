// reduce and add: against float64, and what becomes of NaN and infinities.
import test from 'ava'
import { add, type Reduction, reduce } from '../../lib/ops/reduce.js'
import { addCase, bfloat16Cases, cases, reduceCase } from '../_cases/reduce.js'
import { testAlignment } from '../_helpers/alignment.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Sums are float64 (measured: 1.2e-14); an addition of two float32 numbers has one rounding.
testCases(test, devices, cases, { result: 5e-14, out: 0, a: 0, b: 0 })

testBfloat16(test, devices, bfloat16Cases)

testAlignment(test, devices, [
  ...[0, 1, 2, 3].map(kind => reduceCase(kind, 8195, kind === 3)),
  addCase(131, 257, 0, 'a'),
  addCase(5, 6, 2),
])

test('vectors longer than a grid of blocks and than a block of partial sums', async t => {
  const n = 2_110_007
  const x = Float32Array.from({ length: n }, (_, i) => (i % 7) - 2)
  const sum = x.reduce((a, b) => a + b, 0)
  const rows = 211_000
  for (const { device, label } of devices.all) {
    const results = device.scope(() => {
      const numbers = device.float32(x)
      const row = device.view(numbers, 0, [1, n], n)
      // Three packs of sixteen bytes: the grid's step ends within a row.
      const nines = device.view(numbers, 0, [rows, 9], 10)
      return { sum: reduce(numbers, 'sum'), twice: add(row, row), nines: add(nines, nines) }
    })
    t.is((await device.readFloat64(results.sum))[0], sum, label)
    const twice = await device.readFloat32(results.twice)
    t.is(
      twice.findIndex((value, i) => value !== 2 * x[i]!),
      -1,
      label,
    )
    const nines = await device.readFloat32(results.nines)
    const wrong = nines.findIndex((value, i) => value !== 2 * x[Math.floor(i / 9) * 10 + (i % 9)]!)
    t.is(wrong, -1, `${label}: rows of nine`)
  }
})

test('NaN and infinities: the sums pass them on, the largest magnitude is NaN with NaN, the count is their number', async t => {
  const { NaN: nan, POSITIVE_INFINITY: infinity } = Number
  const expected: [number[], Record<Reduction, number>][] = [
    [[1, nan, 2], { sum: nan, 'sum-of-squares': nan, 'largest-absolute': nan, 'non-finite': 1 }],
    [
      [1, -infinity],
      { sum: -infinity, 'sum-of-squares': infinity, 'largest-absolute': infinity, 'non-finite': 1 },
    ],
    [
      [infinity, -infinity, 3],
      { sum: nan, 'sum-of-squares': infinity, 'largest-absolute': infinity, 'non-finite': 2 },
    ],
    [
      [-3e38, 3e38, 3e38],
      {
        sum: Math.fround(3e38),
        'sum-of-squares': 3 * Math.fround(3e38) ** 2,
        'largest-absolute': Math.fround(3e38),
        'non-finite': 0,
      },
    ],
    [[-5, 4], { sum: -1, 'sum-of-squares': 41, 'largest-absolute': 5, 'non-finite': 0 }],
  ]
  for (const { device, label } of devices.all) {
    for (const [numbers, results] of expected) {
      // Far from the start too, where whole vectors are read.
      for (const before of [0, 100]) {
        for (const kind of Object.keys(results) as Reduction[]) {
          const out = device.scope(() =>
            reduce(device.float32(Float32Array.from([...new Array(before).fill(0), ...numbers])), kind),
          )
          t.is((await device.readFloat64(out))[0], results[kind], `${label}: ${kind} of ${numbers}`)
        }
      }
    }
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const [x, other] = [device.zeros([3, 4]), device.zeros([3, 5])]
  await refusesArguments(t, device, 'reduce', [
    ['x', () => reduce(x, 'sum')],
    ['x', () => reduce(device.empty([3], 'float64'), 'sum')],
  ])
  await refusesArguments(t, device, 'add', [
    ['a', () => add(device.empty([3]), x)],
    ['b', () => add(x, other)],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  await failsOnStream(t, 'reduce', [
    [
      /no reduction has number 4/,
      device =>
        device.ops.reduce(device.handle, device.zeros([3]).handle, 4, device.empty([1], 'float64').handle),
    ],
    [
      /expected out of float64/,
      device => device.ops.reduce(device.handle, device.zeros([3]).handle, 0, device.empty([1]).handle),
    ],
  ])
  await failsOnStream(t, 'add', [
    [
      /\[3, 4\]/,
      device =>
        device.ops.addRows(
          device.handle,
          device.zeros([3, 4]).handle,
          device.zeros([3, 4]).handle,
          device.zeros([4, 3]).handle,
        ),
    ],
  ])
})
