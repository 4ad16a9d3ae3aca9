// adamw: against float64, and nothing at all when the gradient is not finite.
import test from 'ava'
import { adamw } from '../../lib/ops/adamw.js'
import { gradientNorm } from '../../lib/ops/gradient-norm.js'
import { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import { adamwCase, bfloat16Cases, cases, plainOptions } from '../_cases/adamw.js'
import { bfloat16Bits } from '../_cases/bfloat16.js'
import { float32, normal } from '../_cases/case.js'
import { testAlignment } from '../_helpers/alignment.js'
import { isClose, sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { type Results, runCase, testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
const tolerances = {
  params: 8e-7, // 2.1e-7
  firstMoment: 3.5e-7, // 9.8e-8
  secondMoment: 3e-7, // 8.3e-8
}

testCases(test, devices, cases, tolerances)

testBfloat16(test, devices, bfloat16Cases, tolerances)

testAlignment(test, devices, [adamwCase(2051)])

test('the copy in bfloat16 is the new parameters, rounded, and unchanged when nothing is', async t => {
  for (const n of [0, 5, 131]) {
    const oneCase = adamwCase(n, { step: 3 }, 1, true)
    const inputs = oneCase.make(new CounterRandom(9, 'adamw', n))
    for (const { device, label } of devices.all) {
      const { params, half } = await runCase(device, oneCase, inputs)
      t.deepEqual(half, bfloat16Bits(params as Float32Array), label)
    }
  }
  for (const { device, label } of devices.all) {
    const vector = (x: number) => device.float32(Float32Array.of(x, x, x))
    const state = { params: vector(1), grads: vector(2), firstMoment: vector(3), secondMoment: vector(4) }
    const half = device.from(Uint16Array.of(1, 2, 3), 'bfloat16')
    adamw({ ...state, half }, device.float32(Float32Array.of(0, 0, 0, 1)), plainOptions)
    t.deepEqual(await device.readBits16(half), Uint16Array.of(1, 2, 3), label)
  }
})

test('devices with fused multiply-adds give the same bits', async t => {
  const oneCase = adamwCase(1031, { step: 7 }, 0.3)
  const inputs = oneCase.make(new CounterRandom(22, 'adamw'))
  let first: Results | undefined
  for (const { device, label } of devices.all.filter(({ isa }) => isa !== 'baseline')) {
    const results = await runCase(device, oneCase, inputs)
    first ??= results
    for (const name of ['params', 'firstMoment', 'secondMoment'])
      sameBits(t, `${label}: ${name}, not as on the first device`, results[name]!, first[name]!)
  }
  t.true(devices.all.length > 0)
})

test('more elements than a grid has threads', async t => {
  const n = 2_110_007
  for (const { device, label } of devices.all) {
    const grads = Float32Array.from({ length: n }, (_, i) => (i % 3) - 1)
    const state = zeroState(device, new Float32Array(n), grads)
    const control = device.float32(Float32Array.of(1, 1, 1, 0))
    adamw(state, control, { ...plainOptions, beta1: 0.5, epsilon: 0.25, learningRate: 0.625, weightDecay: 0 })
    // 0.625 g / (|g| + 0.25) after the corrections of the first step: half of the learning rate's 1 / 1.25.
    const got = await device.readFloat32(state.params)
    const wrong = got.findIndex((value, i) => Math.abs(value + 0.5 * grads[i]!) > 1e-6)
    t.is(wrong, -1, `${label}: ${got[wrong]} for a gradient of ${grads[wrong]}`)
    for (const tensor of [control, ...Object.values(state)]) tensor.dispose()
  }
})

test('when control says that the gradient is not finite, not a bit changes', async t => {
  const oneCase = adamwCase(1031)
  for (const { device, label } of devices.all) {
    const inputs = oneCase.make(new CounterRandom(16, 'adamw'))
    inputs.grads!.data.fill(Number.NaN)
    inputs.control = float32([Number.NaN, 0, 0, 1031])
    const results = await runCase(device, oneCase, inputs)
    for (const name of ['params', 'firstMoment', 'secondMoment']) {
      sameBits(t, `${label}: ${name}`, results[name]!, inputs[name]!.data)
    }
  }
})

function zeroState(device: Device, params: Float32Array, grads: Float32Array) {
  return {
    params: device.float32(params),
    grads: device.float32(grads),
    firstMoment: device.zeros([params.length]),
    secondMoment: device.zeros([params.length]),
  }
}

test('the first step moves each parameter by the learning rate against its gradient, whatever its size', async t => {
  for (const { device, label } of devices.all) {
    const state = zeroState(device, new Float32Array(4), Float32Array.of(1e-3, -1, 100, 0))
    const control = gradientNorm(state.grads, 0)
    adamw(state, control, { ...plainOptions, epsilon: 1e-12, weightDecay: 0 })
    isClose(t, label, await device.readFloat32(state.params), [-0.01, 0.01, -0.01, 0], 1e-6)
  }
})

test('ten steps stay with float64', async t => {
  const n = 257
  const random = new CounterRandom(17, 'adamw')
  const start = normal(random, [n]).data as Float32Array
  const gradients = Array.from({ length: 10 }, () => normal(random, [n]).data as Float32Array)
  const [p, m, v] = [Float64Array.from(start), new Float64Array(n), new Float64Array(n)]
  const { learningRate, beta1, beta2, epsilon, weightDecay } = plainOptions
  gradients.forEach((grads, s) => {
    const norm = Math.sqrt(grads.reduce((sum, x) => sum + x * x, 0))
    const factor = Math.min(1, 2 / (norm + 1e-6))
    for (let i = 0; i < n; i++) {
      const g = grads[i]! * factor
      m[i] = beta1 * m[i]! + (1 - beta1) * g
      v[i] = beta2 * v[i]! + (1 - beta2) * g * g
      p[i] = p[i]! - learningRate * weightDecay * p[i]!
      p[i] =
        p[i]! -
        (learningRate * (m[i]! / (1 - beta1 ** (s + 1)))) /
          (Math.sqrt(v[i]! / (1 - beta2 ** (s + 1))) + epsilon)
    }
  })
  for (const { device, label } of devices.all) {
    const state = zeroState(device, start, new Float32Array(n))
    gradients.forEach((grads, s) => {
      device.write(state.grads, grads)
      adamw(state, gradientNorm(state.grads, 2), { ...plainOptions, step: s + 1 })
    })
    isClose(t, `${label}: params`, await device.readFloat32(state.params), p, 1e-6)
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const state = zeroState(device, new Float32Array(4), new Float32Array(4))
  const [control, three, square] = [device.zeros([4]), device.zeros([3]), device.zeros([2, 2])]
  await refusesArguments(t, device, 'adamw', [
    ['params', () => adamw({ ...state, params: square }, control, plainOptions)],
    ['grads', () => adamw({ ...state, grads: three }, control, plainOptions)],
    ['grads', () => adamw({ ...state, grads: device.empty([4], 'bfloat16') }, control, plainOptions)],
    ['firstMoment', () => adamw({ ...state, firstMoment: three }, control, plainOptions)],
    ['secondMoment', () => adamw({ ...state, secondMoment: square }, control, plainOptions)],
    ['control', () => adamw(state, three, plainOptions)],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  const step = (device: Device, options: object) =>
    adamw(zeroState(device, new Float32Array(4), new Float32Array(4)), device.zeros([4]), {
      ...plainOptions,
      ...options,
    })
  await failsOnStream(t, 'adamw', [
    [/step is 0/, device => step(device, { step: 0 })],
    [/beta/, device => step(device, { beta1: 1 })],
    [/beta/, device => step(device, { beta2: -0.1 })],
    [/epsilon/, device => step(device, { epsilon: -1 })],
  ])
})
