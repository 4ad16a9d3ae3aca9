// The demo: a small policy made from scratch learns with LUFFY what it cannot find by itself.
//
// 1. Base: a Qwen2 of 0.34 M parameters is pretrained on short texts. It can reason step by step when a prompt ends in
//    `?`, answers `=` prompts at once and wrongly, and believes a wrong constant about the secret operation `p`.
// 2. LUFFY: prompts that end in `=` and hold a `p`. No rollout solves them at first, so on-policy RL would never see a
//    reward; every group also holds one demonstration, written in a messier style than the policy can execute.
// 3. Accuracy before and after on held-out prompts, in and out of distribution.
//
//   npm run demo -- [--seed 0] [--steps 100] [--base-steps 2000] [--out runs] [--threads 2]
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { pretrainingSample } from '../lib/data/op-chains/index.js'
import { Device, exitCodeOf, Policy, type TrainEvent, train } from '../lib/index.js'
import { Progress } from '../lib/report/progress.js'
import { formatTable } from '../lib/report/table.js'
import { trainingProgress } from '../lib/report/training-progress.js'
import { pretrain } from '../lib/training/pretrain.js'
import { freeRunName } from '../lib/training/run-folder.js'
import { opChainsTask } from '../lib/training/tasks.js'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '0' },
    steps: { type: 'string', default: '100' },
    'base-steps': { type: 'string', default: '2000' },
    out: { type: 'string', default: 'runs' },
    threads: { type: 'string' },
  },
})
const seed = Number(values.seed)
const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort(name))

const progress = new Progress()
const task = opChainsTask({ seed })

async function makeBase(folder: string, device: Device): Promise<void> {
  const { tokenizer } = task
  await using policy = await Policy.create(
    {
      architecture: 'qwen2',
      vocabSize: tokenizer.vocabSize,
      hiddenSize: 96,
      layers: 3,
      heads: 3,
      kvHeads: 3,
      intermediateSize: 256,
      tieWordEmbeddings: false,
      maxPositions: 256,
      eosTokenIds: [tokenizer.endId],
    },
    { device, seed },
  )
  progress.log(
    `policy: Qwen2, ${policy.parameterCount.toLocaleString('en')} parameters, on ${device.info().isa}`,
  )
  const steps = Number(values['base-steps'])
  const phase = progress.phase('pretrain', { total: steps, unit: 'step' })
  let rate = 0
  await pretrain(
    policy,
    index => {
      const { prompt, response } = pretrainingSample(seed, index)
      const promptTokens = tokenizer.encode(prompt)
      const tokens = Int32Array.from([...promptTokens, ...tokenizer.encode(response)])
      return { tokens, promptLength: promptTokens.length }
    },
    {
      steps,
      batch: 96,
      learningRate: 2e-3,
      warmupSteps: 100,
      betas: [0.9, 0.98],
      weightDecay: 0.01,
      signal: stop.signal,
      onStep: metrics => {
        rate =
          rate === 0 ? (metrics.tokensPerSecond ?? 0) : 0.95 * rate + 0.05 * (metrics.tokensPerSecond ?? 0)
        phase.update(metrics.step, { loss: (metrics.loss ?? 0).toFixed(3), 'tok/s': Math.round(rate) })
      },
    },
  )
  phase.end()
  await policy.save(folder)
  await tokenizer.save(folder)
}

const descriptions: Record<string, string> = {
  hard: 'in distribution: 4 digits, holds p',
  id: 'mixed: half of the prompts hold p',
  narr: 'out: 3 digits, no p',
  wide: 'out: 5 digits, no p',
  oth: 'out: other tasks of pretraining',
  q: 'out: prompts that end in ?',
}

async function main(): Promise<void> {
  const started = performance.now()
  const name = await freeRunName(values.out, `demo-seed-${seed}`)
  const base = join(values.out, name, 'base')
  await using device = await Device.open('auto', values.threads ? { threads: Number(values.threads) } : {})
  await makeBase(base, device)
  let before: Readonly<Record<string, number>> = {}
  const show = trainingProgress(progress, 'luffy')
  const onEvent = (event: TrainEvent) => {
    if (event.type === 'evaluation' && event.step === 0) before = event.accuracy
    show(event)
  }
  const maxSteps = Number(values.steps)
  const {
    checkpoint,
    runFolder,
    accuracy: after,
  } = await train(
    {
      model: base,
      method: 'luffy',
      outputDir: values.out,
      runName: name,
      seed,
      maxSteps,
      task: { seed },
      objective: { entropyCoef: 0.003 },
      evalSteps: 25,
      device: 'auto',
      ...(values.threads ? { threads: Number(values.threads) } : {}),
    },
    { signal: stop.signal, onEvent },
  )
  const row = (set: string) => [
    set,
    descriptions[set] ?? '',
    `${(100 * (before[set] ?? 0)).toFixed(1)} %`,
    `${(100 * (after[set] ?? 0)).toFixed(1)} %`,
  ]
  console.log(
    formatTable(
      ['held out', { header: 'what', align: 'left' }, 'before', 'after'],
      Object.keys(after)
        .sort((a, b) => Number(b === 'hard') - Number(a === 'hard'))
        .map(row),
      { style: progress.style.unicode ? 'unicode' : 'ascii' },
    ),
  )
  console.log(`${((performance.now() - started) / 1000).toFixed(0)} s in all; run folder ${runFolder}`)
  console.log(`ask it: npx luffy sample ${checkpoint} --prompt '5387rizp='`)
}

try {
  await main()
} catch (error) {
  progress.close()
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = stop.signal.aborted ? (stop.signal.reason === 'SIGTERM' ? 143 : 130) : exitCodeOf(error)
}
