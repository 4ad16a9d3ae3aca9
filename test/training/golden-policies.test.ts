// The three golden policies: logits by log-probabilities, every gradient, parameters after an AdamW step, greedy tokens.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type GroupMember, Policy, Trainer } from '../../lib/index.js'
import { SafetensorsFile } from '../../lib/policy/safetensors-read.js'
import { openTestDevice, type TestDevice, testDevices } from '../_helpers/devices.js'
import { runsLongTests } from '../_helpers/emulator.js'
import { type GoldenConfig, goldenFolder, goldenObjective, readGolden } from '../_helpers/golden.js'

interface PolicyCase {
  inputIds: number[][]
  promptLength: number
  attentionMask: number[][]
  mask: number[][]
  offPolicyMask: number[][]
  oldLogProbs: number[][]
  advantages: number[][]
  config: GoldenConfig
  optimizer: {
    lr: number
    beta1: number
    beta2: number
    epsilon: number
    weightDecay: number
    maxGradNorm: number
  }
  expected: {
    loss: number
    gradNorm: number
    logProbs: number[][]
    entropy: number[][]
    greedy: number[]
    metrics: Record<string, number>
  }
}

const names = ['qwen2-tied', 'qwen3-head-dim', 'llama-untied']

/** Row b without its padding. */
function member(c: PolicyCase, b: number): GroupMember {
  const length = (c.attentionMask[b] as number[]).reduce((sum, x) => sum + x, 0)
  const response = length - c.promptLength
  const part = (rows: number[][]) => (rows[b] as number[]).slice(0, response)
  return {
    tokens: Int32Array.from((c.inputIds[b] as number[]).slice(0, length)),
    promptLength: c.promptLength,
    offPolicy: Uint8Array.from(part(c.offPolicyMask)),
    mask: Uint8Array.from(part(c.mask)),
    oldLogProbs: Float32Array.from(part(c.oldLogProbs)),
    advantage: Float32Array.from(part(c.advantages)),
  }
}

async function expectedTensors(folder: string): Promise<Map<string, Float32Array>> {
  const file = await SafetensorsFile.open(join(folder, 'expected.safetensors'))
  const tensors = new Map<string, Float32Array>()
  for (const [name, { shape }] of file.tensors) {
    const data = new Float32Array(shape.reduce((product, n) => product * n, 1))
    await file.readFloat32(name, data)
    tensors.set(name, data)
  }
  await file.close()
  return tensors
}

const norm = (values: Iterable<number>) => Math.sqrt([...values].reduce((sum, x) => sum + x * x, 0))

interface Settings {
  place: TestDevice
  maxTokensPerMicroBatch?: number
  gradientCheckpointing: boolean
}

// The emulated device takes them in parts as well in `npm run test:emulator`.
const everySettings = testDevices.flatMap((place): Settings[] => {
  const whole = { place, gradientCheckpointing: false }
  const inParts = { place, maxTokensPerMicroBatch: 8, gradientCheckpointing: true }
  if (place.name === 'emulated') return runsLongTests ? [whole, inParts] : [whole]
  return place.threads === 1 ? [whole] : [inParts]
})

for (const name of names) {
  for (const { place, ...settings } of everySettings) {
    test(`${name}, ${place.label}, ${JSON.stringify(settings)}`, async t => {
      const folder = join(goldenFolder, 'policies', name)
      const c = readGolden<PolicyCase>(`policies/${name}/case.json`)
      const expected = await expectedTensors(folder)
      await using device = await openTestDevice(place)
      await using policy = await Policy.load(folder, { device })
      const members = c.inputIds.map((_, b) => member(c, b))

      const scored = await policy.logProbs(members)
      members.forEach((m, b) => {
        const { logProbs, entropy } = scored[b] as (typeof scored)[number]
        m.mask?.forEach((counts, i) => {
          if (counts === 0) return
          t.true(Math.abs((logProbs[i] as number) - (c.expected.logProbs[b]?.[i] as number)) < 1e-5)
          t.true(Math.abs((entropy[i] as number) - (c.expected.entropy[b]?.[i] as number)) < 1e-5)
        })
      })

      const prompt = Int32Array.from((c.inputIds[0] as number[]).slice(0, c.promptLength))
      const [greedy] = await policy.sample([prompt], { temperature: 0, maxTokens: c.expected.greedy.length })
      t.deepEqual([...(greedy?.tokens ?? [])], c.expected.greedy)

      const { optimizer } = c
      await using trainer = await Trainer.create(policy, {
        objective: goldenObjective(c.config),
        optimizer: {
          learningRate: optimizer.lr,
          betas: [optimizer.beta1, optimizer.beta2],
          epsilon: optimizer.epsilon,
          weightDecay: optimizer.weightDecay,
          maxGradNorm: optimizer.maxGradNorm,
        },
        ...(settings.maxTokensPerMicroBatch
          ? { maxTokensPerMicroBatch: settings.maxTokensPerMicroBatch }
          : {}),
        gradientCheckpointing: settings.gradientCheckpointing,
      })
      const metrics = await trainer.trainStep([{ members }])
      t.true(
        Math.abs((metrics.loss as number) / c.expected.loss - 1) < 1e-5,
        `${metrics.loss} ${c.expected.loss}`,
      )
      t.true(Math.abs((metrics.gradNorm as number) / c.expected.gradNorm - 1) < 1e-4)
      for (const [key, value] of Object.entries(c.expected.metrics)) {
        const got = (metrics as unknown as Record<string, number>)[key] as number
        t.true(Math.abs(got - value) <= 2e-5 * Math.max(1e-2, Math.abs(value)), `${key} ${got} ${value}`)
      }

      for (const [parameter, { data }] of await trainer.gradients()) {
        const reference = expected.get(`grad.${parameter}`) as Float32Array
        const difference = norm(data.map((x, i) => x - (reference[i] as number)))
        t.true(difference <= 2e-4 * norm(reference), `${parameter}: ${difference} of ${norm(reference)}`)
      }

      const saved = await mkdtemp(join(tmpdir(), 'luffy-'))
      try {
        await policy.save(saved)
        const file = await SafetensorsFile.open(join(saved, 'model.safetensors'))
        for (const [parameter, { shape }] of file.tensors) {
          const after = new Float32Array(shape.reduce((product, n) => product * n, 1))
          await file.readFloat32(parameter, after)
          const reference = expected.get(`after.${parameter}`) as Float32Array
          const rms = norm(after.map((x, i) => x - (reference[i] as number))) / Math.sqrt(after.length)
          t.true(rms <= 2e-2 * optimizer.lr, `${parameter}: ${rms}`)
        }
        await file.close()
      } finally {
        await rm(saved, { recursive: true })
      }
    })
  }
}
