// policy-loss: every option against float64, gradients against differences of the loss, and rows that are masked,
// impossible or not finite.
import test from 'ava'
import { createMetricSums, policyLossKernel } from '../../lib/ops/policy-loss.js'
import { metricSums, TokenKind } from '../../lib/ops/policy-objective.js'
import { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import { dataOf } from '../_cases/case.js'
import { cases, plainObjective, policyLossCase, variants } from '../_cases/policy-loss.js'
import { differs, isClose } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { finiteDifferences } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { runCase, testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// The formula runs in float64 and the gradient is rounded once, so each element is held to its own magnitude.
// Measured: gradients equal, sums 1.9e-15.
testCases(test, devices, cases, { gradLogProbs: { relative: 2e-7 }, metrics: { relative: 1e-14 } })

test('metrics are one sum over ascending rows: the same bits however a batch is cut into calls', async t => {
  const rows = 2600
  const inputs = policyLossCase({ rows, targets: { reference: true } }).make(new CounterRandom(26, 'cuts'))
  for (const { device, label } of devices.all) {
    const sums = async (cuts: readonly number[]) => {
      const metrics = device.scope(() => {
        const metrics = createMetricSums(device)
        for (const [i, begin] of cuts.entries()) {
          const end = cuts[i + 1] ?? rows
          const part = (name: string) =>
            device.float32((dataOf(inputs, name) as Float32Array).slice(begin, end))
          const targets = {
            oldLogProbs: part('oldLogProbs'),
            advantages: part('advantages'),
            weights: part('weights'),
            kinds: device.uint8((dataOf(inputs, 'kinds') as Uint8Array).slice(begin, end)),
            refLogProbs: part('refLogProbs'),
          }
          policyLossKernel(part('logProbs'), targets, { ...plainObjective, klCoef: 0.1 }, metrics)
        }
        return metrics
      })
      return await device.readFloat64(metrics)
    }
    const whole = await sums([0])
    t.true(whole[0] !== 0, label)
    t.deepEqual(await sums([0, 1000]), whole, label)
    t.deepEqual(await sums([0, 1, 1500, 2599]), whole, label)
  }
})

test('every option changes the loss or the gradient', async t => {
  const inputs = policyLossCase({ rows: 257, targets: { reference: true, teacher: true } }).make(
    new CounterRandom(20, 'options'),
  )
  const results = new Map<string, Float32Array>()
  for (const { name, objective, targets = {} } of variants) {
    const { oldLogProbs, refLogProbs, teacherProbs, ...rest } = inputs
    const given = {
      ...rest,
      ...(targets.old === false ? {} : { oldLogProbs: oldLogProbs! }),
      ...(targets.reference ? { refLogProbs: refLogProbs! } : {}),
      ...(targets.teacher ? { teacherProbs: teacherProbs! } : {}),
    }
    const result = await runCase(devices.best, policyLossCase({ rows: 257, objective, targets }), given)
    results.set(name, Float32Array.of(...(result.gradLogProbs as Float32Array), ...result.metrics!))
  }
  const names = [...results.keys()]
  for (const [i, a] of names.entries()) {
    for (const b of names.slice(i + 1))
      t.true(differs(results.get(a)!, results.get(b)!), `"${a}" is as "${b}"`)
  }
})

test('gradients are those of the loss, by differences', async t => {
  for (const [i, { name, objective, targets }] of variants.entries()) {
    const oneCase = policyLossCase({ rows: 31, name, objective, ...(targets ? { targets } : {}) })
    const inputs = oneCase.make(new CounterRandom(21, 'differences', i))
    const logProbs = dataOf(inputs, 'logProbs') as Float32Array
    // A step of float32 numbers that is exact: log-probabilities on a grid of 2^-14.
    for (let r = 0; r < logProbs.length; r++) logProbs[r] = Math.round(logProbs[r]! * 2 ** 14) / 2 ** 14
    const { gradLogProbs } = await runCase(devices.best, oneCase, inputs)
    const loss = async (data: Float32Array) => {
      const moved = { ...inputs, logProbs: { ...inputs.logProbs!, data } }
      return (await runCase(devices.best, oneCase, moved)).metrics![0]!
    }
    // Without old log-probabilities the ratio is p / p_detached: the loss stays, its gradient does not.
    // So with a supervised token's weight.
    const detached = (r: number) => {
      const kind = dataOf(inputs, 'kinds')[r]
      if (kind === TokenKind.supervised) return (objective.supervisedWeight ?? 0) > 0
      return kind === TokenKind.onPolicy && !((inputs.oldLogProbs?.data[r] ?? Number.NaN) > -1e9)
    }
    const skip = (values: ArrayLike<number>) => Array.from(values).filter((_, r) => !detached(r))
    isClose(t, name, skip(gradLogProbs!), skip(await finiteDifferences(logProbs, 2 ** -13, loss)), 2e-7)
    t.true(
      gradLogProbs!.some(x => x !== 0),
      name,
    )
  }
})

/** One token against the kernel: gradient and sums by name. */
async function one(
  device: Device,
  kind: number,
  logProb: number,
  advantage: number,
  options: object,
  old?: number,
) {
  const vector = (x: number) => device.float32(Float32Array.of(x))
  const metrics = createMetricSums(device)
  const gradient = policyLossKernel(
    vector(logProb),
    {
      advantages: vector(advantage),
      weights: vector(1),
      kinds: device.uint8(Uint8Array.of(kind)),
      ...(old === undefined ? {} : { oldLogProbs: vector(old) }),
    },
    { ...plainObjective, ...options },
    metrics,
  )
  const sums = await device.readFloat64(metrics)
  const named = Object.fromEntries(metricSums.map((name, i) => [name, sums[i]!]))
  return { gradient: (await device.readFloat32(gradient))[0]!, ...named } as Record<string, number>
}

test('a probability of 0 teaches nothing, whatever the shaping; probability 1 is no special case', async t => {
  for (const { device, label } of devices.all) {
    for (const shaping of [0, 1, 2, 3]) {
      for (const logProb of [-104.5, -1000, Number.NEGATIVE_INFINITY]) {
        const lost = await one(device, TokenKind.offPolicy, logProb, 1, { shaping, exponent: 0.5 })
        t.is(lost.gradient! + 0, 0, `${label}: shaping ${shaping}, ${logProb}`)
        t.is(lost.offPolicyUnderflow, 1)
        t.is(lost.nonFinite, 0)
        t.is(lost.policyLoss! + 0, 0)
      }
    }
    const sure = await one(device, TokenKind.offPolicy, 0, 1, { shaping: 1, gamma: 0.1 })
    t.true(Math.abs(sure.gradient! + 0.1 / 1.21) < 1e-7, label)
    t.true(Math.abs(sure.offPolicyRatio! - 1 / 1.1) < 1e-12, label)
  }
})

test('a clip or cap passes the gradient on its boundary and stops it beyond', async t => {
  const device = devices.best
  const clip = { clipLow: 0.5, clipHigh: 1 }
  const on = (logRatio: number, advantage: number, options: object = clip) =>
    one(device, TokenKind.onPolicy, -1, advantage, options, -1 - logRatio)
  t.is((await on(0, 1)).gradient, -1)
  t.is((await on(2, 1)).gradient! + 0, 0)
  t.is((await on(2, 1)).clipped, 1)
  t.true((await on(2, -1)).gradient! > 7, 'a negative advantage is not clipped from above')
  t.is((await on(-2, -1)).gradient! + 0, 0)
  t.true((await on(-2, 1)).gradient! < 0, 'a positive advantage is not clipped from below')
  t.is((await on(2, -1, { dualClip: 3 })).gradient! + 0, 0)
  t.is((await on(2, -1, { dualClip: 3 })).policyLoss, 3)
  t.true((await on(1, -1, { dualClip: 3 })).gradient! > 2.7)
  t.is((await on(3, 1, { logRatioClamp: 2 })).ratioClamped, 1)
  t.is((await on(3, 1, { logRatioClamp: 2 })).gradient! + 0, 0)
  t.is((await on(2, 1, { logRatioClamp: 2 })).ratioClamped, 0)
  const capped = (cap: number) => one(device, TokenKind.offPolicy, Math.log(0.5), 1, { offPolicyCap: cap })
  t.is((await capped(0.25)).offPolicyRatio, 0.25)
  t.is((await capped(0.25)).gradient! + 0, 0)
  t.true((await capped(0.75)).gradient! < -0.49)
})

test('tokens that are not finite are counted, and only they are', async t => {
  for (const { device, label } of devices.all) {
    for (const [logProb, advantage, old, count] of [
      [Number.NaN, 1, -1, 1],
      [-1, Number.NaN, -1, 1],
      [-1, Number.POSITIVE_INFINITY, -1, 1],
      [-1, 1, -200, 1], // e^199 is beyond float32
      [-1, 1, -80, 0],
    ] as const) {
      const result = await one(device, TokenKind.onPolicy, logProb, advantage, {}, old)
      t.is(result.nonFinite, count, `${label}: ${logProb}, ${advantage}, ${old}`)
      const masked = await one(device, TokenKind.masked, logProb, advantage, {}, old)
      t.deepEqual(
        Object.values(masked).map(x => x + 0),
        new Array(metricSums.length + 1).fill(0),
        `${label}: masked`,
      )
    }
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const vector = device.zeros([3])
  const metrics = createMetricSums(device)
  const targets = { advantages: vector, weights: vector, kinds: device.uint8(new Uint8Array(3)) }
  const [four, matrix] = [device.zeros([4]), device.zeros([3, 1])]
  const run = (changed: object, logProbs = vector) =>
    policyLossKernel(logProbs, { ...targets, ...changed }, plainObjective, metrics)
  await refusesArguments(t, device, 'policy-loss', [
    ['logProbs', () => run({}, matrix)],
    ['advantages', () => run({ advantages: four })],
    ['weights', () => run({ weights: device.empty([3], 'float64') })],
    ['kinds', () => run({ kinds: vector })],
    ['oldLogProbs', () => run({ oldLogProbs: four })],
    ['refLogProbs', () => run({ refLogProbs: matrix })],
    ['teacherProbs', () => run({ teacherProbs: four })],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  const run = (device: Device, options: object, kind = 1) =>
    one(device, kind, -1, 1, options).catch(() => undefined)
  await failsOnStream(t, 'policy-loss', [
    [/clipLow in \[0, 1\], got 1\.5/, device => run(device, { clipLow: 1.5 })],
    [/clipHigh/, device => run(device, { clipHigh: -1 })],
    [/dualClip above 1, or 0 for none, got 0\.5/, device => run(device, { dualClip: 0.5 })],
    [/logRatioClamp/, device => run(device, { logRatioClamp: Number.NaN })],
    [/no shaping has number 4/, device => run(device, { shaping: 4 })],
    [/gamma above 0, got 0/, device => run(device, { shaping: 1, gamma: 0 })],
    [/exponent above 0/, device => run(device, { shaping: 3, exponent: 0 })],
    [/offPolicyCap/, device => run(device, { offPolicyCap: -1 })],
    [/no supervised weight has number 3/, device => run(device, { supervisedWeight: 3 })],
    [/klCoef 1 needs refLogProbs/, device => run(device, { klCoef: 1 })],
    [/finite entropyShare/, device => run(device, { entropyShare: Number.POSITIVE_INFINITY })],
    [/kinds\[0\]: no kind of token has number 4/, device => run(device, {}, 4)],
  ])
})
