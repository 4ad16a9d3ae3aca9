// swiglu: against float64, gradients, extreme gates, and rows that depend on themselves alone.
import test from 'ava'
import { swiglu } from '../../lib/ops/swiglu.js'
import { CounterRandom } from '../../lib/random.js'
import { normal } from '../_cases/case.js'
import { bfloat16Cases, cases } from '../_cases/swiglu.js'
import { sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { checkGradients } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  out: 4e-7, // 1.0e-7
  gradGateUp: 5e-7, // 1.3e-7
  gateUp: 3.5e-7, // 9.3e-8
})

testBfloat16(test, devices, bfloat16Cases)

test('gradients', async t => {
  await checkGradients(t, devices.best, {
    inputs: { gateUp: normal(new CounterRandom(12, 'swiglu'), [3, 10]) },
    forward: (tape, { gateUp }) => [swiglu(tape, gateUp!.value)],
    tolerance: 1.6e-5,
  })
})

test('gates far from 0 give 0 or the product, and finite gradients', async t => {
  const gates = [-1e30, -1000, -104, -88.5, 0, 88.5, 104, 1000]
  const up = gates.map(() => 2)
  for (const { device, label } of devices.all) {
    const results = device.scope(() => {
      const gateUp = device.float32(Float32Array.from([...gates, ...up]), [1, 16])
      const gradient = device.empty([1, 16])
      const ones = device.float32(new Float32Array(8).fill(1), [1, 8])
      device.ops.swigluBackward(device.handle, ones.handle, gateUp.handle, gradient.handle)
      return { out: swiglu(undefined, gateUp), gradient }
    })
    const out = await device.readFloat32(results.out)
    const gradient = await device.readFloat32(results.gradient)
    for (const [i, gate] of gates.entries()) {
      const expected = gate > 0 ? 2 * gate : 0
      t.true(
        Math.abs(out[i]! - expected) <= 1e-6 * Math.max(1, expected),
        `${label}: silu(${gate}) * 2 = ${out[i]}`,
      )
      const slope = gate === 0 ? 1 : gate > 0 ? 2 : 0
      t.true(Math.abs(gradient[i]! - slope) <= 1e-6, `${label}: gradient of gate ${gate} is ${gradient[i]}`)
    }
  }
})

test('a row alone has the bits it has in a batch', async t => {
  const x = normal(new CounterRandom(13, 'swiglu'), [131, 46]).data as Float32Array
  for (const { device, label } of devices.all) {
    const results = device.scope(() => {
      const batch = device.float32(x, [131, 46])
      return { batch: swiglu(undefined, batch), row: swiglu(undefined, batch.rowRange(77, 78)) }
    })
    const batch = await device.readFloat32(results.batch)
    sameBits(t, `${label}: row 77`, await device.readFloat32(results.row), batch.slice(77 * 23, 78 * 23))
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  await refusesArguments(t, device, 'swiglu', [
    ['gateUp', () => swiglu(undefined, device.empty([4]))],
    ['gateUp', () => swiglu(undefined, device.empty([4, 6], 'float16'))],
    ['columns', () => swiglu(undefined, device.empty([4, 5]))],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  await failsOnStream(t, 'swiglu', [
    [
      /expected gateUp of rank 2 \[3, 8\], got rank 2 \[3, 6\]/,
      device =>
        device.ops.swigluForward(device.handle, device.zeros([3, 6]).handle, device.zeros([3, 4]).handle),
    ],
    [
      /expected contiguous gateUp/,
      device =>
        device.ops.swigluForward(
          device.handle,
          device.zeros([3, 9]).slice(0, 8).handle,
          device.zeros([3, 4]).handle,
        ),
    ],
  ])
})
