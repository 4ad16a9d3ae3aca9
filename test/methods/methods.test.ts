// Every method: trainStep's loss and gradient against the formula at the head of its file, written again in float64.
import test from 'ava'
import { type Method, methods, Trainer } from '../../lib/index.js'
import { tinyPolicies, withPolicy } from '../_helpers/policies.js'
import {
  checkMethod,
  clipped,
  groupsOf,
  longestOf,
  type MethodCase,
  mean,
  meanEntropy,
  type Response,
  ratio,
  sum,
  sumOver,
  tokensOf,
} from './_reference.js'

const rewards = [
  [1, 0, 0, 1],
  [0, 0, 1],
  [0, 0, 0, 0, 1],
]
const sampled = rewards.map(group => [...group.slice(0, -1), 0.5])

const rewardsOf = (group: readonly Response[]) => group.map(r => r.reward)
const samplesOf = (group: readonly Response[]) => group.filter(r => !r.demonstration)
const tracesOf = (groups: readonly Response[][]) => groups.flat().filter(r => r.demonstration)
const constant = (responses: readonly Response[]) => longestOf(responses) * responses.length

/** Sum over members of the sum over tokens of token(A, r, t), A = R - mean of the group. */
const centred = (groups: Response[][], token: (a: number, r: Response, t: number) => number) =>
  sum(groups.map(group => sumOver(group, (r, t) => token(r.reward - mean(rewardsOf(group)), r, t))))

function mixed(shape: (p: number) => number) {
  return (groups: Response[][]) =>
    centred(groups, (a, r, t) => -a * (r.demonstration ? shape(Math.exp(r.logProbs[t]!)) : ratio(r, t))) /
      constant(groups.flat()) -
    0.01 * meanEntropy(groups.flat())
}

function drGrpo(groups: Response[][]) {
  return centred(groups, (a, r, t) => clipped(a, ratio(r, t))) / constant(groups.flat())
}

function sft(groups: Response[][]) {
  const traces = tracesOf(groups)
  return sumOver(traces, (r, t) => -r.logProbs[t]!) / tokensOf(traces)
}

const cases: Record<string, MethodCase> = {
  luffy: { options: { method: 'luffy' }, rewards, demonstrations: true, loss: mixed(p => p / (p + 0.1)) },
  mixedPolicy: { options: { method: 'mixedPolicy' }, rewards, demonstrations: true, loss: mixed(p => p) },
  grpo: {
    options: { method: 'grpo' },
    rewards: sampled,
    demonstrations: false,
    loss: groups => {
      const perSequence = groups.flatMap(group => {
        const center = mean(rewardsOf(group))
        const deviation = Math.sqrt(sum(rewardsOf(group).map(x => (x - center) ** 2)) / (group.length - 1))
        return group.map(r =>
          mean(r.logProbs.map((_, t) => clipped((r.reward - center) / (deviation + 1e-6), ratio(r, t)))),
        )
      })
      return mean(perSequence)
    },
  },
  drGrpo: { options: { method: 'drGrpo' }, rewards: sampled, demonstrations: false, loss: drGrpo },
  sft: {
    options: { method: 'sft' },
    rewards,
    demonstrations: true,
    members: members => members.slice(-1),
    loss: sft,
  },
  rlWithSftLoss: {
    options: { method: 'rlWithSftLoss', objective: { sftCoef: 0.3 } },
    rewards,
    demonstrations: true,
    loss: groups => {
      const on = groups.map(samplesOf)
      return (
        centred(on, (a, r, t) => -a * ratio(r, t)) / constant(on.flat()) +
        0.3 * sft(groups) -
        0.01 * meanEntropy(groups.flat())
      )
    },
  },
  'sftThenRl, first phase': {
    options: { method: 'sftThenRl', methodOptions: { sftSteps: 4 }, objective: { entropyCoef: 0.5 } },
    step: 4,
    rewards,
    demonstrations: true,
    members: members => members.slice(-1),
    loss: sft,
  },
  'sftThenRl, second phase': {
    options: { method: 'sftThenRl', methodOptions: { sftSteps: 4 }, objective: { entropyCoef: 0.5 } },
    step: 5,
    rewards: sampled,
    demonstrations: false,
    loss: groups => drGrpo(groups) - 0.5 * meanEntropy(groups.flat()),
  },
}

for (const [name, c] of Object.entries(cases)) {
  test(`${name}: loss and gradient are those of its formula in float64`, t => checkMethod(t, c))
}

test('every method has a reference', t => {
  const referenced = new Set(Object.values(cases).map(({ options }) => options.method as string))
  t.deepEqual([...referenced].sort(), Object.keys(methods).sort())
  for (const method of Object.values(methods) as Method[]) t.true((method.minimizes ?? '').length > 10)
})

test('rlWithSftLoss: the coefficient is 1, and the demonstration moves no advantage', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async policy => {
    await using trainer = await Trainer.create(policy, { method: 'rlWithSftLoss' })
    t.is(trainer.at(1).objective.sftCoef, 1)
    const [group] = groupsOf([[1, 0, 0, 1]], true)
    t.deepEqual(await trainer.advantages([{ members: group! }]), [
      [Math.fround(2 / 3), Math.fround(-1 / 3), Math.fround(-1 / 3), 0],
    ])
    await using zero = await Trainer.create(policy, { method: 'rlWithSftLoss', objective: { sftCoef: 0 } })
    // Without its coefficient a trace is no signal.
    const alone = [{ members: group!.slice(-1) }]
    t.is((await zero.trainStep(alone)).noSignalUpdates, 1)
    t.is((await trainer.trainStep(alone)).noSignalUpdates, 0)
  })
})

test('sftThenRl: the learning rate of each step, and what changes between the phases', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async policy => {
    await using trainer = await Trainer.create(policy, {
      method: 'sftThenRl',
      methodOptions: { sftSteps: 5, sftWarmup: 0.4, sftLearningRate: 6 },
    })
    const moments = [1, 2, 3, 4, 5, 6, 7].map(step => trainer.at(step))
    t.deepEqual(
      moments.map(({ learningRate }) => learningRate),
      [3, 6, 6, 4, 2, undefined, undefined],
    )
    t.deepEqual(
      moments.map(({ method }) => method.name),
      [...Array(5).fill('sft'), 'sftThenRl', 'sftThenRl'],
    )
    t.deepEqual(
      moments.map(({ freshOptimizer, oneUpdate, scheduleStart }) => [
        freshOptimizer,
        oneUpdate,
        scheduleStart,
      ]),
      [...Array(5).fill([undefined, true, undefined]), [true, undefined, 5], [false, undefined, 5]],
    )
    await using none = await Trainer.create(policy, { method: 'sftThenRl', methodOptions: { sftSteps: 0 } })
    t.like(none.at(1), { scheduleStart: 0, freshOptimizer: false })
  })
})

test('numbers of a method are checked against what it declares', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async policy => {
    const create = (methodOptions: Record<string, number>) =>
      Trainer.create(policy, { method: 'sftThenRl', methodOptions })
    await t.throwsAsync(create({ sftStep: 3 }), { message: /methodOptions.*sftStep/ })
    await t.throwsAsync(create({ sftSteps: 1.5 }), {
      message: /methodOptions\.sftSteps: expected an integer/,
    })
    await t.throwsAsync(create({ sftWarmup: 2 }), { message: /methodOptions\.sftWarmup/ })
    await t.throwsAsync(Trainer.create(policy, { method: 'luffy', methodOptions: { gamma: 1 } }), {
      message: /methodOptions/,
    })
  })
})
