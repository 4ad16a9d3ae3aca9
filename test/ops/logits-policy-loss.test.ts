// logits-policy-loss: every option against float64, gradients against differences of the loss, the bits of the ops it
// fuses, and probabilities that underflow.
import test from 'ava'
import { logitsPolicyLossKernel } from '../../lib/ops/logits-policy-loss.js'
import { createMetricSums, policyLossKernel } from '../../lib/ops/policy-loss.js'
import { metricSums, TokenKind } from '../../lib/ops/policy-objective.js'
import { tokenLogProb } from '../../lib/ops/token-log-prob.js'
import { CounterRandom } from '../../lib/random.js'
import { dataOf } from '../_cases/case.js'
import { bfloat16Cases, cases, logitsLossCase } from '../_cases/logits-policy-loss.js'
import { plainObjective, variants } from '../_cases/policy-loss.js'
import { isClose, sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { finiteDifferences } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { runCase, testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  logits: 8e-7, // 2.1e-7
  logProbs: 2.4e-7, // 6.0e-8
  entropy: 6e-7, // 1.7e-7
  metrics: 1.2e-7, // 3.1e-8
})

// The gradient takes the place of the logits; the rest is float32.
testBfloat16(test, devices, bfloat16Cases, { logProbs: 2.4e-7, entropy: 6e-7, metrics: 1.2e-7 })

test('gradients are those of the loss with its entropy bonus, by differences', async t => {
  for (const [i, { name, objective, targets }] of variants.entries()) {
    // Where the clip of one token binds, the loss has a corner: differences must not step over it, hence a fixed seed.
    const entropyShare = 0.05
    const oneCase = logitsLossCase({
      rows: 5,
      v: 7,
      temperature: 0.8,
      name,
      objective: { ...objective, entropyShare },
      targets: { ...targets },
    })
    const inputs = oneCase.make(new CounterRandom(22, 'differences', i))
    for (let r = 0; r < 5; r++) {
      // p / p_detached stays 1 while its gradient does not: these tokens have their old log-probability.
      if (inputs.oldLogProbs && Number.isNaN(inputs.oldLogProbs.data[r])) inputs.oldLogProbs.data[r] = -2.5
      if (!inputs.oldLogProbs && inputs.kinds!.data[r] === TokenKind.onPolicy)
        inputs.kinds!.data[r] = TokenKind.offPolicy
      // So is the weight of a supervised token: a number to its gradient, but not to differences.
      if (objective.supervisedWeight && inputs.kinds!.data[r] === TokenKind.supervised)
        inputs.kinds!.data[r] = TokenKind.offPolicy
      if (inputs.kinds!.data[r] === TokenKind.masked) {
        for (const tensor of Object.values(inputs))
          if (tensor.shape.length === 1 && Number.isNaN(tensor.data[r])) tensor.data[r] = 0.5
      }
    }
    const { logits } = await runCase(devices.best, oneCase, inputs)
    const loss = async (data: Float32Array) => {
      const { metrics } = await runCase(devices.best, oneCase, {
        ...inputs,
        logits: { ...inputs.logits!, data },
      })
      return metrics![0]! - entropyShare * metrics![1]!
    }
    isClose(
      t,
      name,
      logits!,
      await finiteDifferences(dataOf(inputs, 'logits') as Float32Array, 0.01, loss),
      1e-4,
    )
  }
})

test('log-probabilities, entropy and metrics have the bits of token-log-prob and policy-loss', async t => {
  const [rows, v] = [131, 2111]
  const oneCase = logitsLossCase({
    rows,
    v,
    temperature: 0.7,
    targets: { reference: true },
    objective: { klCoef: 0.1, shaping: 1 },
  })
  for (const { device, label } of devices.all) {
    const inputs = oneCase.make(new CounterRandom(23, 'bits'))
    const fused = await runCase(device, oneCase, inputs)
    const results = device.scope(() => {
      const tokens = device.int32(dataOf(inputs, 'tokens') as Int32Array)
      const logits = device.float32(dataOf(inputs, 'logits') as Float32Array, [rows, v])
      return {
        all: tokenLogProb(undefined, logits, tokens, 0.7),
        row: tokenLogProb(undefined, logits.rowRange(77, 78), tokens.rowRange(77, 78), 0.7),
      }
    })
    const logProbs = await device.readFloat32(results.all.logProbs)
    sameBits(t, `${label}: logProbs`, fused.logProbs!, logProbs)
    sameBits(t, `${label}: entropy`, fused.entropy!, await device.readFloat32(results.all.entropy))
    sameBits(t, `${label}: row 77`, await device.readFloat32(results.row.logProbs), logProbs.slice(77, 78))
  }
})

test('a token whose probability underflows has no gradient, and its row stays finite', async t => {
  for (const { device, label } of devices.all) {
    const rows = [
      [0, -200, 1],
      [0, Number.NEGATIVE_INFINITY, 1],
    ]
    const tensors = device.scope(() => {
      const logits = device.float32(Float32Array.from(rows.flat()), [2, 3])
      const metrics = createMetricSums(device)
      const ones = device.float32(Float32Array.of(1, 1))
      const targets = { advantages: ones, weights: ones, kinds: device.uint8(Uint8Array.of(2, 2)) }
      const tokens = device.int32(Int32Array.of(1, 1))
      const { logProbs } = logitsPolicyLossKernel(
        logits,
        tokens,
        1,
        targets,
        { ...plainObjective, shaping: 2 },
        metrics,
      )
      return { logits, logProbs, metrics }
    })
    t.deepEqual(
      Array.from(await device.readFloat32(tensors.logits), x => x + 0),
      [0, 0, 0, 0, 0, 0],
      label,
    )
    t.is((await device.readFloat32(tensors.logProbs))[1], Number.NEGATIVE_INFINITY)
    const metrics = await device.readFloat64(tensors.metrics)
    t.is(metrics[metricSums.indexOf('offPolicyUnderflow')], 2)
    t.is(metrics[metricSums.indexOf('nonFinite')], 0)
  }
})

test('rows that are not finite are counted, and masked ones are not', async t => {
  const device = devices.best
  const tensors = device.scope(() => {
    const logits = device.float32(new Float32Array(6).fill(Number.NaN), [2, 3])
    const metrics = createMetricSums(device)
    const ones = device.float32(Float32Array.of(1, 1))
    const targets = {
      advantages: ones,
      weights: ones,
      kinds: device.uint8(Uint8Array.of(TokenKind.masked, TokenKind.supervised)),
    }
    logitsPolicyLossKernel(logits, device.zeros([2], 'int32'), 1, targets, plainObjective, metrics)
    return { logits, metrics }
  })
  t.deepEqual(
    (await device.readFloat32(tensors.logits)).slice(0, 3),
    new Float32Array(3),
    'a masked row has no gradient',
  )
  const metrics = await device.readFloat64(tensors.metrics)
  t.is(metrics[metricSums.indexOf('nonFinite')], 1)
  t.is(metrics[metricSums.indexOf('tokens')], 1)
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const [logits, tokens, vector, four] = [
    device.zeros([3, 5]),
    device.zeros([3], 'int32'),
    device.zeros([3]),
    device.zeros([4]),
  ]
  const metrics = createMetricSums(device)
  const targets = { advantages: vector, weights: vector, kinds: device.uint8(new Uint8Array(3)) }
  const run = (changed: object, x = logits, ids = tokens) =>
    logitsPolicyLossKernel(x, ids, 1, { ...targets, ...changed }, plainObjective, metrics)
  await refusesArguments(t, device, 'logits-policy-loss', [
    ['logits', () => run({}, vector)],
    ['logits', () => run({}, device.empty([3, 5], 'float16'))],
    ['tokens', () => run({}, logits, vector)],
    ['tokens', () => run({}, logits, device.empty([4], 'int32'))],
    ['advantages', () => run({ advantages: four })],
    ['weights', () => run({ weights: tokens })],
    ['kinds', () => run({ kinds: tokens })],
    ['oldLogProbs', () => run({ oldLogProbs: four })],
    ['refLogProbs', () => run({ refLogProbs: four })],
    ['teacherProbs', () => run({ teacherProbs: four })],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  const run =
    (token: number, temperature: number, options = {}) =>
    (device: (typeof devices)['best']) => {
      const one = device.zeros([1])
      const targets = { advantages: one, weights: one, kinds: device.uint8(Uint8Array.of(1)) }
      const ids = device.int32(Int32Array.of(token))
      logitsPolicyLossKernel(
        device.zeros([1, 5]),
        ids,
        temperature,
        targets,
        { ...plainObjective, ...options },
        createMetricSums(device),
      )
    }
  await failsOnStream(t, 'logits-policy-loss', [
    [/tokens\[0\] is 5, outside a vocabulary of 5/, run(5, 1)],
    [/tokens\[0\] is -1/, run(-1, 1)],
    [/temperature above 0, got 0/, run(0, 0)],
    [/klCoef 1 needs refLogProbs/, run(0, 1, { klCoef: 1 })],
  ])
  // The plain loss says the same of the same objective.
  await failsOnStream(t, 'policy-loss', [
    [
      /klCoef 1 needs refLogProbs/,
      device => {
        const one = device.zeros([1])
        const targets = { advantages: one, weights: one, kinds: device.uint8(Uint8Array.of(1)) }
        policyLossKernel(one, targets, { ...plainObjective, klCoef: 1 }, createMetricSums(device))
      },
    ],
  ])
})
