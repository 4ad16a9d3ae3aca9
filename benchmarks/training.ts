// trainStep on the two policies, counted as 6 x parameters x tokens, under the matrix rate. The event loop's delay
// during the steps is a row of its own.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Policy, type PolicyOptions, Trainer, type TrainGroup } from '../lib/index.js'
import { type Bench, type BenchCase, inTurns, type Row, rowOf } from './bench.js'
import { mediumPolicy, millions, randomTokens, smallPolicy } from './policies.js'
import { reportOps } from './profile.js'

interface TrainingCase {
  policy: PolicyOptions
  sequences: number
  length: number
}

const cases: readonly TrainingCase[] = [
  { policy: mediumPolicy, sequences: 16, length: 256 },
  { policy: smallPolicy, sequences: 256, length: 64 },
]

const eventLoopTarget = { floor: 20, aim: 20, smallerIsBetter: true }

export const trainingCases: readonly BenchCase[] = cases.map(given => ({
  name: `train-step ${given.sequences}x${given.length}`,
  run: bench => train(bench, given),
}))

async function train(bench: Bench, { policy: config, sequences, length }: TrainingCase): Promise<Row[]> {
  const { device } = bench
  await using policy = await Policy.create(config, { device, seed: 1 })
  await using trainer = await Trainer.create(policy, { method: 'luffy' })
  const groups = await randomGroups(policy, sequences, length)
  // 1 ms of resolution is part of every reading.
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const step = async () => {
    delay.enable()
    const start = performance.now()
    const metrics = await trainer.trainStep(groups)
    const seconds = (performance.now() - start) / 1000
    delay.disable()
    if (metrics.skippedUpdates !== 0 || metrics.noSignalUpdates !== 0)
      throw new Error('the update was skipped')
    return seconds
  }
  await step()
  device.opTimes()
  await step()
  if (bench.profile) reportOps(bench, device.opTimes())
  delay.reset()
  const paired = await inTurns(bench, step, () => bench.roofs.matrixRate())
  const name = `train-step, ${millions(policy.parameterCount)}, ${sequences} x ${length}`
  const flops = 6 * policy.parameterCount * sequences * length
  const row = rowOf('step', name, paired, flops, 'GFLOP/s', 'matrix rate', { floor: 0.5, aim: 0.75 })
  row.details = {
    parameters: policy.parameterCount,
    tokensPerSecond: (sequences * length) / (row.seconds?.median as number),
  }
  return [
    row,
    {
      group: 'step',
      name: `  p99 of the event loop's delay, ${millions(policy.parameterCount)}`,
      result: { value: delay.percentile(99) / 1e6, unit: 'ms' },
      target: eventLoopTarget,
    },
  ]
}

/** Groups of eight, every token after the first a response token, one member of each group a demonstration. */
async function randomGroups(policy: Policy, sequences: number, length: number): Promise<TrainGroup[]> {
  const all = Array.from({ length: sequences }, (_, i) => ({
    tokens: randomTokens(length, policy.config.vocabSize, i),
    promptLength: 1,
  }))
  const scored = await policy.logProbs(all)
  const members = all.map((sequence, i) => ({
    ...sequence,
    offPolicy: i % 8 === 7,
    advantage: i % 2 === 0 ? 0.5 : -0.5,
    oldLogProbs: (scored[i] as (typeof scored)[number]).logProbs,
  }))
  return Array.from({ length: Math.ceil(sequences / 8) }, (_, g) => ({
    members: members.slice(8 * g, 8 * g + 8),
  }))
}
