// Supervised passes over a stream of sequences: how a small policy gets its first skills.
import { tell } from '../callback.js'
import { throwIfAborted } from '../errors.js'
import {
  checkCallback,
  checkFunction,
  checkInteger,
  checkObject,
  checkOptions,
  checkSignal,
  describeValue,
} from '../options.js'
import type { TokenSequence } from '../policy/packing.js'
import { Policy } from '../sampler/policy.js'
import type { StepMetrics } from './metrics.js'
import { learningRateAt } from './schedule.js'
import { Trainer } from './trainer.js'

export interface PretrainOptions {
  steps: number
  /** Sequences per step. */
  batch: number
  /** Peak of a cosine with warm-up. */
  learningRate: number
  /** Default 0. */
  warmupSteps?: number
  /** Default [0.9, 0.95]. */
  betas?: readonly [number, number]
  /** Default 0.01. */
  weightDecay?: number
  signal?: AbortSignal | undefined
  /** Told of each step; a promise is waited for. What it throws ends the call (lib/callback.ts). */
  onStep?: ((metrics: StepMetrics) => unknown) | undefined
}

const optionNames = [
  'steps',
  'batch',
  'learningRate',
  'warmupSteps',
  'betas',
  'weightDecay',
  'signal',
  'onStep',
] as const

/** Cross-entropy on the tokens after each prompt; `sequence(i)` gives the i-th of steps * batch sequences. */
export async function pretrain(
  policy: Policy,
  sequence: (index: number) => TokenSequence,
  options: PretrainOptions,
): Promise<void> {
  if (!(policy instanceof Policy)) {
    throw new TypeError(`policy: expected a Policy, got ${describeValue(policy)}`)
  }
  checkFunction(sequence, 'sequence')
  checkObject(options, 'pretrain', 'an options object')
  const given = checkOptions(options, 'pretrain', optionNames)
  const steps = checkInteger(given.steps, 'steps')
  const batch = checkInteger(given.batch, 'batch', { min: 1 })
  const signal = checkSignal(given.signal, 'signal')
  const onStep = checkCallback<StepMetrics>(given.onStep, 'onStep')
  const { learningRate, warmupSteps = 0, betas = [0.9, 0.95], weightDecay = 0.01 } = options
  await using trainer = await Trainer.create(policy, { method: 'sft', optimizer: { betas, weightDecay } })
  const schedule = { kind: 'cosine', peak: learningRate, warmupSteps, totalSteps: steps } as const
  for (let step = 0; step < steps; step++) {
    throwIfAborted(signal, 'pretraining')
    const groups = Array.from({ length: batch }, (_, i) => ({
      members: [{ ...sequence(step * batch + i), offPolicy: true }],
    }))
    const metrics = await trainer.trainStep(groups, { learningRate: learningRateAt(schedule, step) })
    await tell(onStep, metrics)
  }
}
