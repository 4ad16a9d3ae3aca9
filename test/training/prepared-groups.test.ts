// Groups that are prepared once and trained on in parts: the same numbers, read from the caller a single time.
import test from 'ava'
import { type GroupMember, type Policy, type StepMetrics, Trainer, type TrainGroup } from '../../lib/index.js'
import { bits, randomTokens, tinyPolicies, withPolicy } from '../_helpers/policies.js'

const optimizer = { learningRate: 1e-2 }

function groups(): TrainGroup[] {
  return [1, 2, 3, 4].map(seed => ({
    members: [0, 1, 2].map(m => ({
      tokens: randomTokens(9 + m, 10 * seed + m),
      promptLength: 4,
      offPolicy: m === 2,
      reward: (m + seed) % 2,
    })),
  }))
}

/** Metrics that do not depend on the clock, and the parameters' bits. */
async function outcome(policy: Policy, updates: StepMetrics[]) {
  const timeless = updates.map(({ updateSeconds: _, tokensPerSecond: __, ...rest }) => rest)
  return { timeless, parameters: bits(await policy.device.readFloat32(policy.model.values)) }
}

test('updates on parts of prepared groups are those on the groups with their advantages, to the bit', async t => {
  const plain = await withPolicy(tinyPolicies.qwen2, {}, async policy => {
    await using trainer = await Trainer.create(policy, { method: 'luffy', optimizer })
    const advantages = await trainer.advantages(groups())
    const given = groups().map(({ members }, g) => ({
      members: members.map((member, m) => ({ ...member, advantage: advantages[g]?.[m] as number })),
    }))
    return outcome(policy, [
      await trainer.trainStep(given.slice(0, 2)),
      await trainer.trainStep(given.slice(2)),
    ])
  })
  const prepared = await withPolicy(tinyPolicies.qwen2, {}, async policy => {
    await using trainer = await Trainer.create(policy, { method: 'luffy', optimizer })
    const all = await trainer.prepare(groups())
    t.is(all.length, 4)
    t.deepEqual([...all.advantages], await trainer.advantages(groups()))
    return outcome(policy, [await trainer.trainStep(all.slice(0, 2)), await trainer.trainStep(all.slice(2))])
  })
  t.deepEqual(prepared, plain)
  t.true(plain.parameters.length > 0)
})

test('prepared groups are read from the caller once, and are a copy', async t => {
  await withPolicy(tinyPolicies.qwen2, {}, async policy => {
    await using trainer = await Trainer.create(policy, { method: 'luffy', optimizer })
    let reads = 0
    const given = groups()
    const first = given[0]?.members[0] as GroupMember
    const { tokens } = first
    Object.defineProperty(first, 'tokens', {
      enumerable: true,
      get() {
        reads += 1
        return tokens
      },
    })
    const all = await trainer.prepare(given)
    t.is(reads, 1)
    tokens.fill(-1)
    await trainer.trainStep(all.slice(0, 2))
    await trainer.trainStep(all.slice(0, 2))
    t.is(reads, 1)
  })
})

test('groups of another trainer are refused', async t => {
  await withPolicy(tinyPolicies.qwen2, {}, async policy => {
    await using trainer = await Trainer.create(policy, { method: 'luffy', optimizer })
    await using other = await Trainer.create(policy, { method: 'luffy', optimizer })
    const all = await other.prepare(groups())
    await t.throwsAsync(trainer.trainStep(all), {
      instanceOf: TypeError,
      message: /^groups: expected groups that this trainer prepared/,
    })
  })
})
