// A LUFFY step of 16 groups of 8 with the prompt of each group computed once, against the prompt repeated in every member.
import { Policy, type PolicyOptions, Trainer, type TrainGroup } from '../lib/index.js'
import { type Bench, type BenchCase, inTurns, type Row, timesOf } from './bench.js'
import { mediumPolicy, millions, randomTokens, smallPolicy } from './policies.js'
import { median, quantile } from './statistics.js'

const groupCount = 16
const groupSize = 8
const promptLength = 192
const responseLength = 64
const target = { floor: 1.8, aim: 2.5 }

const policies: readonly { name: string; config: PolicyOptions }[] = [
  { name: 'small', config: smallPolicy },
  { name: 'medium', config: mediumPolicy },
]

export const sharedPromptCases: readonly BenchCase[] = policies.map(({ name, config }) => ({
  name: `shared-prompts ${name}`,
  run: bench => compare(bench, config),
}))

async function compare(bench: Bench, config: PolicyOptions): Promise<Row[]> {
  const { device } = bench
  await using policy = await Policy.create(config, { device, seed: 1 })
  await using sharing = await Trainer.create(policy, { method: 'luffy', sharePrompts: true })
  await using repeating = await Trainer.create(policy, { method: 'luffy', sharePrompts: false })
  const groups = luffyGroups(policy.config.vocabSize)
  const timed = async (trainer: Trainer) => {
    const start = performance.now()
    const { skippedUpdates, noSignalUpdates } = await trainer.trainStep(groups)
    if (skippedUpdates !== 0 || noSignalUpdates !== 0) throw new Error('the update was skipped')
    return (performance.now() - start) / 1000
  }
  const paired = await inTurns(
    { ...bench, rounds: bench.quick ? 1 : 3 },
    () => timed(sharing),
    () => timed(repeating),
  )
  const seconds = timesOf(paired)
  const tokens = groupCount * groupSize * (promptLength + responseLength)
  return [
    {
      group: 'shared prompts',
      name: `LUFFY step, ${millions(policy.parameterCount)}, 16 x 8 x (${promptLength} + ${responseLength})`,
      seconds,
      rate: { value: tokens / seconds.median / 1000, unit: 'ktok/s' },
      roof: { value: tokens / median(paired.roofs) / 1000, unit: 'ktok/s', name: 'repeated prompts' },
      result: {
        value: median(paired.seconds.map((shared, i) => (paired.roofs[i] as number) / shared)),
        best: quantile(paired.roofs, 0.2) / quantile(paired.seconds, 0.2),
        unit: 'times',
      },
      target,
      details: { repeatedSeconds: median(paired.roofs) },
    },
  ]
}

/** Seven samples and a demonstration in each group. */
function luffyGroups(vocabSize: number): TrainGroup[] {
  return Array.from({ length: groupCount }, (_, g) => {
    const prompt = randomTokens(promptLength, vocabSize, g)
    return {
      members: Array.from({ length: groupSize }, (_, m) => {
        const tokens = new Int32Array(promptLength + responseLength)
        tokens.set(prompt)
        tokens.set(randomTokens(responseLength, vocabSize, 1000 + g * groupSize + m), promptLength)
        const offPolicy = m === groupSize - 1
        return {
          tokens,
          promptLength,
          offPolicy,
          reward: offPolicy || m % 3 === 0 ? 1 : 0,
          ...(offPolicy ? {} : { oldLogProbs: new Float32Array(responseLength).fill(-Math.log(vocabSize)) }),
        }
      }),
    }
  })
}
