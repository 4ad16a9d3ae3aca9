// Memory of a training step beyond parameters, gradients, moments and activations, where the logits alone would take
// 2.3 GiB: V 151,936, T 4096, a narrow policy.
import { readFileSync, writeFileSync } from 'node:fs'
import { Policy, Trainer } from '../lib/index.js'
import type { BenchCase, Row } from './bench.js'
import { randomTokens } from './policies.js'

const vocabSize = 151_936
const sequences = 16
const rowsPerSequence = 256
const target = { floor: 256, aim: 64, smallerIsBetter: true }

export const memoryCases: readonly BenchCase[] = [{ name: 'memory', run: memory }]

const mebibytes = (bytes: number) => bytes / 2 ** 20

async function memory({ device }: { device: Parameters<BenchCase['run']>[0]['device'] }): Promise<Row[]> {
  device.trim()
  await device.synchronize()
  const before = device.info()
  await using policy = await Policy.create(
    { vocabSize, hiddenSize: 64, layers: 1, heads: 2, kvHeads: 2, intermediateSize: 128 },
    { device, seed: 1 },
  )
  await using trainer = await Trainer.create(policy, {
    method: 'luffy',
    maxTokensPerMicroBatch: sequences * rowsPerSequence,
  })
  // The last token of a sequence predicts nothing, and takes no row.
  const length = rowsPerSequence + 1
  const members = Array.from({ length: sequences }, (_, i) => ({
    tokens: randomTokens(length, vocabSize, i),
    promptLength: 1,
    offPolicy: i % 8 === 7,
    advantage: i % 2 === 0 ? 0.5 : -0.5,
    oldLogProbs: new Float32Array(length - 1).fill(-Math.log(vocabSize)),
  }))
  await device.synchronize()
  device.resetPeak()
  const resident = residentBytes()
  const start = performance.now()
  await trainer.trainStep([{ members }])
  const seconds = (performance.now() - start) / 1000
  const info = device.info()
  const peakResident = residentBytes(true)

  const { hiddenSize: c, intermediateSize: f, heads, kvHeads, headDim, layers } = policy.config
  // Kept for the backward pass, per token: each layer's two normalised inputs and sums, q, k, v, the attention's
  // output, gate and up and their product; the hidden states after the last layer.
  const kept = layers * (6 * c + 2 * (heads + kvHeads) * headDim + 3 * f) + c
  const activations = 4 * kept * sequences * rowsPerSequence
  const state = 4 * 4 * policy.model.layout.size
  const beyond =
    info.peakBytes + info.scratchBytes - before.liveBytes - before.scratchBytes - state - activations
  const growth = peakResident === undefined || resident === undefined ? undefined : peakResident - resident
  return [
    {
      group: 'memory',
      name: `train-step, V ${vocabSize}, T ${sequences * rowsPerSequence}: beyond state and activations`,
      seconds: { median: seconds, q20: seconds, q80: seconds, samples: 1, setAside: 0, others: 0 },
      result: { value: mebibytes(Math.max(0, beyond)), unit: 'MiB' },
      target,
      details: {
        parameters: policy.parameterCount,
        stateMiB: mebibytes(state),
        activationsMiB: mebibytes(activations),
        scratchMiB: mebibytes(info.scratchBytes),
        // What the whole process grew by during the step, activations and JavaScript's heap included.
        ...(growth === undefined ? {} : { residentGrowthMiB: mebibytes(growth) }),
      },
    },
  ]
}

/** The process's resident memory, or its peak since the last call without `peak`; undefined where /proc does not say. */
function residentBytes(peak = false): number | undefined {
  try {
    if (!peak) writeFileSync('/proc/self/clear_refs', '5')
    const field = peak ? 'VmHWM' : 'VmRSS'
    const text = readFileSync('/proc/self/status', 'utf8')
    return 1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(text)?.[1])
  } catch {
    return undefined
  }
}
