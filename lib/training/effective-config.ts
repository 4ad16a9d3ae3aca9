// A configuration with every value that a run would have: beside the schema's defaults those that follow from the method,
// from the model and from the machine. It means the same configuration.
import type { PolicyConfig } from '../policy/config.js'
import { type ResolvedTrainConfig, trainerOptionsOf } from './train-config.js'
import { defaultMicroBatch } from './trainer.js'
import { resolveTrainerOptions } from './trainer-options.js'

/** `off`: options that have no value because what they would do is off. */
export function effectiveConfig(
  config: ResolvedTrainConfig,
  policy: PolicyConfig,
  threads: number | undefined,
): { config: ResolvedTrainConfig; off: string[] } {
  const { objective, advantages } = resolveTrainerOptions(trainerOptionsOf(config))
  const { clip, dualClip, offPolicyCap, shaping, klCoef: _, ...rest } = objective
  const { kind, gamma, exponent } = shaping
  const optional = { dualClip, offPolicyCap }
  return {
    config: {
      ...config,
      ropeTheta: policy.ropeTheta,
      maxPositions: policy.maxPositions,
      objective: {
        ...rest,
        clip: clip ?? false,
        shaping: {
          kind,
          ...(kind === 'regularized' ? { gamma } : {}),
          ...(kind === 'power' ? { exponent } : {}),
        },
        ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
      },
      advantages,
      ...(threads === undefined ? {} : { threads }),
      maxTokensPerMicroBatch: config.maxTokensPerMicroBatch ?? defaultMicroBatch(policy),
    },
    off: Object.entries(optional).flatMap(([name, value]) =>
      value === undefined ? `objective.${name}` : [],
    ),
  }
}
