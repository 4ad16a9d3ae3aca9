// rope: against float64, the rotation back, gradients, and positions that decide a row's bits alone.
import test from 'ava'
import { rope } from '../../lib/ops/rope.js'
import { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import { type Data, normal } from '../_cases/case.js'
import { bfloat16Cases, cases, ropeCase } from '../_cases/rope.js'
import { testAlignment } from '../_helpers/alignment.js'
import { differs, isClose, sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { checkGradients } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { runCase, testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  x: 2e-7, // 7.4e-8
})

testBfloat16(test, devices, bfloat16Cases)

testAlignment(test, devices, [
  ropeCase({ rows: 19, heads: 3, d: 40 }),
  ropeCase({ rows: 19, heads: 3, d: 40, inverse: true, gap: 4 }),
])

/** Angle position * (i + 1) / 10 for pair i. */
function table(device: Device, positions: number, half: number) {
  const angles = Array.from(
    { length: positions * half },
    (_, i) => (Math.floor(i / half) * ((i % half) + 1)) / 10,
  )
  return {
    cosine: device.float32(Float32Array.from(angles, Math.cos), [positions, half]),
    sine: device.float32(Float32Array.from(angles, Math.sin), [positions, half]),
  }
}

test('gradients', async t => {
  const random = new CounterRandom(10, 'rope')
  const device = devices.best
  const tables = table(device, 9, 2)
  const positions = device.int32(Int32Array.of(0, 8, 5))
  await checkGradients(t, device, {
    inputs: { x: normal(random, [3, 8]) },
    forward(tape, { x }) {
      tape?.borrow(positions)
      return [rope(tape, x!.value, positions, tables)]
    },
    tolerance: 2e-5,
  })
})

test('position 0 changes nothing, the inverse undoes, a row depends on its own position alone', async t => {
  const random = new CounterRandom(11, 'rope')
  const [rows, width, half] = [67, 48, 12]
  const x = normal(random, [rows, width]).data as Float32Array
  const places = Int32Array.from({ length: rows }, (_, i) => (i === 0 ? 0 : (i * 7) % 50))
  for (const { device, label } of devices.all) {
    const results = device.scope(() => {
      const tables = table(device, 50, half)
      const positions = device.int32(places)
      const rotate = (from: number, to: number) =>
        rope(
          undefined,
          device.float32(x.slice(from * width, to * width), [to - from, width]),
          positions.rowRange(from, to),
          tables,
        )
      const whole = rotate(0, rows)
      const alone = rotate(41, 42)
      const back = rotate(0, rows)
      device.ops.rope(
        device.handle,
        back.handle,
        positions.handle,
        tables.cosine.handle,
        tables.sine.handle,
        true,
      )
      return { whole, alone, back }
    })
    const whole = await device.readFloat32(results.whole)
    sameBits(t, `${label}: position 0`, whole.slice(0, width), x.slice(0, width))
    t.true(differs(whole.slice(width), x.slice(width)), label)
    sameBits(
      t,
      `${label}: row 41`,
      await device.readFloat32(results.alone),
      whole.slice(41 * width, 42 * width),
    )
    isClose(t, `${label}: there and back`, await device.readFloat32(results.back), x, 2e-7)
  }
})

test('devices with fused multiply-adds give the same bits', async t => {
  const oneCase = ropeCase({ rows: 19, heads: 3, d: 34 })
  const inputs = oneCase.make(new CounterRandom(21, 'rope'))
  let first: Data | undefined
  for (const { device, label } of devices.all.filter(({ isa }) => isa !== 'baseline')) {
    const { x } = await runCase(device, oneCase, inputs)
    first ??= x!
    sameBits(t, `${label}, not as on the first device`, x!, first)
  }
  t.true(devices.all.length > 0)
})

test('more pairs than a grid has threads', async t => {
  const n = 530_003
  const x = Float32Array.from({ length: 2 * n }, (_, i) => i % 1021)
  for (const { device, label } of devices.all) {
    const out = device.scope(() => {
      // A quarter turn at position 1: (a, b) becomes (-b, a).
      const tables = {
        cosine: device.float32(Float32Array.of(1, 0), [2, 1]),
        sine: device.float32(Float32Array.of(0, 1), [2, 1]),
      }
      const positions = device.int32(new Int32Array(n).fill(1))
      return rope(undefined, device.float32(x, [n, 2]), positions, tables)
    })
    const got = await device.readFloat32(out)
    const wrong = got.findIndex((value, i) => value + 0 !== (i % 2 === 0 ? 0 - x[i + 1]! : x[i - 1]!))
    t.is(wrong, -1, label)
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const [x, tables] = [device.zeros([3, 8]), table(device, 9, 2)]
  const [two, three, floats] = [device.zeros([2], 'int32'), device.zeros([3], 'int32'), device.zeros([3])]
  const shorter = table(device, 8, 2).sine
  await refusesArguments(t, device, 'rope', [
    ['positions', () => rope(undefined, x, two, tables)],
    ['positions', () => rope(undefined, x, floats, tables)],
    ['x', () => rope(undefined, device.empty([3, 10]), three, tables)],
    ['x', () => rope(undefined, device.empty([3, 8], 'int32'), three, tables)],
    ['sine', () => rope(undefined, x, three, { ...tables, sine: shorter })],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  await failsOnStream(t, 'rope', [
    [
      /positions\[1\] is 9, outside \[0, 9\)/,
      device => rope(undefined, device.zeros([2, 8]), device.int32(Int32Array.of(8, 9)), table(device, 9, 2)),
    ],
    [
      /positions\[2\] is 9, outside/,
      device =>
        rope(undefined, device.zeros([4, 16]), device.int32(Int32Array.of(8, 0, 9, -1)), table(device, 9, 2)),
    ],
    [
      /positions\[0\] is -1/,
      device =>
        rope(undefined, device.zeros([2, 8]), device.int32(Int32Array.of(-1, 0)), table(device, 9, 2)),
    ],
  ])
})
