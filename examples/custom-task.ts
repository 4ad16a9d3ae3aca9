// A task of one's own: prompts, demonstrations, a tokenizer and a reward make a Task, and `train` does the rest.
// Here: write four digits backwards. A short pretraining leaves the policy unsure how; LUFFY trains it from there.
//
//   npx tsc && node dist/examples/custom-task.js
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CharacterTokenizer, Policy, pretrain, type Task, type TaskItem, train } from 'luffy'

const tokenizer = new CharacterTokenizer('0123456789=$', '$')

function items(start: number, step: number, count: number): TaskItem[] {
  return Array.from({ length: count }, (_, i) => {
    const digits = String((start + i * step) % 10_000).padStart(4, '0')
    const answer = [...digits].reverse().join('')
    return { prompt: `${digits}=`, answer, demonstration: `${answer}$` }
  })
}

const task: Task = {
  name: 'backwards',
  tokenizer,
  // Remainders 1 and 0 by 19: no prompt is in both.
  training: items(1, 19, 512),
  evaluations: [{ name: 'held-out', items: items(0, 38, 200) }],
  reward: ({ completion, answer }) =>
    completion === `${answer}$` ? { reward: 1, reason: 'right' } : { reward: 0, reason: 'wrong' },
}

const folder = await mkdtemp(join(tmpdir(), 'luffy-custom-task-'))
try {
  const policy = await Policy.create(
    {
      vocabSize: tokenizer.vocabSize,
      hiddenSize: 64,
      intermediateSize: 192,
      layers: 2,
      heads: 2,
      kvHeads: 2,
      maxPositions: 16,
      eosTokenIds: [tokenizer.endId],
    },
    { seed: 0 },
  )
  await pretrain(
    policy,
    index => {
      const { prompt, demonstration = '' } = task.training[index % task.training.length] as TaskItem
      return { tokens: tokenizer.encode(prompt + demonstration), promptLength: prompt.length }
    },
    { steps: 120, batch: 64, learningRate: 3e-3, warmupSteps: 20 },
  )
  await policy.save(join(folder, 'base'))
  await policy.dispose()
  const result = await train(
    {
      model: join(folder, 'base'),
      outputDir: folder,
      runName: 'backwards',
      bestBy: 'held-out',
      method: 'luffy',
      maxSteps: Number(process.argv[2] ?? 150),
      learningRate: 5e-4,
      objective: { entropyCoef: 0 },
      promptsPerStep: 32,
      promptsPerUpdate: 8,
      maxCompletionLength: 8,
      evalSteps: 50,
    },
    {
      task,
      onEvent: event => {
        if (event.type === 'evaluation') console.log(`step ${event.step}: accuracy`, event.accuracy)
      },
    },
  )
  console.log(`${result.step} steps, held out: ${(100 * (result.accuracy['held-out'] ?? 0)).toFixed(1)} %`)
} finally {
  await rm(folder, { recursive: true, force: true })
}
