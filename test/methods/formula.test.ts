// What a training step must give, written down from the formulas of the methods in float64. The policy's own
// log-probabilities are the only numbers taken from the library.
import ava from 'ava'
import { type GroupMember, Policy, Trainer, type TrainerOptions, type TrainGroup } from '../../lib/index.js'

const test = ava.serial

const promptLength = 2

function member(response: number[], reward: number, more: Partial<GroupMember> = {}): GroupMember {
  return { tokens: Int32Array.of(1, 2, ...response), promptLength, offPolicy: false, reward, ...more }
}

const mask = (...values: number[]) => Uint8Array.of(...values)

function tinyPolicy(): Promise<Policy> {
  const sizes = { hiddenSize: 16, intermediateSize: 20, layers: 1, heads: 2, kvHeads: 1, maxPositions: 32 }
  return Policy.create(
    { vocabSize: 11, ...sizes, eosTokenIds: 0, initializerRange: 0.4 },
    { device: 'cpu', seed: 5 },
  )
}

async function step(policy: Policy, groups: TrainGroup[], options: TrainerOptions) {
  await using trainer = await Trainer.create(policy, { optimizer: { learningRate: 0 }, ...options })
  return { metrics: await trainer.trainStep(groups), advantages: (await trainer.advantages(groups)).flat() }
}

test('a sample whose tokens are all masked leaves the loss, not the baseline of its group', async t => {
  await using policy = await tinyPolicy()
  const cut = member([3, 4, 5], 0, { mask: mask(0, 0, 0) })
  const group = { members: [member([6, 0], 1), cut, member([7, 8, 9, 0], 1)] }
  // rewards 1, 0, 1: mean 2/3; A = 1/3 on six tokens of ratio 1, divided by the longest response times three
  const { metrics, advantages } = await step(policy, [group], { method: 'drGrpo' })
  t.true(Math.abs(Number(advantages[0]) - 1 / 3) < 1e-7)
  t.is(metrics.onPolicyTokens, 6)
  t.true(Math.abs((metrics.loss as number) + (6 * (1 / 3)) / (4 * 3)) < 1e-7, `${metrics.loss}`)
})
