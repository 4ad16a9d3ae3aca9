// Every method: trainStep's loss and gradient against the formula at the head of its file, written again in float64.
import test from 'ava'
import { type Method, methods, type RatedMember, Trainer } from '../../lib/index.js'
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

const shaped = (x: number) => x / (x + 0.1)
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

function grpo(groups: Response[][]) {
  const perSequence = groups.flatMap(group => {
    const center = mean(rewardsOf(group))
    const deviation = Math.sqrt(sum(rewardsOf(group).map(x => (x - center) ** 2)) / (group.length - 1))
    return group.map(r =>
      mean(r.logProbs.map((_, t) => clipped((r.reward - center) / (deviation + 1e-6), ratio(r, t)))),
    )
  })
  return mean(perSequence)
}

function sft(groups: Response[][]) {
  const traces = tracesOf(groups)
  return sumOver(traces, (r, t) => -r.logProbs[t]!) / tokensOf(traces)
}

const cases: Record<string, MethodCase> = {
  luffy: { options: { method: 'luffy' }, rewards, demonstrations: true, loss: mixed(shaped) },
  mixedPolicy: { options: { method: 'mixedPolicy' }, rewards, demonstrations: true, loss: mixed(p => p) },
  grpo: { options: { method: 'grpo' }, rewards: sampled, demonstrations: false, loss: grpo },
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
  // The last member is the replayed success: its old probabilities are known.
  exgrpo: {
    options: { method: 'exgrpo' },
    rewards,
    demonstrations: true,
    members: members =>
      members.map(({ oldLogProbs, ...m }) =>
        m.offPolicy
          ? { ...m, teacherProbs: oldLogProbs!.map(Math.exp) }
          : { ...m, oldLogProbs: oldLogProbs! },
      ),
    loss: groups =>
      centred(groups, (a, r, t) => -a * (r.demonstration ? shaped(ratio(r, t)) : ratio(r, t))) /
        constant(groups.flat()) -
      0.01 * meanEntropy(groups.flat()),
  },
  chord: {
    options: {
      method: 'chord',
      methodOptions: { muPeak: 0.8, muValley: 0.1, muWarmupSteps: 2, muDecaySteps: 10 },
    },
    step: 6,
    rewards,
    demonstrations: true,
    loss: groups => {
      const mu = 0.1 + (0.7 * (1 + Math.cos(Math.PI * 0.3))) / 2
      const traces = tracesOf(groups)
      const phi = (r: Response, t: number) => {
        const p = Math.exp(r.fixedLogProbs[t]!)
        return p * (1 - p)
      }
      const supervised = sumOver(traces, (r, t) => -phi(r, t) * r.logProbs[t]!) / tokensOf(traces)
      return (1 - mu) * grpo(groups.map(samplesOf)) + mu * supervised
    },
  },
  // Of the second prompt no sample is right: its trace is learned; of the others the samples.
  hpt: {
    options: { method: 'hpt', objective: { sftCoef: 0.7 } },
    rewards: [
      [1, 0, 0, 1],
      [0, 0, 1],
      [0, 1, 1, 0, 1],
    ],
    demonstrations: true,
    members: members =>
      methods.hpt.choose!(
        members.map((m, i) => ({ ...m, source: i === members.length - 1 ? 'demonstration' : 'sample' })),
        { gate: 0 },
      ).map(({ source: _, ...m }) => m),
    loss: groups => {
      const on = [samplesOf(groups[0]!), samplesOf(groups[2]!)]
      return drGrpo(on) + 0.7 * sft([groups[1]!])
    },
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

test('chord: mu rises, falls along a cosine and stays', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async policy => {
    const share = async (methodOptions: Record<string, number>, steps: number[]) => {
      await using trainer = await Trainer.create(policy, { method: 'chord', methodOptions })
      return steps.map(step => {
        const { policyCoef, sftCoef } = trainer.at(step).objective
        t.true(Math.abs(policyCoef + sftCoef - 1) < 1e-15)
        return Math.round(1e9 * sftCoef) / 1e9
      })
    }
    const numbers = { muPeak: 0.8, muValley: 0.2, muWarmupSteps: 4, muDecaySteps: 6 }
    t.deepEqual(await share(numbers, [1, 2, 5, 8, 11, 99]), [0, 0.2, 0.8, 0.5, 0.2, 0.2])
    t.deepEqual(await share({ muPeak: 0.3, muValley: 0.3, muWarmupSteps: 0 }, [1, 7, 70]), [0.3, 0.3, 0.3])
    t.deepEqual(await share({ ...numbers, muWarmupSteps: 0, muDecaySteps: 0 }, [1, 2]), [0.2, 0.2])
  })
})

test('hpt: which members a prompt trains on', t => {
  const group = (rewards: number[], trace: boolean): RatedMember[] =>
    groupsOf([[...rewards, 1]], true)[0]!
      .map((m, i): RatedMember => ({ ...m, source: i === rewards.length ? 'demonstration' : 'sample' }))
      .slice(0, trace ? undefined : -1)
  const chosen = (members: RatedMember[], gate: number) =>
    methods.hpt.choose!(members, { gate }).map(({ source }) => source)
  t.deepEqual(chosen(group([0, 0], true), 0), ['demonstration'])
  t.deepEqual(chosen(group([0, 1], true), 0), ['sample', 'sample'])
  t.deepEqual(chosen(group([0, 1], true), 0.5), ['demonstration'])
  t.deepEqual(chosen(group([1, 1], true), 0.5), ['sample', 'sample'])
  t.deepEqual(chosen(group([0, 0], false), 0), ['sample', 'sample'])
  // Half a point is no right answer.
  t.deepEqual(chosen(group([0, 0.5], true), 0), ['demonstration'])
})
