// The losses and advantages as functions on plain arrays, for researchers who bring their own loop.

import {
  type AdvantageSettings,
  type Baseline,
  baselineNames,
  groupAdvantageTensor,
} from '../ops/group-advantages.js'
import { logitsPolicyLossKernel } from '../ops/logits-policy-loss.js'
import { createMetricSums, policyLossKernel } from '../ops/policy-loss.js'
import {
  type LossMetrics,
  lossMetrics,
  nativeObjective,
  type Objective,
  type ResolvedObjective,
  resolveObjective,
  TokenKind,
  tokenWeights,
} from '../ops/policy-objective.js'
import {
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  describeValue,
  float32Range,
  temperatureRange,
} from '../options.js'
import { checkTokens } from '../policy/packing.js'
import { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'

/** A plain array with its shape, row-major. */
export interface NdArray<Data = Float32Array> {
  data: Data
  shape: readonly number[]
}

/** Flags and numbers may come as any typed array. */
export type NumericArray = Float32Array | Float64Array | Int32Array | Uint8Array

export interface PolicyLossInputs {
  /** [B, L] each. */
  logProbs: NdArray<NumericArray>
  oldLogProbs?: NdArray<NumericArray>
  advantages: NdArray<NumericArray>
  /** 1 where the token counts. */
  mask: NdArray<NumericArray>
  /** 1 where the token belongs to a demonstration. */
  offPolicyMask: NdArray<NumericArray>
  /** Needed with klCoef. */
  refLogProbs?: NdArray<NumericArray>
  /** Probabilities of the demonstrator; absent: taken as 1. */
  teacherProbs?: NdArray<NumericArray>
}

export interface PolicyLossResult {
  loss: number
  /** d loss / d logProbs, [B, L]. */
  gradLogProbs: NdArray
  metrics: LossMetrics
}

const lossInputs = [
  'logProbs',
  'oldLogProbs',
  'advantages',
  'mask',
  'offPolicyMask',
  'refLogProbs',
  'teacherProbs',
] as const

/**
 * LUFFY's token objective (arXiv 2504.14945, equations 5 to 8, and the options of `Objective`) from log-probabilities.
 *
 * @throws {RangeError} for shapes that differ, for klCoef without refLogProbs and for entropyCoef (which needs logits)
 */
export async function policyLoss(
  device: Device,
  inputs: PolicyLossInputs,
  objective: Objective = {},
): Promise<PolicyLossResult> {
  const given = checkOptions(inputs, 'policyLoss', lossInputs) as Partial<PolicyLossInputs>
  const resolved = resolveObjective(objective)
  if (resolved.entropyCoef !== 0) {
    throw new RangeError(
      'objective.entropyCoef: the entropy is not known from log-probabilities; use logitsPolicyLoss',
    )
  }
  const shape = shapeOf(given.logProbs, 'logProbs', 2)
  return run(device, async () => {
    const targets = tokenTargets(device, given, shape, resolved)
    const metrics = createMetricSums(device)
    const logProbs = device.float32(numbers(given.logProbs, 'logProbs', shape))
    const gradient = policyLossKernel(logProbs, targets.tensors, targets.native, metrics)
    const [data, sums] = await Promise.all([device.readFloat32(gradient), device.readFloat64(metrics)])
    const means = lossMetrics(sums, resolved)
    return { loss: means.loss, gradLogProbs: { data, shape }, metrics: means }
  })
}

export interface LogitsPolicyLossInputs extends Omit<PolicyLossInputs, 'logProbs'> {
  /** [B, L, V] */
  logits: NdArray<NumericArray>
  /** [B, L] token ids */
  tokens: NdArray<Int32Array>
  /** Default 1. */
  temperature?: number
}

export interface LogitsPolicyLossResult {
  loss: number
  /** [B, L], of `tokens` under softmax(logits / temperature), and the entropy of that distribution. */
  logProbs: NdArray
  entropy: NdArray
  /** d loss / d logits, [B, L, V]. */
  gradLogits: NdArray
  metrics: LossMetrics
}

/** The same objective from logits, with the entropy bonus. Throws as policyLoss, and for token ids outside V. */
export async function logitsPolicyLoss(
  device: Device,
  inputs: LogitsPolicyLossInputs,
  objective: Objective = {},
): Promise<LogitsPolicyLossResult> {
  const given = checkOptions(inputs, 'logitsPolicyLoss', [
    'logits',
    'tokens',
    'temperature',
    ...lossInputs.slice(1),
  ]) as Partial<LogitsPolicyLossInputs>
  const resolved = resolveObjective(objective)
  const full = shapeOf(given.logits, 'logits', 3)
  const shape = full.slice(0, 2)
  const vocabSize = full[2] as number
  const rows = (shape[0] as number) * (shape[1] as number)
  const temperature = checkNumber(given.temperature ?? 1, 'temperature', temperatureRange)
  sameShape(shapeOf(given.tokens, 'tokens', 2), shape, 'tokens')
  const tokens = checkTokens(given.tokens?.data, 'tokens.data', vocabSize)
  return run(device, async () => {
    const targets = tokenTargets(device, given, shape, resolved)
    const metrics = createMetricSums(device)
    const logits = device.float32(numbers(given.logits, 'logits', full), [rows, vocabSize])
    const { logProbs, entropy } = logitsPolicyLossKernel(
      logits,
      device.int32(tokens),
      temperature,
      targets.tensors,
      targets.native,
      metrics,
    )
    const [gradients, logProbData, entropyData, sums] = await Promise.all([
      device.readFloat32(logits),
      device.readFloat32(logProbs),
      device.readFloat32(entropy),
      device.readFloat64(metrics),
    ])
    const means = lossMetrics(sums, resolved)
    return {
      loss: means.loss,
      logProbs: { data: logProbData, shape },
      entropy: { data: entropyData, shape },
      gradLogits: { data: gradients, shape: full },
      metrics: means,
    }
  })
}

const weightRange = { min: -1e30, max: 1e30 } as const

/** Default 'mean': the whole group's mean, no division, as LUFFY and Dr.GRPO have it. */
export type AdvantageOptions = Partial<Omit<AdvantageSettings, 'clip'>> & { clip?: number | undefined }

export interface GroupRewards {
  /** [N] */
  rewards: ArrayLike<number>
  /** [N] integers; members of a group need not be adjacent. */
  groups: ArrayLike<number>
  /** [N], 1 for demonstrations. */
  offPolicy: ArrayLike<number | boolean>
}

export function resolveAdvantageOptions(
  options: AdvantageOptions = {},
  where = 'advantages',
): AdvantageSettings {
  const given = checkOptions(options, where, [
    'baseline',
    'epsilon',
    'clip',
    'onPolicyWeight',
    'offPolicyWeight',
  ])
  return {
    baseline: checkChoice(given.baseline ?? 'mean', `${where}.baseline`, baselineNames) as Baseline,
    epsilon: checkNumber(given.epsilon ?? 1e-6, `${where}.epsilon`, { min: 0 }),
    clip: checkNumber(given.clip ?? 0, `${where}.clip`, { min: 0, ...float32Range }),
    onPolicyWeight: checkNumber(given.onPolicyWeight ?? 1, `${where}.onPolicyWeight`, weightRange),
    offPolicyWeight: checkNumber(given.offPolicyWeight ?? 1, `${where}.offPolicyWeight`, weightRange),
  }
}

/**
 * The advantage of every member of every group (arXiv 2504.14945, equation 4; GRPO's with baseline 'mean-std').
 *
 * @param device where to compute; without one, a CPU device is opened for this call
 * @returns [N]
 */
export async function groupAdvantages(
  inputs: GroupRewards,
  options: AdvantageOptions = {},
  device?: Device,
): Promise<Float32Array> {
  const given = checkOptions(inputs, 'groupAdvantages', ['rewards', 'groups', 'offPolicy'])
  const settings = resolveAdvantageOptions(options, 'groupAdvantages')
  const rewards = Float32Array.from(arrayLike(given.rewards, 'rewards'), (reward, i) =>
    checkNumber(reward, `rewards[${i}]`, weightRange),
  )
  const groups = Int32Array.from(arrayLike(given.groups, 'groups'), (group, i) =>
    checkInteger(group, `groups[${i}]`, { min: -(2 ** 31), max: 2 ** 31 - 1 }),
  )
  const offPolicy = Uint8Array.from(arrayLike(given.offPolicy, 'offPolicy'), (value: unknown, i) => {
    if (value === 0 || value === 1 || typeof value === 'boolean') return Number(value)
    throw new TypeError(`offPolicy[${i}]: expected true, false, 0 or 1, got ${describeValue(value)}`)
  })
  for (const [name, { length }] of Object.entries({ groups, offPolicy })) {
    if (length !== rewards.length) {
      throw new RangeError(`${name}: expected the ${rewards.length} members of rewards, got ${length}`)
    }
  }
  const own = device === undefined ? await Device.open('cpu', { threads: 1 }) : undefined
  const target = (device ?? own) as Device
  try {
    return await run(target, () =>
      target.readFloat32(
        groupAdvantageTensor(
          target.float32(rewards),
          target.int32(groups),
          target.uint8(offPolicy),
          settings,
        ),
      ),
    )
  } finally {
    await own?.dispose()
  }
}

// Runs an asynchronous body whose tensors live until its reads are enqueued: reads enqueue before the scope ends.
function run<Result>(device: Device, body: () => Promise<Result>): Promise<Result> {
  if (!(device instanceof Device)) {
    throw new TypeError(`device: expected a Device (see Device.open), got ${describeValue(device)}`)
  }
  let result: Promise<Result> | undefined
  device.scope(() => {
    result = body()
  })
  return result as unknown as Promise<Result>
}

function tokenTargets(
  device: Device,
  inputs: Partial<Omit<PolicyLossInputs, 'logProbs'>>,
  shape: readonly number[],
  objective: ResolvedObjective,
) {
  const [batch, length] = shape as [number, number]
  const mask = numbers(inputs.mask, 'mask', shape)
  const offPolicy = numbers(inputs.offPolicyMask, 'offPolicyMask', shape)
  const kinds = Uint8Array.from(mask, (counts, i) =>
    counts === 0 ? TokenKind.masked : offPolicy[i] === 0 ? TokenKind.onPolicy : TokenKind.offPolicy,
  )
  const sequences = Array.from({ length: batch }, (_, b) => ({
    length,
    tokens: kinds.subarray(b * length, (b + 1) * length).reduce((sum, kind) => sum + (kind ? 1 : 0), 0),
  }))
  const perSequence = tokenWeights(objective.reduction, sequences)
  const weights = Float32Array.from(
    kinds,
    (_, i) => objective.policyCoef * (perSequence[Math.floor(i / length)] as number),
  )
  const tokens = sequences.reduce((sum, sequence) => sum + sequence.tokens, 0)
  if (objective.klCoef > 0 && inputs.refLogProbs === undefined) {
    throw new RangeError('objective.klCoef: expected refLogProbs as well, got none')
  }
  const optional = (name: 'oldLogProbs' | 'refLogProbs' | 'teacherProbs'): Tensor | undefined =>
    inputs[name] === undefined ? undefined : device.float32(numbers(inputs[name], name, shape))
  return {
    native: nativeObjective(objective, tokens),
    tensors: {
      oldLogProbs: optional('oldLogProbs'),
      advantages: device.float32(numbers(inputs.advantages, 'advantages', shape)),
      weights: device.float32(weights),
      kinds: device.uint8(kinds),
      refLogProbs: optional('refLogProbs'),
      teacherProbs: optional('teacherProbs'),
    },
  }
}

function shapeOf(array: NdArray<unknown> | undefined, name: string, rank: number): number[] {
  const shape = array?.shape
  if (
    !Array.isArray(shape) ||
    shape.length !== rank ||
    !Array.from(shape).every(n => Number.isSafeInteger(n) && (n as number) >= 0)
  ) {
    throw new TypeError(
      `${name}: expected { data, shape } with ${rank} sizes, got ${array === undefined || array === null ? 'nothing' : `shape ${describeValue(shape)}`}`,
    )
  }
  return [...shape] as number[]
}

function sameShape(got: readonly number[], expected: readonly number[], name: string): void {
  if (got.length !== expected.length || got.some((n, i) => n !== expected[i])) {
    throw new RangeError(`${name}: expected the shape [${expected}], got [${got}]`)
  }
}

function numbers(
  array: NdArray<NumericArray> | undefined,
  name: string,
  shape: readonly number[],
): Float32Array {
  sameShape(shapeOf(array, name, shape.length), shape, name)
  const { data } = array as NdArray<NumericArray>
  if (!ArrayBuffer.isView(data) || data instanceof DataView) {
    throw new TypeError(`${name}.data: expected a typed array, got ${describeValue(data)}`)
  }
  if (typeof data[0] === 'bigint') {
    throw new TypeError(`${name}.data: expected a typed array of numbers, got ${describeValue(data)}`)
  }
  const size = shape.reduce((product, n) => product * n, 1)
  if (data.length !== size) {
    throw new RangeError(`${name}.data: expected the ${size} elements of [${shape}], got ${data.length}`)
  }
  return data instanceof Float32Array ? data : Float32Array.from(data)
}

function arrayLike(value: unknown, name: string): ArrayLike<number> {
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) {
    return value as unknown as ArrayLike<number>
  }
  throw new TypeError(`${name}: expected an array, got ${describeValue(value)}`)
}
