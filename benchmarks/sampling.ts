// Sampling on the two policies. The roof of a step is the larger of two times: the products of that many rows at the
// matrix rate, and the weights and the keys and values so far at the reading bandwidth. The prompts' pass is a step too.
import { Policy, type PolicyOptions } from '../lib/index.js'
import type { PolicyConfig } from '../lib/policy/config.js'
import { type Bench, type BenchCase, inTurns, type Row, shareOf, timesOf } from './bench.js'
import { mediumPolicy, millions, randomTokens, smallPolicy } from './policies.js'
import { reportOps } from './profile.js'
import { median } from './statistics.js'

interface SamplingCase {
  policy: PolicyOptions
  sequences: number
  promptLength: number
  newTokens: number
  target: { floor: number; aim: number }
}

const cases: readonly SamplingCase[] = [
  { policy: smallPolicy, sequences: 256, promptLength: 16, newTokens: 48, target: { floor: 0.3, aim: 0.6 } },
  { policy: mediumPolicy, sequences: 16, promptLength: 16, newTokens: 48, target: { floor: 0.4, aim: 0.7 } },
]

export const samplingCases: readonly BenchCase[] = cases.map(given => ({
  name: `sample ${given.sequences}x${given.promptLength}+${given.newTokens}`,
  run: bench => sample(bench, given),
}))

async function sample(bench: Bench, given: SamplingCase): Promise<Row[]> {
  const { sequences, promptLength, newTokens, target } = given
  const { device } = bench
  await using policy = await Policy.create(given.policy, { device, seed: 1 })
  const prompts = Array.from({ length: sequences }, (_, i) =>
    randomTokens(promptLength, policy.config.vocabSize, i),
  )
  let step = 0
  const run = async () => {
    const start = performance.now()
    const completions = await policy.sample(prompts, {
      maxTokens: newTokens,
      stopTokens: [],
      maxConcurrent: sequences,
      step: step++,
    })
    const seconds = (performance.now() - start) / 1000
    const drawn = completions.reduce((sum, { tokens }) => sum + tokens.length, 0)
    if (drawn !== sequences * newTokens) throw new Error(`${drawn} tokens were drawn`)
    return seconds
  }
  await run()
  device.opTimes()
  await run()
  if (bench.profile) reportOps(bench, device.opTimes())
  // The roof as a rate, 1 / seconds, so that a share is a ratio of rates as everywhere.
  const decodeShares: number[] = []
  const paired = await inTurns(bench, run, async () => {
    const [flops, bytes] = [await bench.roofs.matrixRate(), await bench.roofs.readBandwidth()]
    const steps = roofSeconds(policy.config, given, flops, bytes)
    decodeShares.push(steps.decoding / (steps.prompts + steps.decoding))
    return 1 / (steps.prompts + steps.decoding)
  })
  const seconds = timesOf(paired)
  const roof = median(paired.roofs)
  const tokens = sequences * newTokens
  const share = shareOf(paired, 1)
  return [
    {
      group: 'step',
      name: `sample, ${millions(policy.parameterCount)}, ${sequences} x (${promptLength} + ${newTokens})`,
      seconds,
      rate: { value: tokens / seconds.median / 1000, unit: 'ktok/s' },
      ...(Number.isFinite(roof)
        ? { roof: { value: (tokens * roof) / 1000, unit: 'ktok/s', name: 'per step' }, result: share }
        : {}),
      target,
      details: {
        parameters: policy.parameterCount,
        // The share if the prompts' pass were not counted in the roof.
        shareOfDecodingAlone: share.value * median(decodeShares),
      },
    },
  ]
}

function roofSeconds(
  config: PolicyConfig,
  { sequences, promptLength, newTokens }: SamplingCase,
  flopsPerSecond: number,
  bytesPerSecond: number,
): { prompts: number; decoding: number } {
  const { hiddenSize, heads, kvHeads, headDim, intermediateSize, layers, vocabSize } = config
  const perLayer = hiddenSize * headDim * (2 * heads + 2 * kvHeads) + 3 * hiddenSize * intermediateSize
  const output = hiddenSize * vocabSize
  const weightBytes = 4 * (layers * perLayer + output)
  const bytesPerPosition = 4 * layers * 2 * kvHeads * headDim
  const step = (rows: number, seen: number) => {
    const flops = 2 * (rows * layers * perLayer + sequences * output)
    return Math.max(
      flops / flopsPerSecond,
      (weightBytes + sequences * seen * bytesPerPosition) / bytesPerSecond,
    )
  }
  let decoding = 0
  for (let drawn = 1; drawn < newTokens; drawn++) decoding += step(sequences, promptLength + drawn)
  return { prompts: step(sequences * promptLength, promptLength), decoding }
}
