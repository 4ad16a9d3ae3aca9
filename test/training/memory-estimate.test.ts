// The estimate against what the device counted in a real round of sampling and a real update.
import ava from 'ava'
import {
  Device,
  Policy,
  type PolicyOptions,
  resolveTrainConfig,
  type TrainConfig,
  Trainer,
} from '../../lib/index.js'
import { estimateMemory } from '../../lib/training/memory-estimate.js'
import { randomTokens } from '../_helpers/policies.js'

// Serial: each has as many threads as there are cores.
const test = ava.serial

const base = {
  vocabSize: 97,
  hiddenSize: 64,
  intermediateSize: 192,
  layers: 4,
  heads: 4,
  kvHeads: 2,
  maxPositions: 256,
}
const promptLength = 24
/** The estimate is off by less than this share of what was counted, either way. Measured: from -4 % to +15 %. */
const margin = 0.2

const cases: [name: string, policy: PolicyOptions, run: Partial<TrainConfig>][] = [
  ['qwen2', base, {}],
  ['recomputed activations', base, { gradientCheckpointing: true }],
  ['small micro-batches', base, { maxTokensPerMicroBatch: 300 }],
  ['qwen3', { ...base, architecture: 'qwen3', headDim: 32 }, {}],
  [
    'a large vocabulary',
    { ...base, vocabSize: 5000, hiddenSize: 32, heads: 2, kvHeads: 1 },
    { promptsPerUpdate: 2 },
  ],
]

for (const [name, options, changes] of cases) {
  test(`memory of sampling and of an update: ${name}`, async t => {
    const config = resolveTrainConfig({
      model: 'model',
      promptsPerStep: 8,
      promptsPerUpdate: 8,
      numGenerations: 5,
      maxCompletionLength: 80,
      ...changes,
    })
    await using device = await Device.open('cpu', { threads: 2 })
    await using policy = await Policy.create(options, { device, seed: 0 })
    await using trainer = await Trainer.create(policy, {
      gradientCheckpointing: config.gradientCheckpointing,
      ...(config.maxTokensPerMicroBatch ? { maxTokensPerMicroBatch: config.maxTokensPerMicroBatch } : {}),
    })
    const estimate = estimateMemory(policy.config, config, { longestPrompt: promptLength })
    const sum = (phase: string) =>
      estimate.parts.filter(part => part.phase === phase).reduce((all, { bytes }) => all + bytes, 0)
    const near = (expected: number, counted: number, what: string) =>
      t.true(Math.abs(expected / counted - 1) < margin, `${what}: estimated ${expected}, counted ${counted}`)

    const prompts = Array.from({ length: 8 }, (_, i) => randomTokens(promptLength, i))
    const completions = await policy.sample(prompts, { samplesPerPrompt: 4, maxTokens: 80, stopTokens: [] })
    const sampling = device.info().peakBytes
    near(sum('always') + sum('sampling'), sampling, 'sampling')
    device.ops.resetPeak(device.handle)
    const groups = prompts.slice(0, config.promptsPerUpdate).map((prompt, p) => ({
      members: [0, 1, 2, 3, 0].map((s, i) => {
        const { tokens, logProbs } = completions[4 * p + s]!
        const all = Int32Array.of(...prompt, ...tokens)
        const own = { tokens: all, promptLength, reward: i % 2 }
        return i === 4 ? { ...own, offPolicy: true } : { ...own, offPolicy: false, oldLogProbs: logProbs }
      }),
    }))
    await trainer.trainStep(groups)
    const update = device.info().peakBytes
    near(sum('always') + sum('update'), update, 'update')
    near(estimate.peakBytes, Math.max(sampling, update), 'the whole run')
  })
}

test('exact parts, and a cache that takes at most its share of what is free', t => {
  const config = resolveTrainConfig({
    model: 'model',
    promptsPerStep: 128,
    promptsPerUpdate: 64,
    maxCompletionLength: 8192,
  })
  // Qwen2.5-Math-7B as it is published.
  const policy = {
    architecture: 'qwen2',
    vocabSize: 152064,
    hiddenSize: 3584,
    intermediateSize: 18944,
    layers: 28,
    heads: 28,
    kvHeads: 4,
    headDim: 128,
    maxPositions: 16384,
    qkvBias: true,
    qkNorm: false,
    tieWordEmbeddings: false,
  } as unknown as Parameters<typeof estimateMemory>[0]
  const whole = estimateMemory(policy, config, { longestPrompt: 1024 })
  t.is(whole.parameterCount, 7_615_616_512)
  const bytes = (estimate: typeof whole, name: string) =>
    estimate.parts.find(part => part.name === name)?.bytes ?? 0
  t.is(bytes(whole, 'moments of AdamW'), 2 * bytes(whole, 'parameters'))
  t.is(bytes(whole, 'gradients'), bytes(whole, 'parameters'))
  // 2 (keys, values) x 28 layers x 4 heads x 128 x 4 bytes, 145 blocks of 64 positions (9,216 and one more block), 256 sequences.
  t.is(bytes(whole, 'key/value cache'), 2 * 28 * 4 * 128 * 4 * 145 * 64 * 256)
  const tight = estimateMemory(policy, config, { longestPrompt: 1024, freeBytes: 200 * 2 ** 30 })
  const room = 200 * 2 ** 30 - 4 * bytes(tight, 'parameters') - bytes(tight, 'packed weights')
  t.true(bytes(tight, 'key/value cache') <= room / 2 && bytes(tight, 'key/value cache') > 0)

  const halved = estimateMemory(policy, { ...config, dtype: 'bfloat16' }, { longestPrompt: 1024 })
  for (const name of ['parameters', 'gradients', 'moments of AdamW'])
    t.is(bytes(halved, name), bytes(whole, name), name)
  t.is(bytes(halved, 'parameters to compute with'), bytes(whole, 'parameters') / 2)
  for (const name of ['key/value cache', 'activations', 'sampling activations'])
    t.is(bytes(halved, name), bytes(whole, name) / 2, name)
  t.is(bytes(halved, 'packed weights'), 0)
})
