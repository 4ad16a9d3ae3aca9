// matmul: against float64 sums, and the promises about bits that its contract makes.
import test from 'ava'
import { matmul } from '../../lib/ops/matmul.js'
import { CounterRandom } from '../../lib/random.js'
import { bfloat16Tensor } from '../_cases/bfloat16.js'
import { normal } from '../_cases/case.js'
import { bfloat16Cases, cases, mixedCases } from '../_cases/matmul.js'
import { sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { isCuda, useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  out: 2e-6, // 7.1e-7
})

testBfloat16(test, devices, bfloat16Cases)
// Of the largest magnitude: float32 sums of exact products.
testBfloat16(test, devices, mixedCases, { out: 1e-6 }) // 2.6e-7

test('bfloat16: an element has the same bits in every tile, beside any rows, in any layout', async t => {
  const random = new CounterRandom(7, 'matmul')
  // Blocks of k in one tile and side by side; K is no whole number of slices.
  const [m, n, k] = [133, 136, 1000]
  const turned = (x: Uint16Array, rows: number, columns: number) =>
    Uint16Array.from(x, (_, i) => x[(i % rows) * columns + Math.floor(i / rows)]!)
  const a = bfloat16Tensor(normal(random, [m, k])).data as Uint16Array
  const b = bfloat16Tensor(normal(random, [k, n])).data as Uint16Array
  for (const { device } of devices.all.filter(isCuda)) {
    const results = device.scope(() => {
      const left = device.from(a, 'bfloat16', [m, k])
      const right = device.from(b, 'bfloat16', [k, n])
      const rightTurned = device.from(turned(b, k, n), 'bfloat16', [n, k])
      const rows = (from: number, to: number) =>
        matmul(left.rowRange(from, to), rightTurned, { transposeB: true })
      return {
        whole: matmul(left, right),
        turned: matmul(device.from(turned(a, m, k), 'bfloat16', [k, m]), right, { transposeA: true }),
        parts: [rows(0, 1), rows(5, 21), rows(60, 77), rows(132, 133)],
        columns: matmul(left, right.slice(3, 20)),
      }
    })
    const whole = await device.readBits16(results.whole)
    sameBits(t, 'transposed', await device.readBits16(results.turned), whole)
    for (const [i, [from, to]] of [
      [0, 1],
      [5, 21],
      [60, 77],
      [132, 133],
    ].entries()) {
      const part = await device.readBits16(results.parts[i]!)
      sameBits(t, `rows ${from} to ${to}`, part, whole.slice(from! * n, to! * n))
    }
    const columns = await device.readBits16(results.columns)
    const expected = Uint16Array.from(columns, (_, i) => whole[Math.floor(i / 17) * n + 3 + (i % 17)]!)
    sameBits(t, 'columns 3 to 20', columns, expected)
  }
  t.pass()
})

test('a row has the same bits whatever stands beside it, and whichever way its factors are stored', async t => {
  const random = new CounterRandom(3, 'matmul')
  const [m, n, k] = [67, 71, 1031]
  const a = normal(random, [m, k]).data as Float32Array
  const b = normal(random, [k, n]).data as Float32Array
  const turn = (x: Float32Array, rows: number, columns: number) =>
    Float32Array.from({ length: x.length }, (_, i) => x[(i % rows) * columns + Math.floor(i / rows)]!)
  for (const { device, label } of devices.all) {
    const results = device.scope(() => {
      const whole = device.float32(a, [m, k])
      const right = device.float32(b, [k, n])
      const leftTurned = device.float32(turn(a, m, k), [k, m])
      const rightTurned = device.float32(turn(b, k, n), [n, k])
      return {
        whole: matmul(whole, right),
        rows: [0, 1, 13, 66].map(r => matmul(whole.rowRange(r, r + 1), right)),
        some: matmul(whole.rowRange(5, 22), right),
        columns: matmul(whole, right.slice(3, 20)),
        turned: [
          matmul(leftTurned, right, { transposeA: true }),
          matmul(whole, rightTurned, { transposeB: true }),
          matmul(leftTurned, rightTurned, { transposeA: true, transposeB: true }),
        ],
      }
    })
    const whole = await device.readFloat32(results.whole)
    for (const [i, row] of [0, 1, 13, 66].entries()) {
      const alone = await device.readFloat32(results.rows[i]!)
      sameBits(t, `${label}: row ${row} alone`, alone, whole.slice(row * n, (row + 1) * n))
    }
    sameBits(t, `${label}: rows 5 to 22`, await device.readFloat32(results.some), whole.slice(5 * n, 22 * n))
    const columns = await device.readFloat32(results.columns)
    const expected = Float32Array.from(columns, (_, i) => whole[Math.floor(i / 17) * n + 3 + (i % 17)]!)
    sameBits(t, `${label}: columns 3 to 20`, columns, expected)
    for (const turned of results.turned) {
      sameBits(t, `${label}: transposed`, await device.readFloat32(turned), whole)
    }
  }
})

test('CUDA adds in the order of the CPU: the same bits', async t => {
  const random = new CounterRandom(4, 'matmul')
  const [m, n, k] = [67, 71, 1031]
  const a = normal(random, [m, k]).data as Float32Array
  const b = normal(random, [k, n]).data as Float32Array
  const results: Float32Array[] = []
  // The baseline instruction set has no fused multiply-add that is worth having.
  for (const { device } of devices.all.filter(({ isa }) => isa !== 'baseline')) {
    const out = device.scope(() => matmul(device.float32(a, [m, k]), device.float32(b, [k, n])))
    results.push(await device.readFloat32(out))
  }
  for (const [i, result] of results.entries()) sameBits(t, `device ${i}`, result, results[0]!)
})

test('infinities and NaN reach the elements they belong to and no others', async t => {
  for (const { device, label } of devices.all) {
    const a = Float32Array.of(1, Number.POSITIVE_INFINITY, 2, 3, Number.NaN, 0, 5, 6)
    const out = device.scope(() =>
      matmul(device.float32(a, [4, 2]), device.float32(Float32Array.of(1, 0, 0, 1), [2, 2])),
    )
    const got = Array.from(await device.readFloat32(out))
    t.deepEqual(got, [Number.NaN, Number.POSITIVE_INFINITY, 2, 3, Number.NaN, Number.NaN, 5, 6], label)
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const a = device.zeros([3, 4])
  const b = device.zeros([4, 5])
  await refusesArguments(t, device, 'matmul', [
    ['a', () => matmul(device.empty([4]), b)],
    ['a', () => matmul(device.empty([3, 4], 'int32'), b)],
    ['b', () => matmul(a, device.empty([5, 4]))],
    ['b', () => matmul(a, b, { transposeB: true })],
    ['b', () => matmul(a, b, { transposeA: true })],
    ['b', () => matmul(a, device.empty([4, 5], 'float16'))],
    ['accumulateInto', () => matmul(a, b, { accumulateInto: device.empty([3, 4]) })],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  await failsOnStream(t, 'matmul', [
    [
      /expected b of rank 2 \[4, 2\], got rank 2 \[5, 2\]/,
      device => {
        const [a, b, out] = [device.zeros([3, 4]), device.zeros([5, 2]), device.zeros([3, 2])]
        device.ops.matmul(device.handle, a.handle, b.handle, out.handle, false, false, false)
      },
    ],
  ])
})
