// The border: the only file that loads the addon. Its type here is complete, and `nativeNames` is compared with what
// the addon really exports by test/native/exports.test.ts.
import { DeviceError, DisposedError, LuffyError, OutOfMemoryError } from './errors.js'
import { loadAddon } from './native-loader.js'

/** A device of this thread, by number. */
export type DeviceHandle = number & { readonly __device: unique symbol }
/** A tensor of this thread, by number: slot, generation and environment. */
export type TensorHandle = number & { readonly __tensor: unique symbol }
/** A tensor argument that may be left out. */
export type MaybeTensor = TensorHandle | null

export type DType = 'float32' | 'bfloat16' | 'float16' | 'int32' | 'uint8' | 'float64'

/** A library of the machine's that takes matrix products of bfloat16 from luffy's own kernel. */
export interface ProductLibrary {
  /** Empty when none was found. */
  file: string
  version: string
  /** Why it is not used; empty when it is. */
  reason: string
}

export interface DeviceInfo {
  backend: string
  isa: string
  /** The card and its architecture; empty on the CPU. */
  description: string
  /** null where a backend knows of none: on the CPU. */
  products: ProductLibrary | null
  threads: number
  /** Bytes of live tensors, their peak, and what the pool and the ops' scratch memory hold besides. */
  liveBytes: number
  peakBytes: number
  cachedBytes: number
  scratchBytes: number
  /** Bytes of the device's memory that may still be had. */
  freeMemory: number
  liveTensors: number
  enqueuedOps: number
  completedOps: number
}

/** Time of one op on the device's thread. */
export interface OpTime {
  op: string
  count: number
  seconds: number
}

export interface SystemInfo {
  isas: string
  cores: number
  availableMemory: number
}

/** native/ops/policy-objective.h: PolicyObjective. 0 means off. */
export interface NativePolicyObjective {
  clipLow: number
  clipHigh: number
  dualClip: number
  logRatioClamp: number
  shaping: number
  gamma: number
  exponent: number
  offPolicyCap: number
  supervisedWeight: number
  klCoef: number
  entropyShare: number
}

/** native/ops/group-advantages.h: AdvantageOptions. */
export interface NativeAdvantageOptions {
  baseline: number
  epsilon: number
  clip: number
  onPolicyWeight: number
  offPolicyWeight: number
}

/** native/ops/adamw.h: AdamWOptions. */
export interface NativeAdamWOptions {
  learningRate: number
  beta1: number
  beta2: number
  epsilon: number
  weightDecay: number
  step: number
}

/** native/ops/sample-tokens.h: SamplingOptions. */
export interface NativeSamplingOptions {
  temperature: number
  topK: number
  topP: number
  minP: number
  seed: number
}

type T = TensorHandle
type M = MaybeTensor
type D = DeviceHandle

export interface Native {
  // native/addon/functions.cpp
  allocate(device: D, dtype: DType, shape: readonly number[]): T
  closeDevice(device: D): void
  deviceInfo(device: D): DeviceInfo
  deviceProducts(device: D): ProductLibrary | null
  opTimes(device: D, reset: boolean): OpTime[]
  openDevice(isa: string, threads: number): D
  openPluginDevice(path: string, ordinal: number, deterministic: boolean): D
  pluginDevices(path: string): { count: number; reason: string }
  pluginProducts(path: string): ProductLibrary
  read(device: D, tensor: T): Promise<ArrayBuffer>
  release(tensor: T): void
  resetPeak(device: D): void
  synchronize(device: D): Promise<void>
  systemInfo(): SystemInfo
  trimMemory(device: D): void
  view(tensor: T, offset: number, shape: readonly number[], rowStride: number): T
  write(device: D, tensor: T, data: ArrayBufferView): void

  // native/ops/op-list.h, argument by argument as in the op's header
  adamw(
    d: D,
    params: T,
    grads: T,
    firstMoment: T,
    secondMoment: T,
    control: T,
    half: M,
    options: NativeAdamWOptions,
  ): void
  addRows(d: D, a: T, b: T, out: T): void
  attentionBackward(
    d: D,
    gradOut: T,
    q: T,
    k: T,
    v: T,
    out: T,
    lse: T,
    sequences: T,
    scale: number,
    gradQ: T,
    gradK: T,
    gradV: T,
  ): void
  attentionDecode(
    d: D,
    q: T,
    keyCache: T,
    valueCache: T,
    blockTable: T,
    lengths: T,
    scale: number,
    out: T,
  ): void
  attentionForward(d: D, q: T, k: T, v: T, sequences: T, scale: number, out: T, lse: M): void
  cast(d: D, input: T, out: T): void
  embeddingBackward(d: D, tokens: T, gradOut: T, gradTable: T): void
  embeddingForward(d: D, tokens: T, table: T, out: T): void
  fill(d: D, out: T, value: number): void
  gatherRowsBackward(d: D, gradOut: T, rows: T, gradX: T): void
  gatherRowsForward(d: D, x: T, rows: T, out: T): void
  gradientNorm(d: D, grads: T, maxNorm: number, control: T): void
  groupAdvantages(
    d: D,
    rewards: T,
    groups: T,
    offPolicy: T,
    options: NativeAdvantageOptions,
    advantages: T,
  ): void
  kvCacheAppend(d: D, k: T, v: T, slots: T, keyCache: T, valueCache: T): void
  kvCacheCopy(d: D, pairs: T, keyCache: T, valueCache: T): void
  linearBackwardInput(d: D, gradOut: T, weight: T, gradX: T, accumulate: boolean): void
  linearBackwardWeight(d: D, gradOut: T, x: T, gradWeight: T, gradBias: M): void
  linearForward(d: D, x: T, weight: T, packed: M, bias: M, residual: M, out: T): void
  linearLogProb(d: D, hidden: T, weight: T, tokens: T, temperature: number, logProbs: T, entropy: M): void
  linearPack(d: D, weight: T, packed: T): void
  linearPackedSize(d: D, n: number, k: number): number
  linearSwigluForward(d: D, x: T, weight: T, packed: M, out: T): void
  linearPolicyLoss(
    d: D,
    hidden: T,
    weight: T,
    tokens: T,
    temperature: number,
    oldLogProbs: M,
    advantages: T,
    weights: T,
    kinds: T,
    refLogProbs: M,
    teacherProbs: M,
    objective: NativePolicyObjective,
    logProbs: T,
    entropy: T,
    gradHidden: T,
    gradWeight: T,
    metrics: T,
  ): void
  logitsPolicyLoss(
    d: D,
    logits: T,
    tokens: T,
    temperature: number,
    oldLogProbs: M,
    advantages: T,
    weights: T,
    kinds: T,
    refLogProbs: M,
    teacherProbs: M,
    objective: NativePolicyObjective,
    logProbs: T,
    entropy: T,
    metrics: T,
  ): void
  matmul(d: D, a: T, b: T, out: T, transposeA: boolean, transposeB: boolean, accumulate: boolean): void
  policyLoss(
    d: D,
    logProbs: T,
    oldLogProbs: M,
    advantages: T,
    weights: T,
    kinds: T,
    refLogProbs: M,
    teacherProbs: M,
    objective: NativePolicyObjective,
    gradLogProbs: T,
    metrics: T,
  ): void
  reduce(d: D, x: T, reduction: number, out: T): void
  rmsNormBackward(d: D, gradOut: T, s: T, weight: T, rstd: T, gradSum: M, gradX: T, gradWeight: T): void
  rmsNormForward(d: D, x: T, residual: M, weight: T, epsilon: number, sum: M, out: T, rstd: M): void
  rope(d: D, x: T, positions: T, cosine: T, sine: T, inverse: boolean): void
  sampleTokens(
    d: D,
    logits: T,
    counters: T,
    options: NativeSamplingOptions,
    tokens: T,
    logProbs: T,
    drawnLogProbs: T,
    entropy: M,
    bad: T,
  ): void
  swigluBackward(d: D, gradOut: T, gateUp: T, gradGateUp: T): void
  swigluForward(d: D, gateUp: T, out: T): void
  tokenLogProbBackward(d: D, logits: T, tokens: T, temperature: number, gradLogProbs: T, gradLogits: T): void
  tokenLogProbForward(d: D, logits: T, tokens: T, temperature: number, logProbs: T, entropy: M): void
}

/** Every function of `Native`, by name; the compiler checks that none is missing or unknown. */
const names: Record<keyof Native, true> = {
  allocate: true,
  closeDevice: true,
  deviceInfo: true,
  deviceProducts: true,
  openDevice: true,
  openPluginDevice: true,
  pluginDevices: true,
  pluginProducts: true,
  opTimes: true,
  read: true,
  release: true,
  resetPeak: true,
  synchronize: true,
  systemInfo: true,
  trimMemory: true,
  view: true,
  write: true,
  adamw: true,
  addRows: true,
  attentionBackward: true,
  attentionDecode: true,
  attentionForward: true,
  cast: true,
  embeddingBackward: true,
  embeddingForward: true,
  fill: true,
  gatherRowsBackward: true,
  gatherRowsForward: true,
  gradientNorm: true,
  groupAdvantages: true,
  kvCacheAppend: true,
  kvCacheCopy: true,
  linearBackwardInput: true,
  linearBackwardWeight: true,
  linearForward: true,
  linearLogProb: true,
  linearPack: true,
  linearPackedSize: true,
  linearPolicyLoss: true,
  linearSwigluForward: true,
  logitsPolicyLoss: true,
  matmul: true,
  policyLoss: true,
  reduce: true,
  rmsNormBackward: true,
  rmsNormForward: true,
  rope: true,
  sampleTokens: true,
  swigluBackward: true,
  swigluForward: true,
  tokenLogProbBackward: true,
  tokenLogProbForward: true,
}
export const nativeNames = Object.keys(names) as (keyof Native)[]

let loaded: Native | undefined

/**
 * The addon, loaded on first use.
 *
 * @throws {NativeMissingError} when it is not built or cannot be loaded here; the message says what to run
 */
export function native(): Native {
  loaded ??= loadAddon() as unknown as Native
  return loaded
}

/** A native error as one of luffy's classes; wrong arguments stay RangeError and TypeError. */
export function translateNativeError(error: unknown): unknown {
  if (!(error instanceof Error) || LuffyError.isInstance(error)) return error
  const { code, bytes } = error as Error & { code?: string; bytes?: number }
  switch (code) {
    case 'DISPOSED':
      return new DisposedError(error.message)
    case 'OUT_OF_MEMORY':
      return new OutOfMemoryError(error.message, {
        hint: 'lower maxTokensPerMicroBatch or the number of sequences sampled at once',
        details: bytes === undefined ? undefined : { bytes },
      })
    case 'STREAM_FAILED':
    case 'NATIVE_ERROR':
      return new DeviceError(error.message, { cause: error })
    default:
      return error
  }
}
