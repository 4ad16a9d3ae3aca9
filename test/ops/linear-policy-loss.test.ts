// linear-policy-loss: every option against float64, gradients through the tape against differences, and the bits of
// the ops it fuses.
import test from 'ava'
import { Tape } from '../../lib/autograd/tape.js'
import { linear } from '../../lib/ops/linear.js'
import { linearLogProb, linearPolicyLoss } from '../../lib/ops/linear-policy-loss.js'
import { createMetricSums } from '../../lib/ops/policy-loss.js'
import { tokenLogProb } from '../../lib/ops/token-log-prob.js'
import { CounterRandom } from '../../lib/random.js'
import { dataOf } from '../_cases/case.js'
import { bfloat16Cases, cases, linearLossCase } from '../_cases/linear-policy-loss.js'
import { plainObjective } from '../_cases/policy-loss.js'
import { isClose, sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { finiteDifferences } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { runCase, testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  logProbs: 8e-7, // 2.1e-7
  entropy: 3.5e-6, // 9.1e-7
  gradHidden: 4e-6, // 1.2e-6, sums of 65,537 terms
  gradWeight: 4e-6, // 1.1e-6
  metrics: 2e-7, // 5.2e-8
})

// The logits are rounded, hence what follows from them is held to a plain computation.
testBfloat16(test, devices, bfloat16Cases)

test('gradients on the tape are those of the loss, by differences', async t => {
  const device = devices.best
  const entropyShare = 0.05
  const objective = { ...plainObjective, shaping: 1, entropyShare, klCoef: 0.2 }
  const [rows, c, v] = [6, 3, 5]
  const oneCase = linearLossCase({ rows, c, v, temperature: 0.9, objective, targets: { reference: true } })
  const inputs = oneCase.make(new CounterRandom(24, 'differences'))
  const kinds = Uint8Array.of(1, 2, 3, 1, 2, 0)
  const column = (name: string, fill: number) =>
    Float32Array.from(dataOf(inputs, name), x => (Number.isNaN(x) ? fill : x))
  const run = async (hiddenData: Float32Array, weightData: Float32Array) => {
    const tape = new Tape(device)
    const tensors = device.keep(
      device.scope(() => {
        const hidden = device.float32(hiddenData, [rows, c])
        const weight = { value: device.float32(weightData, [v, c]), gradient: device.zeros([v, c]) }
        const metrics = createMetricSums(device)
        const targets = {
          oldLogProbs: device.float32(column('oldLogProbs', -2)),
          advantages: device.float32(column('advantages', 1)),
          weights: device.float32(column('weights', 0.1)),
          kinds: device.uint8(kinds),
          refLogProbs: device.float32(column('refLogProbs', -1)),
        }
        const tokens = device.int32(dataOf(inputs, 'tokens') as Int32Array)
        linearPolicyLoss(tape, hidden, weight, tokens, 0.9, targets, objective, metrics)
        return { gradHidden: tape.gradient(hidden), gradWeight: weight.gradient, metrics }
      }),
    )
    const metrics = await device.readFloat64(tensors.metrics)
    return {
      loss: metrics[0]! - entropyShare * metrics[1]!,
      gradHidden: await device.readFloat32(tensors.gradHidden),
      gradWeight: await device.readFloat32(tensors.gradWeight),
    }
  }
  const [hidden, weight] = [
    dataOf(inputs, 'hidden') as Float32Array,
    dataOf(inputs, 'weight') as Float32Array,
  ]
  const { gradHidden, gradWeight } = await run(hidden, weight)
  const ofHidden = await finiteDifferences(hidden, 0.02, async data => (await run(data, weight)).loss)
  const ofWeight = await finiteDifferences(weight, 0.02, async data => (await run(hidden, data)).loss)
  isClose(t, 'hidden', gradHidden, ofHidden, 4e-5)
  isClose(t, 'weight', gradWeight, ofWeight, 4e-5)
})

test('log-probabilities have the bits of the forward half, of linear and token-log-prob, and of a row alone', async t => {
  const [rows, c, v] = [131, 67, 2111]
  const oneCase = linearLossCase({ rows, c, v, temperature: 0.7, objective: { shaping: 1 } })
  for (const { device, label } of devices.all) {
    const inputs = oneCase.make(new CounterRandom(25, 'bits'))
    const fused = await runCase(device, oneCase, inputs)
    const results = device.scope(() => {
      const hidden = device.float32(dataOf(inputs, 'hidden') as Float32Array, [rows, c])
      const weight = device.float32(dataOf(inputs, 'weight') as Float32Array, [v, c])
      const tokens = device.int32(dataOf(inputs, 'tokens') as Int32Array)
      return {
        half: linearLogProb(hidden, weight, tokens, 0.7),
        parts: tokenLogProb(
          undefined,
          linear(undefined, hidden, { value: weight, gradient: weight }),
          tokens,
          0.7,
        ),
        row: linearLogProb(hidden.rowRange(77, 78), weight, tokens.rowRange(77, 78), 0.7),
      }
    })
    for (const name of ['logProbs', 'entropy'] as const) {
      sameBits(
        t,
        `${label}: ${name} of the forward half`,
        await device.readFloat32(results.half[name]),
        fused[name]!,
      )
      sameBits(
        t,
        `${label}: ${name} of the parts`,
        await device.readFloat32(results.parts[name]),
        fused[name]!,
      )
      sameBits(
        t,
        `${label}: ${name} of row 77`,
        await device.readFloat32(results.row[name]),
        fused[name]!.slice(77, 78),
      )
    }
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const tape = new Tape(device)
  const matrix = (rows: number, columns: number) => device.zeros([rows, columns])
  const [hidden, w, narrow, vector, four] = [
    matrix(3, 4),
    matrix(5, 4),
    matrix(5, 3),
    device.zeros([3]),
    device.zeros([4]),
  ]
  const tokens = device.zeros([3], 'int32')
  const metrics = createMetricSums(device)
  const targets = { advantages: vector, weights: vector, kinds: device.uint8(new Uint8Array(3)) }
  const run = (changed: object, x = hidden, weight = w, ids = tokens) =>
    linearPolicyLoss(
      tape,
      x,
      { value: weight, gradient: weight },
      ids,
      1,
      { ...targets, ...changed },
      plainObjective,
      metrics,
    )
  await refusesArguments(t, device, 'linear-policy-loss', [
    ['hidden', () => run({}, hidden, narrow)],
    ['hidden', () => run({}, vector)],
    ['weight', () => run({}, hidden, vector)],
    ['tokens', () => run({}, hidden, w, vector)],
    ['tokens', () => linearLogProb(hidden, w, four, 1)],
    ['hidden', () => linearLogProb(hidden, narrow, tokens, 1)],
    ['advantages', () => run({ advantages: four })],
    ['weights', () => run({ weights: four })],
    ['kinds', () => run({ kinds: vector })],
    ['oldLogProbs', () => run({ oldLogProbs: four })],
    ['refLogProbs', () => run({ refLogProbs: four })],
    ['teacherProbs', () => run({ teacherProbs: four })],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  await failsOnStream(t, 'linear-policy-loss', [
    [
      /tokens\[0\] is 5, outside a vocabulary of 5/,
      device => {
        const one = device.zeros([1])
        const targets = { advantages: one, weights: one, kinds: device.uint8(Uint8Array.of(1)) }
        const weight = { value: device.zeros([5, 4]), gradient: device.zeros([5, 4]) }
        const ids = device.int32(Int32Array.of(5))
        linearPolicyLoss(
          new Tape(device),
          device.zeros([1, 4]),
          weight,
          ids,
          1,
          targets,
          plainObjective,
          createMetricSums(device),
        )
      },
    ],
  ])
  await failsOnStream(t, 'linear-log-prob', [
    [
      /temperature above 0, got -1/,
      device => linearLogProb(device.zeros([1, 4]), device.zeros([5, 4]), device.zeros([1], 'int32'), -1),
    ],
  ])
})
