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

/** [probability, log-probability, entropy] of each response token, by member, in float64. */
async function tokensOf(policy: Policy, groups: TrainGroup[]): Promise<number[][][]> {
  const members = groups.flatMap(group => group.members)
  return (await policy.logProbs(members)).map(({ logProbs, entropy }) =>
    Array.from(logProbs, (logProb, i) => [Math.exp(logProb), logProb, entropy[i] as number]),
  )
}

const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0)
const near = (got: number | undefined, expected: number) =>
  Math.abs((got as number) - expected) < 1e-6 * Math.max(1, Math.abs(expected))

test('luffy: -A r on moved samples, -A p/(p + gamma) on a longer demonstration and on a prefix, less entropy', async t => {
  await using policy = await tinyPolicy()
  const old = Float32Array.of(-2.5, -1.75, -3)
  const groups = [
    {
      members: [
        member([3, 4, 0], 0, { oldLogProbs: old }),
        member([5, 0], 1),
        member([9, 8, 7, 6, 5, 4, 0], 1, { offPolicy: true, mask: mask(1, 1, 0, 1, 1, 1, 1) }),
      ],
    },
    { members: [member([6, 6], 0), member([2, 3, 4, 5], 1, { offPolicy: mask(1, 1, 0, 0) })] },
  ]
  const [a, b, demonstration, c, continued] = (await tokensOf(policy, groups)) as number[][][]
  const gamma = 0.3
  const f = ([p]: number[]) => (p as number) / ((p as number) + gamma)
  const counted = demonstration!.filter((_, i) => i !== 2)
  // means 2/3 and 1/2; five sequences, the longest response has 7 tokens
  const losses = [
    ...a!.map(([, logProb], i) => (2 / 3) * Math.exp((logProb as number) - (old[i] as number))),
    ...b!.map(() => -1 / 3),
    ...counted.map(token => (-1 / 3) * f(token)),
    ...c!.map(() => 1 / 2),
    ...continued!.map((token, i) => (-1 / 2) * (i < 2 ? f(token) : 1)),
  ]
  const entropies = [...a!, ...b!, ...counted, ...c!, ...continued!].map(token => token[2] as number)
  const expected = total(losses) / (7 * 5) - (0.02 * total(entropies)) / 17
  const { metrics } = await step(policy, groups, {
    method: 'luffy',
    objective: { shaping: { kind: 'regularized', gamma }, entropyCoef: 0.02 },
  })
  t.true(near(metrics.loss, expected), `${metrics.loss} ${expected}`)
  t.deepEqual([metrics.onPolicyTokens, metrics.offPolicyTokens], [9, 8])
})

test('chord after its warm-up: (1 - mu) of clipped means of sequences and mu of -p (1 - p) log p', async t => {
  await using policy = await tinyPolicy()
  const old = Float32Array.of(-3, -1.5, -4, -2)
  const groups = [
    {
      members: [
        member([3, 4, 7, 0], 1, { oldLogProbs: old }),
        member([5, 0], 0),
        member([9, 8, 7, 0], 1, { offPolicy: true }),
      ],
    },
    { members: [member([6], 1), member([6, 0], 1), member([2, 3, 4, 5, 6, 0], 1, { offPolicy: true })] },
  ]
  const [a, , first, , , second] = (await tokensOf(policy, groups)) as number[][][]
  const advantage = 0.5 / (Math.sqrt(0.5) + 1e-6)
  const ratios = a!.map(([, logProb], i) => Math.exp((logProb as number) - (old[i] as number)))
  const clipped =
    total(ratios.map(r => Math.max(-advantage * r, -advantage * Math.min(1.2, Math.max(0.8, r))))) / 4
  const supervised = [...first!, ...second!].map(([p, logProb]) => -p! * (1 - p!) * logProb!)
  // step 3 is i = 2: x = (2 - 1) / 4
  const mu = 0.1 + (0.6 - 0.1) * 0.5 * (1 + Math.cos(Math.PI / 4))
  const expected = ((1 - mu) * (clipped + advantage)) / 4 + (mu * total(supervised)) / 10
  await using trainer = await Trainer.create(policy, {
    method: 'chord',
    methodOptions: { muPeak: 0.6, muValley: 0.1, muWarmupSteps: 1, muDecaySteps: 4 },
    optimizer: { learningRate: 0 },
  })
  const metrics = await trainer.trainStep(groups, { step: 3 })
  t.true(near(metrics.loss, expected), `${metrics.loss} ${expected}`)
  t.true((metrics.clipFraction as number) > 0)
})
