// policyLoss, logitsPolicyLoss and groupAdvantages against every golden case, at the tolerances of golden/README.md.
import test from 'ava'
import { type Baseline, Device, groupAdvantages, logitsPolicyLoss, policyLoss } from '../../lib/index.js'
import { openTestDevice, testDevices } from '../_helpers/devices.js'
import { type GoldenConfig, goldenObjective, matrix, readGolden, relativeError } from '../_helpers/golden.js'

interface LossCase {
  name: string
  config: GoldenConfig
  logProbs: number[][]
  oldLogProbs: number[][]
  advantages: number[][]
  mask: number[][]
  offPolicyMask: number[][]
  refLogProbs?: number[][]
  teacherProbs?: number[][]
  expected: { loss: number; gradLogProbs: number[][]; metrics: Record<string, number> }
}

interface LogitsCase extends Omit<LossCase, 'logProbs' | 'expected'> {
  temperature: number
  vocabulary: number
  logits: number[][][]
  tokens: number[][]
  expected: {
    loss: number
    logProbs: number[][]
    entropy: number[][]
    gradLogits: number[][][]
    metrics?: Record<string, number>
  }
}

interface AdvantageCase {
  name: string
  baseline: Baseline
  epsilon: number
  rewards: number[]
  group: number[]
  offPolicy: number[]
  expected: number[]
}

const tolerance = 1e-5
const lossCases = readGolden<LossCase[]>('policy-loss.json')
const logitsCases = readGolden<LogitsCase[]>('policy-loss-from-logits.json')
const advantageCases = readGolden<AdvantageCase[]>('group-advantages.json')

function common(c: LossCase | LogitsCase) {
  return {
    oldLogProbs: matrix(c.oldLogProbs),
    advantages: matrix(c.advantages),
    mask: matrix(c.mask),
    offPolicyMask: matrix(c.offPolicyMask),
    ...(c.refLogProbs ? { refLogProbs: matrix(c.refLogProbs) } : {}),
    ...(c.teacherProbs ? { teacherProbs: matrix(c.teacherProbs) } : {}),
  }
}

test('there are cases', t => {
  t.true(lossCases.length >= 9 && logitsCases.length >= 4 && advantageCases.length >= 4)
})

for (const place of testDevices) {
  for (const c of lossCases) {
    test(`policyLoss ${c.name}, ${place.label}`, async t => {
      await using device = await openTestDevice(place)
      const inputs = { logProbs: matrix(c.logProbs), ...common(c) }
      const result = await policyLoss(device, inputs, goldenObjective(c.config))
      t.true(Math.abs(result.loss / c.expected.loss - 1) < tolerance, `${result.loss} ${c.expected.loss}`)
      t.true(relativeError(result.gradLogProbs.data, c.expected.gradLogProbs.flat()) < tolerance)
      for (const [name, expected] of Object.entries(c.expected.metrics)) {
        const got = (result.metrics as unknown as Record<string, number>)[name] as number
        t.true(
          Math.abs(got - expected) <= tolerance * Math.max(1e-3, Math.abs(expected)),
          `${name} ${got} ${expected}`,
        )
      }
    })
  }
  for (const c of logitsCases) {
    test(`logitsPolicyLoss ${c.name}, ${place.label}`, async t => {
      await using device = await openTestDevice(place)
      const shape = [c.tokens.length, c.tokens[0]?.length ?? 0]
      const result = await logitsPolicyLoss(
        device,
        {
          logits: { data: Float32Array.from(c.logits.flat(2)), shape: [...shape, c.vocabulary] },
          tokens: { data: Int32Array.from(c.tokens.flat()), shape },
          temperature: c.temperature,
          ...common(c),
        },
        goldenObjective(c.config),
      )
      t.true(Math.abs(result.loss / c.expected.loss - 1) < tolerance, `${result.loss} ${c.expected.loss}`)
      t.true(relativeError(result.logProbs.data, c.expected.logProbs.flat()) < tolerance)
      t.true(relativeError(result.entropy.data, c.expected.entropy.flat()) < tolerance)
      t.true(relativeError(result.gradLogits.data, c.expected.gradLogits.flat(2)) < tolerance)
    })
  }
}

test('policyCoef is a factor on loss and gradient', async t => {
  const [c] = lossCases as [LossCase]
  await using device = await Device.open('cpu', { threads: 1 })
  const inputs = { logProbs: matrix(c.logProbs), ...common(c) }
  const objective = { ...goldenObjective(c.config), klCoef: 0 }
  const whole = await policyLoss(device, inputs, objective)
  const half = await policyLoss(device, inputs, { ...objective, policyCoef: 0.5 })
  t.true(whole.loss !== 0 && Math.abs(half.loss / whole.loss - 0.5) < tolerance)
  t.true(
    relativeError(
      half.gradLogProbs.data,
      [...whole.gradLogProbs.data].map(x => x / 2),
    ) < tolerance,
  )
})

for (const c of advantageCases) {
  test(`groupAdvantages ${c.name}`, async t => {
    const { rewards, group: groups, offPolicy, baseline, epsilon } = c
    for (const place of [undefined, ...testDevices]) {
      await using device = place && (await openTestDevice(place))
      const got = await groupAdvantages({ rewards, groups, offPolicy }, { baseline, epsilon }, device)
      c.expected.forEach((expected, i) => {
        t.true(
          Math.abs((got[i] as number) - expected) <= 1e-6 * Math.max(1, Math.abs(expected)),
          `${place?.label}, ${i}: ${got[i]} ${expected}`,
        )
      })
    }
  })
}

test('wrong inputs are named, and nothing is computed', async t => {
  await using device = await Device.open('cpu', { threads: 1 })
  const c = lossCases[0] as LossCase
  const inputs = { logProbs: matrix(c.logProbs), ...common(c) }
  const wrong = { ...inputs, advantages: { data: new Float32Array(3), shape: [1, 3] } }
  await t.throwsAsync(policyLoss(device, wrong), {
    instanceOf: RangeError,
    message: /advantages.*\[4,24\].*\[1,3\]/,
  })
  await t.throwsAsync(policyLoss(device, inputs, { clipp: { low: 0.2, high: 0.2 } } as object), {
    message: /unknown option "clipp".*did you mean "clip"/,
  })
  await t.throwsAsync(policyLoss(device, inputs, { klCoef: 0.1 }), { message: /refLogProbs/ })
  await t.throwsAsync(policyLoss(device, inputs, { entropyCoef: 0.1 }), { message: /logitsPolicyLoss/ })
  await t.throwsAsync(policyLoss(device, inputs, { shaping: { kind: 'regularised' as 'none' } }), {
    message: /did you mean "regularized"/,
  })
})
