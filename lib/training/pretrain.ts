// Supervised passes over a stream of sequences: how a small policy gets its first skills.
import { throwIfAborted } from '../errors.js'
import type { TokenSequence } from '../policy/packing.js'
import type { Policy } from '../sampler/policy.js'
import type { StepMetrics } from './metrics.js'
import { learningRateAt } from './schedule.js'
import { Trainer } from './trainer.js'

export interface PretrainOptions {
  steps: number
  /** Sequences per step. */
  batch: number
  /** Peak of a cosine with warm-up. */
  learningRate: number
  warmupSteps: number
  betas: readonly [number, number]
  weightDecay: number
  signal?: AbortSignal | undefined
  onStep?: ((metrics: StepMetrics) => void) | undefined
}

/** Cross-entropy on the tokens after each prompt; `sequence(i)` gives the i-th of steps * batch sequences. */
export async function pretrain(
  policy: Policy,
  sequence: (index: number) => TokenSequence,
  options: PretrainOptions,
): Promise<void> {
  const { steps, batch, learningRate, warmupSteps, betas, weightDecay, signal, onStep } = options
  await using trainer = await Trainer.create(policy, { method: 'sft', optimizer: { betas, weightDecay } })
  const schedule = { kind: 'cosine', peak: learningRate, warmupSteps, totalSteps: steps } as const
  for (let step = 0; step < steps; step++) {
    throwIfAborted(signal, 'pretraining')
    const groups = Array.from({ length: batch }, (_, i) => ({
      members: [{ ...sequence(step * batch + i), offPolicy: true }],
    }))
    const metrics = await trainer.trainStep(groups, { learningRate: learningRateAt(schedule, step) })
    onStep?.(metrics)
  }
}
