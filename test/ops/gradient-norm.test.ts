// gradient-norm: norm, clipping factor, and what it says of gradients that are not finite.
import test from 'ava'
import { gradientNorm } from '../../lib/ops/gradient-norm.js'
import { cases, gradientNormCase } from '../_cases/gradient-norm.js'
import { testAlignment } from '../_helpers/alignment.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  control: 1e-7, // 3.4e-8
})

testAlignment(test, devices, [gradientNormCase(20_001, 1), gradientNormCase(8195, 1, 5)])

test('the factor is exactly 1 below the limit and without one, and scales down to the limit above it', async t => {
  const grads = Float32Array.of(3, 0, -4)
  const factors: [maxNorm: number, factor: number][] = [
    [0, 1],
    [10, 1],
    [5.1, 1],
    [2.5, 2.5 / 5.000001],
    [1e-3, 1e-3 / 5.000001],
  ]
  for (const { device, label } of devices.all) {
    for (const [maxNorm, factor] of factors) {
      const control = device.scope(() => gradientNorm(device.float32(grads), maxNorm))
      t.deepEqual(await device.readFloat32(control), Float32Array.of(5, factor, 1, 0), `${label}: ${maxNorm}`)
    }
  }
})

test('finite gradients whose norm is not a float32 are not ok', async t => {
  for (const { device, label } of devices.all) {
    const control = device.scope(() => gradientNorm(device.float32(new Float32Array(131).fill(3e38)), 1))
    t.deepEqual(await device.readFloat32(control), Float32Array.of(Number.POSITIVE_INFINITY, 0, 0, 0), label)
    const large = device.scope(() => gradientNorm(device.float32(new Float32Array(4).fill(1e30)), 1))
    t.deepEqual(
      await device.readFloat32(large),
      Float32Array.of(2e30, 5e-31, 1, 0),
      `${label}: squares beyond float32`,
    )
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  await refusesArguments(t, device, 'gradient-norm', [
    ['grads', () => gradientNorm(device.empty([2, 2]), 1)],
    ['grads', () => gradientNorm(device.empty([4], 'bfloat16'), 1)],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  await failsOnStream(t, 'gradient-norm', [
    [/maxNorm is -1/, device => gradientNorm(device.zeros([3]), -1)],
    [/maxNorm is nan/, device => gradientNorm(device.zeros([3]), Number.NaN)],
    [
      /expected control of rank 1 \[4/,
      device => device.ops.gradientNorm(device.handle, device.zeros([3]).handle, 1, device.zeros([3]).handle),
    ],
  ])
})
