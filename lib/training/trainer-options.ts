// What a trainer is asked for, checked, with every default.

import type { MethodName } from '../methods/index.js'
import { resolveMethod } from '../methods/index.js'
import type { AdvantageOptions } from '../methods/losses.js'
import type { Method } from '../methods/method.js'
import { resolveMethodOptions } from '../methods/options.js'
import type { Objective } from '../ops/policy-objective.js'
import {
  checkBoolean,
  checkInteger,
  checkNumber,
  checkOptions,
  describeValue,
  float32Range,
  temperatureRange,
} from '../options.js'
import { type MomentSource, momentAt } from './moment.js'

export interface OptimizerOptions {
  /** Default 1e-6. */
  learningRate?: number
  /** Default [0.9, 0.999]. */
  betas?: readonly [number, number]
  /** Default 1e-8. */
  epsilon?: number
  /** Decoupled, on every parameter. Default 0.01. */
  weightDecay?: number
  /** The gradient's norm is clipped to this; 0 = off. Default 1. */
  maxGradNorm?: number
  /** An update with a gradient of a larger norm is skipped and counted (ExGRPO); 0 = off. Default 0. */
  skipGradNorm?: number
}

export interface TrainerOptions {
  /** A name of `methods` ('luffy' by default), or a Method of your own. */
  method?: MethodName | Method
  /** The method's own numbers. */
  methodOptions?: Readonly<Record<string, number>>
  /** Overrides parts of the method's objective. */
  objective?: Objective
  /** Overrides parts of the method's advantages. */
  advantages?: AdvantageOptions
  /** Divisor of a reduction 'constant' that has none. Default: the longest response of the update times its sequences. */
  defaultDivisor?: number
  optimizer?: OptimizerOptions
  /** Softmax temperature of the policy in the loss; that of the sampler. Default 1. */
  temperature?: number
  /** Most packed tokens of one forward and backward pass. Default: as many as keep the widest activation near 8 MiB, at least 1024. */
  maxTokensPerMicroBatch?: number
  /** Compute a group's prompt once. Default true; the loss and the gradients are the same. */
  sharePrompts?: boolean
  /** Recompute activations in the backward pass: less memory, a third more time. Default false. */
  gradientCheckpointing?: boolean
  /** Update also when no member has an advantage, as the authors' code does. Default false: skipped and counted. */
  updateWithoutSignal?: boolean
  /** Updates in a row that may be skipped for a gradient that is not finite before trainStep throws NonFiniteError. Default 5. */
  maxSkippedUpdates?: number
}

/** Objective and advantages as they are at a step: `momentAt`. */
export interface ResolvedTrainerOptions extends MomentSource {
  optimizer: {
    learningRate: number
    betas: readonly [number, number]
    epsilon: number
    weightDecay: number
    maxGradNorm: number
    skipGradNorm: number
  }
  temperature: number
  maxTokensPerMicroBatch: number | undefined
  sharePrompts: boolean
  gradientCheckpointing: boolean
  updateWithoutSignal: boolean
  maxSkippedUpdates: number
}

const names = [
  'method',
  'methodOptions',
  'objective',
  'advantages',
  'defaultDivisor',
  'optimizer',
  'temperature',
  'maxTokensPerMicroBatch',
  'sharePrompts',
  'gradientCheckpointing',
  'updateWithoutSignal',
  'maxSkippedUpdates',
] as const

export function resolveTrainerOptions(options: TrainerOptions = {}): ResolvedTrainerOptions {
  const given = checkOptions(options, 'Trainer.create', names)
  // An objective without a method stands for itself: nothing of a method's objective is mixed in.
  const method = resolveMethod(given.method === undefined ? 'luffy' : given.method)
  const bare = given.method === undefined && given.objective !== undefined
  const overrides = {
    objective: overridesOf(given.objective, 'objective'),
    advantages: overridesOf(given.advantages, 'advantages'),
  }
  const maxTokens = given.maxTokensPerMicroBatch
  const methodOptions = resolveMethodOptions(method.options, given.methodOptions)
  const source: MomentSource = {
    method: bare ? { ...method, objective: {} } : method,
    methodOptions,
    memory: method.memory?.(methodOptions),
    overrides,
    defaultDivisor:
      given.defaultDivisor === undefined
        ? undefined
        : checkNumber(given.defaultDivisor, 'defaultDivisor', { min: 1e-30, ...float32Range }),
  }
  // Mistakes are said now, also those in what a method that is another at first does not use yet.
  momentAt({ ...source, method: { ...source.method, at: () => ({}) } }, 1)
  momentAt(source, 1)
  return {
    ...source,
    optimizer: resolveOptimizer(given.optimizer),
    temperature: checkNumber(given.temperature ?? 1, 'temperature', temperatureRange),
    maxTokensPerMicroBatch:
      maxTokens === undefined ? undefined : checkInteger(maxTokens, 'maxTokensPerMicroBatch', { min: 1 }),
    sharePrompts: checkBoolean(given.sharePrompts ?? true, 'sharePrompts'),
    gradientCheckpointing: checkBoolean(given.gradientCheckpointing ?? false, 'gradientCheckpointing'),
    updateWithoutSignal: checkBoolean(given.updateWithoutSignal ?? false, 'updateWithoutSignal'),
    maxSkippedUpdates: checkInteger(given.maxSkippedUpdates ?? 5, 'maxSkippedUpdates'),
  }
}

function overridesOf(value: unknown, name: string): object {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${name}: expected an options object, got ${describeValue(value)}`)
  }
  return value
}

function resolveOptimizer(value: unknown): ResolvedTrainerOptions['optimizer'] {
  const given = checkOptions(value, 'optimizer', [
    'learningRate',
    'betas',
    'epsilon',
    'weightDecay',
    'maxGradNorm',
    'skipGradNorm',
  ])
  const betas: unknown = given.betas ?? [0.9, 0.999]
  if (!Array.isArray(betas) || betas.length !== 2) {
    throw new TypeError(`optimizer.betas: expected two numbers, got ${describeValue(betas)}`)
  }
  return {
    learningRate: checkNumber(given.learningRate ?? 1e-6, 'optimizer.learningRate', {
      min: 0,
      ...float32Range,
    }),
    betas: [
      checkNumber(betas[0], 'optimizer.betas[0]', { min: 0, below: 1 }),
      checkNumber(betas[1], 'optimizer.betas[1]', { min: 0, below: 1 }),
    ],
    epsilon: checkNumber(given.epsilon ?? 1e-8, 'optimizer.epsilon', { above: 0, ...float32Range }),
    weightDecay: checkNumber(given.weightDecay ?? 0.01, 'optimizer.weightDecay', { min: 0, ...float32Range }),
    maxGradNorm: checkNumber(given.maxGradNorm ?? 1, 'optimizer.maxGradNorm', { min: 0, ...float32Range }),
    skipGradNorm: checkNumber(given.skipGradNorm ?? 0, 'optimizer.skipGradNorm', { min: 0, ...float32Range }),
  }
}
