// rms-norm: against float64, gradients through the tape with and without a residual, bits of single rows.
import test from 'ava'
import { rmsNorm } from '../../lib/ops/rms-norm.js'
import { CounterRandom } from '../../lib/random.js'
import { normal } from '../_cases/case.js'
import { bfloat16Cases, cases } from '../_cases/rms-norm.js'
import { differs, sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { checkGradients } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  out: 5e-7, // 1.7e-7
  sum: 2e-7, // 5.3e-8
  rstd: 2.5e-7, // 7.2e-8
  x: 3e-7, // 9.0e-8
  residual: 1.2e-7, // 3.0e-8
  gradX: 4e-7, // 1.1e-7
  gradOut: 2.8e-7, // 7.1e-8
  gradSum: 5e-7, // 1.5e-7
  gradWeight: 4e-6, // 1.3e-6, sums of 70,001 terms
})

// Of the largest magnitude.
testBfloat16(test, devices, bfloat16Cases, { rstd: 2.5e-7, gradWeight: 1e-6 })

test('gradients without a residual, by groups of columns', async t => {
  const random = new CounterRandom(7, 'rms-norm')
  await checkGradients(t, devices.best, {
    inputs: { x: normal(random, [3, 10]), weight: normal(random, [5]) },
    forward: (tape, { x, weight }) => [rmsNorm(tape, x!.value, undefined, weight!, 1e-6).out],
    tolerance: 2e-5,
  })
})

test('gradients with a residual: the sum is an output too, and what reaches it is added', async t => {
  const random = new CounterRandom(8, 'rms-norm')
  await checkGradients(t, devices.best, {
    inputs: { x: normal(random, [3, 6]), residual: normal(random, [3, 6]), weight: normal(random, [6]) },
    forward(tape, { x, residual, weight }) {
      const { out, sum } = rmsNorm(tape, x!.value, residual!.value, weight!, 1e-6)
      return [out, sum]
    },
    tolerance: 2e-5,
  })
})

test('a row alone has the bits it has in a batch; epsilon matters', async t => {
  const random = new CounterRandom(9, 'rms-norm')
  const x = normal(random, [131, 123]).data as Float32Array
  const w = normal(random, [123]).data as Float32Array
  for (const { device, label } of devices.all) {
    const results = device.scope(() => {
      const value = device.float32(w)
      const weight = { value, gradient: value }
      const batch = device.float32(x, [131, 123])
      return {
        batch: rmsNorm(undefined, batch, undefined, weight, 1e-6).out,
        row: rmsNorm(undefined, batch.rowRange(77, 78), undefined, weight, 1e-6).out,
        other: rmsNorm(undefined, batch, undefined, weight, 0.1).out,
      }
    })
    const batch = await device.readFloat32(results.batch)
    sameBits(t, `${label}: row 77`, await device.readFloat32(results.row), batch.slice(77 * 123, 78 * 123))
    t.true(differs(await device.readFloat32(results.other), batch), label)
  }
})

test('a row of zeros stays zero and finite', async t => {
  for (const { device, label } of devices.all) {
    const out = device.scope(() => {
      const weight = { value: device.float32(Float32Array.of(1, 2, 3)), gradient: device.zeros([3]) }
      return rmsNorm(undefined, device.zeros([2, 3]), undefined, weight, 1e-6).out
    })
    t.deepEqual(await device.readFloat32(out), new Float32Array(6), label)
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const parameter = (shape: number[]) => ({ value: device.zeros(shape), gradient: device.zeros(shape) })
  const [x, other, vector] = [device.zeros([3, 4]), device.zeros([3, 5]), device.zeros([4])]
  const [weight, wrong, square, none] = [parameter([4]), parameter([3]), parameter([2, 2]), parameter([0])]
  await refusesArguments(t, device, 'rms-norm', [
    ['x', () => rmsNorm(undefined, vector, undefined, weight, 1e-6)],
    ['x', () => rmsNorm(undefined, x, undefined, wrong, 1e-6)],
    ['x', () => rmsNorm(undefined, x, undefined, none, 1e-6)],
    ['weight', () => rmsNorm(undefined, x, undefined, square, 1e-6)],
    ['residual', () => rmsNorm(undefined, x, other, weight, 1e-6)],
    ['residual', () => rmsNorm(undefined, x, device.empty([3, 4], 'int32'), weight, 1e-6)],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  await failsOnStream(t, 'rms-norm', [
    [
      /epsilon is -1/,
      device => {
        const weight = { value: device.zeros([4]), gradient: device.zeros([4]) }
        rmsNorm(undefined, device.zeros([3, 4]), undefined, weight, -1)
      },
    ],
    [
      /expected rstd of rank 1 \[3/,
      device => {
        const matrix = device.zeros([3, 4]).handle
        const [weight, rstd, out] = [
          device.zeros([4]).handle,
          device.zeros([2]).handle,
          device.zeros([3, 4]).handle,
        ]
        device.ops.rmsNormForward(device.handle, matrix, null, weight, 1e-6, null, out, rstd)
      },
    ],
  ])
})
