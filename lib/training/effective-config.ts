// A configuration with every value that a run would have: beside the schema's defaults those that follow from the method,
// from the model and from the machine. It means the same configuration.
import type { PolicyConfig } from '../policy/config.js'
import { momentAt } from './moment.js'
import { optionNames, type ResolvedTrainConfig, trainerOptionsOf } from './train-config.js'
import { defaultMicroBatch } from './trainer.js'
import { resolveTrainerOptions } from './trainer-options.js'

export interface EffectiveConfig {
  config: ResolvedTrainConfig
  /** Options without a value: what they would do is off. */
  off: string[]
}

/** `threads`: of the CPU, where that is the device. */
export function effectiveConfig(
  config: ResolvedTrainConfig,
  policy: PolicyConfig,
  threads: number | undefined,
): EffectiveConfig {
  const options = resolveTrainerOptions(trainerOptionsOf(config))
  const known = {
    ...config,
    methodOptions: { ...options.methodOptions },
    ropeTheta: policy.ropeTheta,
    maxPositions: policy.maxPositions,
    ...(threads === undefined ? {} : { threads }),
    maxTokensPerMicroBatch: config.maxTokensPerMicroBatch ?? defaultMicroBatch(policy),
  }
  // What is written down holds at every step: of a method that changes them by the step they stay the method's.
  if (options.method.at !== undefined) return { config: known, off: [] }
  const { objective, advantages } = momentAt(options, 1)
  const { kind, gamma, exponent } = objective.shaping
  const values: Record<string, unknown> = {
    ...objective,
    clip: objective.clip ?? false,
    shaping: {
      kind,
      ...(kind === 'regularized' ? { gamma } : {}),
      ...(kind === 'power' ? { exponent } : {}),
    },
  }
  const names = optionNames(['objective'])
  return {
    config: {
      ...known,
      objective: Object.fromEntries(
        names.flatMap(name => (values[name] === undefined ? [] : [[name, values[name]]])),
      ),
      advantages,
    },
    off: names.flatMap(name => (values[name] === undefined ? `objective.${name}` : [])),
  }
}
