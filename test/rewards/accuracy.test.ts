// Accuracy: means over prompts, their standard error, and what is counted as cut.
import test from 'ava'
import { opChainsTokenizer } from '../../lib/data/op-chains/index.js'
import { AbortedError, Policy } from '../../lib/index.js'
import { measureAccuracy } from '../../lib/rewards/accuracy.js'
import type { Task } from '../../lib/rewards/task.js'

const tokenizer = opChainsTokenizer()
const items = ['1r=', '22i=', '3=', '45zz='].map((prompt, i) => ({ prompt, answer: String(i) }))

/** A task whose reward is a function of the prompt's number and the sample's count for it. */
function taskOf(reward: (answer: number, sample: number) => number | null): Task {
  const seen = new Map<number, number>()
  return {
    name: 'test',
    tokenizer,
    training: items,
    evaluations: [{ name: 'all', items }],
    reward: ({ answer }) => {
      const number = Number(answer)
      const count = seen.get(number) ?? 0
      seen.set(number, count + 1)
      return reward(number, count)
    },
  }
}

async function accuracy(t: { teardown(f: () => Promise<void>): void }, task: Task, options: object = {}) {
  const policy = await Policy.create(
    {
      vocabSize: tokenizer.vocabSize,
      hiddenSize: 16,
      intermediateSize: 16,
      layers: 1,
      heads: 1,
      maxPositions: 64,
    },
    { device: 'cpu' },
  )
  t.teardown(() => policy.dispose())
  return measureAccuracy(policy, task, task.evaluations[0]!, { maxTokens: 3, seed: 1, ...options })
}

test('the mean over samples, and its standard error over prompts', async t => {
  const half = await accuracy(
    t,
    taskOf(answer => (answer < 2 ? 1 : 0)),
  )
  t.like(half, { mean: 0.5, prompts: 4 })
  t.true(Math.abs(half.standardError - Math.sqrt(1 / 3 / 4)) < 1e-12)
  const samples = await accuracy(
    t,
    taskOf((answer, sample) => (answer === 3 ? sample % 2 : 1)),
    { samplesPerPrompt: 2 },
  )
  t.is(samples.mean, (3 + 0.5) / 4)
  const unjudged = await accuracy(
    t,
    taskOf(answer => (answer === 0 ? null : 1)),
  )
  t.is(unjudged.mean, 0.75)
})

test('the same seed gives the same accuracy; an abort ends it', async t => {
  const task = taskOf(() => 1)
  t.deepEqual(await accuracy(t, task), await accuracy(t, task))
  const { truncated } = await accuracy(t, task)
  t.true(truncated >= 0 && truncated <= 1)
  await t.throwsAsync(accuracy(t, task, { signal: AbortSignal.abort() }), { instanceOf: AbortedError })
})
