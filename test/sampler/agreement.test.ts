// The sampler's log-probabilities are those of policy.logProbs and of trainStep, bit for bit, whatever stood beside
// them: so the sampler's can serve as old log-probabilities without another forward pass.
import test from 'ava'
import { type Completion, Device, type GroupMember, Policy, Trainer } from '../../lib/index.js'
import { testDeviceNames } from '../_helpers/emulator.js'
import { bits, isas, randomTokens, tinyNames, tinyPolicies, withPolicy } from '../_helpers/policies.js'

// Around the edges of the cache's blocks of 64 positions.
const prompts = [1, 5, 63, 64, 65, 127, 128, 129].map((length, i) => randomTokens(length, i))
const samplesPerPrompt = 3

function sequenceOf({ promptIndex, tokens }: Completion): { tokens: Int32Array; promptLength: number } {
  const prompt = prompts[promptIndex] as Int32Array
  return { tokens: Int32Array.of(...prompt, ...tokens), promptLength: prompt.length }
}

function groupsOf(completions: readonly Completion[], old: boolean): { members: GroupMember[] }[] {
  return prompts.map((_, p) => ({
    members: completions
      .filter(completion => completion.promptIndex === p)
      .map((completion, m) => ({
        ...sequenceOf(completion),
        offPolicy: false,
        advantage: m % 2 === 0 ? 1 : -0.5,
        ...(old ? { oldLogProbs: completion.logProbs } : {}),
      })),
  }))
}

/** The gradient of trainStep, after checking that every ratio of new to old was exactly 1. */
async function gradient(policy: Policy, completions: Completion[], temperature: number, settings: object) {
  await using trainer = await Trainer.create(policy, {
    method: 'drGrpo',
    optimizer: { learningRate: 0 },
    temperature,
    ...settings,
  })
  const known = await trainer.trainStep(groupsOf(completions, true))
  const withOld = await trainer.gradients()
  await trainer.trainStep(groupsOf(completions, false))
  return { known, withOld, without: await trainer.gradients() }
}

for (const isa of testDeviceNames().includes('cpu') ? isas : []) {
  for (const threads of [1, 2]) {
    for (const name of tinyNames) {
      test(`${isa}, ${threads} threads, ${name}`, async t => {
        await withPolicy(tinyPolicies[name], { isa, threads }, async policy => {
          for (const [temperature, maxConcurrent] of [
            [1, 256],
            [0.7, 4],
            [1.3, 1],
          ] as const) {
            const completions = await policy.sample(prompts, {
              maxTokens: 4,
              temperature,
              samplesPerPrompt,
              maxConcurrent,
              seed: 3,
            })
            t.is(completions.length, prompts.length * samplesPerPrompt)
            const sequences = completions.map(sequenceOf)
            const together = await policy.logProbs(sequences, { temperature })
            const reversed = (await policy.logProbs([...sequences].reverse(), { temperature })).reverse()
            for (const [i, completion] of completions.entries()) {
              const where = `prompt ${sequences[i]?.promptLength}, temperature ${temperature}`
              t.deepEqual(bits(together[i]!.logProbs), bits(completion.logProbs), where)
              t.deepEqual(bits(reversed[i]!.logProbs), bits(completion.logProbs), where)
              t.deepEqual(bits(reversed[i]!.entropy), bits(together[i]!.entropy), where)
            }
            const first = sequences[4] as (typeof sequences)[number]
            const [alone] = await policy.logProbs([first], { temperature })
            t.deepEqual(bits(alone!.logProbs), bits(completions[4]!.logProbs))
          }
        })
      })

      test(`trainStep: ${isa}, ${threads} threads, ${name}`, async t => {
        await withPolicy(tinyPolicies[name], { isa, threads }, async policy => {
          for (const [temperature, settings] of [
            [1, {}],
            [0.7, { sharePrompts: false, maxTokensPerMicroBatch: 200 }],
            [1.3, { maxTokensPerMicroBatch: 70, gradientCheckpointing: true }],
          ] as const) {
            const options = { maxTokens: 4, temperature, samplesPerPrompt, seed: 4 }
            const completions = await policy.sample(prompts, options)
            const { known, withOld, without } = await gradient(policy, completions, temperature, settings)
            t.is(known.approxKl, 0)
            t.is(known.clipFraction, 0)
            // A ratio that is not exactly 1 for a single token would change the bits of the gradient.
            for (const [parameter, { data }] of withOld) {
              t.deepEqual(bits(data), bits(without.get(parameter)!.data), parameter)
            }
          }
        })
      })
    }
  }
}

// The emulated device is slow: the prompts around the first block's edge.
if (testDeviceNames().includes('emulated')) {
  for (const name of tinyNames) {
    test(`emulated, ${name}: sampler and trainer agree bit for bit, greedy tokens are the CPU's`, async t => {
      const few = prompts.slice(0, 4)
      const options = { maxTokens: 3, temperature: 0.7, samplesPerPrompt: 2, seed: 5 }
      const greedy = { maxTokens: 4, temperature: 0 }
      await using device = await Device.open('emulated')
      await using policy = await Policy.create(tinyPolicies[name], { device, seed: 7 })
      const completions = await policy.sample(few, options)
      t.is(completions.length, few.length * 2)
      const sequences = completions.map(sequenceOf)
      const together = await policy.logProbs(sequences, { temperature: 0.7 })
      const [alone] = await policy.logProbs([sequences[4] as (typeof sequences)[number]], {
        temperature: 0.7,
      })
      for (const [i, completion] of completions.entries()) {
        t.deepEqual(bits(together[i]!.logProbs), bits(completion.logProbs), `completion ${i}`)
      }
      t.deepEqual(bits(alone!.logProbs), bits(completions[4]!.logProbs))

      const groups = (old: boolean) => groupsOf(completions, old).filter(({ members }) => members.length > 0)
      const settings = { maxTokensPerMicroBatch: 70, gradientCheckpointing: true }
      await using trainer = await Trainer.create(policy, {
        method: 'drGrpo',
        optimizer: { learningRate: 0 },
        temperature: 0.7,
        ...settings,
      })
      const known = await trainer.trainStep(groups(true))
      t.is(known.approxKl, 0)
      t.is(known.clipFraction, 0)
      const withOld = await trainer.gradients()
      await trainer.trainStep(groups(false))
      const without = await trainer.gradients()
      for (const [parameter, { data }] of withOld) {
        t.deepEqual(bits(data), bits(without.get(parameter)!.data), parameter)
      }

      const [onDevice, onCpu] = await Promise.all([
        policy.sample(few, greedy),
        withPolicy(tinyPolicies[name], { threads: 1 }, twin => twin.sample(few, greedy)),
      ])
      t.deepEqual(
        onDevice.map(({ tokens }) => [...tokens]),
        onCpu.map(({ tokens }) => [...tokens]),
      )
    })
  }
}
