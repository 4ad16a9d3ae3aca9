// What a method asks of the loss, as users write it, and how it crosses the border. Contract: native/ops/policy-objective.h.
import type { NativePolicyObjective } from '../native.js'
import { checkChoice, checkNumber, checkOptions, float32Range } from '../options.js'

export const shapingKinds = ['none', 'regularized', 'sqrt', 'power'] as const
export type ShapingKind = (typeof shapingKinds)[number]

/** How the importance ratio of a demonstration token is shaped (arXiv 2504.14945, section 3.3). */
export interface Shaping {
  /** none: p; regularized: p / (p + gamma); sqrt: p^0.5; power: p^exponent. */
  kind: ShapingKind
  /** Of 'regularized'; above 0. Default 0.1. */
  gamma?: number
  /** Of 'power'; above 0. */
  exponent?: number
}

/** Detached factor phi on -log p of a supervised token: 1; p, as in DFT (arXiv 2508.05629); p (1 - p), as in CHORD. */
export const supervisedWeights = ['none', 'probability', 'uncertainty'] as const
export type SupervisedWeight = (typeof supervisedWeights)[number]

export const reductionKinds = ['constant', 'token-mean', 'sequence-mean'] as const
export type ReductionKind = (typeof reductionKinds)[number]

/** How token losses become one number. */
export interface LossReduction {
  /** constant: sum / divisor; token-mean; sequence-mean: mean of the means of the sequences that have tokens. */
  kind: ReductionKind
  /** Of 'constant'. Default: the longest response of the update times its number of sequences. */
  divisor?: number
}

/** The token objective; its formulas stand in native/ops/policy-loss-math.h. */
export interface Objective {
  /** PPO clip of the on-policy ratio to [1 - low, 1 + high]. Default: none, as in LUFFY. */
  clip?: { low: number; high: number } | false
  /** Bound c > 1 on the loss of on-policy tokens with a negative advantage (dual clip, arXiv 1912.09729). */
  dualClip?: number
  /** The on-policy log-ratio is limited to [-x, x]; 0 = off. Default 20. */
  logRatioClamp?: number
  shaping?: Shaping
  /** Upper bound on the shaped off-policy ratio. */
  offPolicyCap?: number
  /** Default: none. */
  supervisedWeight?: SupervisedWeight
  reduction?: LossReduction
  /** Of supervised tokens. Default: `reduction`. Each of the two is over the sequences and tokens of its own kind. */
  sftReduction?: LossReduction
  /** Factors on the loss of on- and off-policy tokens and on that of supervised ones. Default 1. */
  policyCoef?: number
  sftCoef?: number
  /** Coefficient of the k3 KL divergence to the reference policy. Default 0. */
  klCoef?: number
  /** Coefficient of the entropy bonus, a token mean. Default 0. */
  entropyCoef?: number
}

/** An objective with every default filled in. */
export interface ResolvedObjective {
  clip: { low: number; high: number } | undefined
  dualClip: number | undefined
  logRatioClamp: number
  shaping: { kind: ShapingKind; gamma: number; exponent: number }
  offPolicyCap: number | undefined
  supervisedWeight: SupervisedWeight
  reduction: LossReduction
  sftReduction: LossReduction
  policyCoef: number
  sftCoef: number
  klCoef: number
  entropyCoef: number
}

const names = [
  'clip',
  'dualClip',
  'logRatioClamp',
  'shaping',
  'offPolicyCap',
  'supervisedWeight',
  'reduction',
  'sftReduction',
  'policyCoef',
  'sftCoef',
  'klCoef',
  'entropyCoef',
] as const

/** Throws ConfigError for an unknown name, RangeError or TypeError for a wrong value. */
export function resolveObjective(objective: Objective = {}, where = 'objective'): ResolvedObjective {
  const given = checkOptions(objective, where, names)
  const number = (name: 'dualClip' | 'offPolicyCap', above: number) =>
    given[name] === undefined || given[name] === null
      ? undefined
      : checkNumber(given[name], `${where}.${name}`, { above, ...float32Range })
  return {
    clip: resolveClip(given.clip, `${where}.clip`),
    dualClip: number('dualClip', 1),
    logRatioClamp: checkNumber(given.logRatioClamp ?? 20, `${where}.logRatioClamp`, {
      min: 0,
      ...float32Range,
    }),
    shaping: resolveShaping(given.shaping, `${where}.shaping`),
    offPolicyCap: number('offPolicyCap', 0),
    supervisedWeight: checkChoice(
      given.supervisedWeight ?? 'none',
      `${where}.supervisedWeight`,
      supervisedWeights,
    ),
    reduction: resolveReduction(given.reduction, `${where}.reduction`),
    sftReduction: resolveReduction(
      given.sftReduction ?? given.reduction,
      given.sftReduction === undefined ? `${where}.reduction` : `${where}.sftReduction`,
    ),
    policyCoef: checkNumber(given.policyCoef ?? 1, `${where}.policyCoef`, { min: 0, ...float32Range }),
    sftCoef: checkNumber(given.sftCoef ?? 1, `${where}.sftCoef`, { min: 0, ...float32Range }),
    klCoef: checkNumber(given.klCoef ?? 0, `${where}.klCoef`, { min: 0, ...float32Range }),
    entropyCoef: checkNumber(given.entropyCoef ?? 0, `${where}.entropyCoef`),
  }
}

function resolveClip(value: unknown, where: string): { low: number; high: number } | undefined {
  if (value === undefined || value === null || value === false) return undefined
  const { low, high } = checkOptions(value, where, ['low', 'high'])
  return {
    low: checkNumber(low, `${where}.low`, { min: 0, max: 1 }),
    high: checkNumber(high, `${where}.high`, { min: 0, ...float32Range }),
  }
}

function resolveShaping(value: unknown, where: string): ResolvedObjective['shaping'] {
  if (value === undefined) return { kind: 'regularized', gamma: 0.1, exponent: 1 }
  const given = checkOptions(value, where, ['kind', 'gamma', 'exponent'])
  const kind = checkChoice(given.kind, `${where}.kind`, shapingKinds)
  if (kind === 'power' && given.exponent === undefined) {
    throw new RangeError(
      `${where}.exponent: expected a number above 0 for the shaping "power", got undefined`,
    )
  }
  return {
    kind,
    gamma: checkNumber(given.gamma ?? 0.1, `${where}.gamma`, { above: 0, ...float32Range }),
    exponent: checkNumber(given.exponent ?? 1, `${where}.exponent`, { above: 0, ...float32Range }),
  }
}

function resolveReduction(value: unknown, where: string): LossReduction {
  if (value === undefined) return { kind: 'constant' }
  const given = checkOptions(value, where, ['kind', 'divisor'])
  const kind = checkChoice(given.kind, `${where}.kind`, reductionKinds)
  if (given.divisor === undefined) return { kind }
  if (kind !== 'constant')
    throw new RangeError(`${where}.divisor: only the reduction "constant" has a divisor`)
  return { kind, divisor: checkNumber(given.divisor, `${where}.divisor`, { min: 1e-30, ...float32Range }) }
}

/** The objective as the kernels take it; `tokens` = unmasked tokens of the whole update. */
export function nativeObjective(objective: ResolvedObjective, tokens: number): NativePolicyObjective {
  const { clip, shaping } = objective
  return {
    clipLow: clip?.low ?? 0,
    clipHigh: clip?.high ?? 0,
    dualClip: objective.dualClip ?? 0,
    logRatioClamp: objective.logRatioClamp,
    shaping: shapingKinds.indexOf(shaping.kind),
    gamma: shaping.gamma,
    exponent: shaping.exponent,
    offPolicyCap: objective.offPolicyCap ?? 0,
    supervisedWeight: supervisedWeights.indexOf(objective.supervisedWeight),
    klCoef: objective.klCoef,
    entropyShare: objective.entropyCoef / Math.max(1, tokens),
  }
}

/** native/ops/policy-objective.h: TokenKind. */
export const TokenKind = { masked: 0, onPolicy: 1, offPolicy: 2, supervised: 3 } as const

/** native/ops/policy-objective.h: the sums of Metric, in their order. */
export const metricSums = [
  'policyLoss',
  'entropy',
  'tokens',
  'onPolicyTokens',
  'offPolicyTokens',
  'supervisedTokens',
  'onPolicyLoss',
  'offPolicyLoss',
  'supervisedLoss',
  'clipped',
  'approxKl',
  'onPolicyProbability',
  'offPolicyProbability',
  'offPolicyRatio',
  'referenceKl',
  'ratioClamped',
  'offPolicyUnderflow',
  'nonFinite',
] as const

/** Means and counts over the unmasked tokens of an update. NaN never appears: a mean over nothing is 0. */
export interface LossMetrics {
  /** Policy loss with its KL term, minus the entropy bonus. */
  loss: number
  policyLoss: number
  /** Mean entropy over unmasked tokens, nats (0 where the entropy is not known). */
  entropy: number
  onPolicyLoss: number
  offPolicyLoss: number
  /** Mean of -phi logProb over supervised tokens. */
  supervisedLoss: number
  clipFraction: number
  approxKl: number
  onPolicyProbability: number
  offPolicyProbability: number
  offPolicyRatio: number
  /** Mean k3 divergence to the reference. */
  kl: number
  onPolicyTokens: number
  offPolicyTokens: number
  supervisedTokens: number
  /** Tokens whose log-ratio met the clamp; off-policy tokens of probability 0; tokens that are not finite. */
  ratioClamped: number
  offPolicyUnderflow: number
  nonFinite: number
}

/** Means from the kernels' sums. */
export function lossMetrics(sums: Float64Array, objective: ResolvedObjective): LossMetrics {
  const sum = Object.fromEntries(metricSums.map((name, i) => [name, sums[i] ?? 0])) as Record<
    (typeof metricSums)[number],
    number
  >
  const mean = (total: number, count: number) => (count > 0 ? total / count : 0)
  const on = sum.onPolicyTokens
  const off = sum.offPolicyTokens
  const entropy = mean(sum.entropy, sum.tokens)
  return {
    loss: sum.policyLoss - objective.entropyCoef * entropy,
    policyLoss: sum.policyLoss,
    entropy,
    onPolicyLoss: mean(sum.onPolicyLoss, on),
    offPolicyLoss: mean(sum.offPolicyLoss, off),
    supervisedLoss: mean(sum.supervisedLoss, sum.supervisedTokens),
    clipFraction: mean(sum.clipped, on),
    approxKl: mean(sum.approxKl, on),
    onPolicyProbability: mean(sum.onPolicyProbability, on),
    offPolicyProbability: mean(sum.offPolicyProbability, off),
    offPolicyRatio: mean(sum.offPolicyRatio, off),
    kl: mean(sum.referenceKl, sum.tokens),
    onPolicyTokens: on,
    offPolicyTokens: off,
    supervisedTokens: sum.supervisedTokens,
    ratioClamped: sum.ratioClamped,
    offPolicyUnderflow: sum.offPolicyUnderflow,
    nonFinite: sum.nonFinite,
  }
}

/** What the reduction needs to know of a sequence, before any of it is computed. */
export interface SequenceCount {
  /** Response tokens, masked ones included. */
  length: number
  /** Unmasked response tokens. */
  tokens: number
}

/**
 * The weight of each sequence's tokens in the loss. Known for the whole update before its first micro-batch, so that
 * the loss does not depend on how the update is cut.
 */
export function tokenWeights(reduction: LossReduction, sequences: readonly SequenceCount[]): Float64Array {
  const tokens = sequences.reduce((sum, sequence) => sum + sequence.tokens, 0)
  const filled = sequences.filter(sequence => sequence.tokens > 0).length
  switch (reduction.kind) {
    case 'token-mean':
      return new Float64Array(sequences.length).fill(1 / Math.max(1, tokens))
    case 'sequence-mean':
      return Float64Array.from(
        sequences,
        sequence => 1 / (Math.max(1, filled) * Math.max(1, sequence.tokens)),
      )
    case 'constant': {
      const longest = sequences.reduce((most, sequence) => Math.max(most, sequence.length), 0)
      const divisor = reduction.divisor ?? Math.max(1, longest * sequences.length)
      return new Float64Array(sequences.length).fill(1 / divisor)
    }
  }
}
