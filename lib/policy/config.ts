// The shape of a policy: what config.json of Qwen2 / Qwen2.5, Qwen3 and Llama 3.x says, under one set of names.
// Reading and writing Hugging Face's config.json is in hugging-face-config.ts; this file knows the ranges and the
// plain options of `Policy.create`. Every number here drives an allocation or a division, so every one is checked.
import { ConfigError } from '../errors.js'
import {
  checkBoolean,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  describeValue,
} from '../options.js'

export const architectures = ['qwen2', 'qwen3', 'llama'] as const
export type Architecture = (typeof architectures)[number]

/** Llama 3's change of the low rotary frequencies; null means plain rotary embeddings. */
export interface RopeScaling {
  readonly kind: 'llama3'
  readonly factor: number
  readonly lowFreqFactor: number
  readonly highFreqFactor: number
  readonly originalMaxPositions: number
}

export interface PolicyConfig {
  readonly architecture: Architecture
  /** V */
  readonly vocabSize: number
  /** C */
  readonly hiddenSize: number
  /** F, the width of the feed-forward part */
  readonly intermediateSize: number
  readonly layers: number
  /** H */
  readonly heads: number
  /** K: each key/value head serves H / K query heads */
  readonly kvHeads: number
  /** D */
  readonly headDim: number
  readonly rmsNormEps: number
  readonly ropeTheta: number
  readonly ropeScaling: RopeScaling | null
  readonly maxPositions: number
  /** The output matrix is the embedding. */
  readonly tieWordEmbeddings: boolean
  /** Query, key and value projections have biases (Qwen2). */
  readonly qkvBias: boolean
  /** Queries and keys are normalised per head (Qwen3). */
  readonly qkNorm: boolean
  readonly initializerRange: number
  readonly bosTokenId: number | null
  readonly padTokenId: number | null
  readonly eosTokenIds: readonly number[]
}

/** What `Policy.create` takes; only `vocabSize` has no default. */
export interface PolicyOptions {
  architecture?: Architecture
  vocabSize: number
  hiddenSize?: number
  intermediateSize?: number
  layers?: number
  heads?: number
  kvHeads?: number
  headDim?: number
  rmsNormEps?: number
  ropeTheta?: number
  ropeScaling?: RopeScaling | null
  maxPositions?: number
  tieWordEmbeddings?: boolean
  initializerRange?: number
  bosTokenId?: number | null
  padTokenId?: number | null
  eosTokenIds?: number | readonly number[] | null
}

/** Bounds that keep every product of sizes far below 2^53. */
export const limits = {
  vocabSize: 2 ** 22,
  hiddenSize: 2 ** 17,
  intermediateSize: 2 ** 20,
  layers: 1024,
  heads: 1024,
  headDim: 256,
  maxPositions: 2 ** 31 - 1,
} as const

// Hugging Face's names in camelCase mean the same.
const aliases: Readonly<Record<string, keyof PolicyOptions>> = {
  modelType: 'architecture',
  numHiddenLayers: 'layers',
  numLayers: 'layers',
  numAttentionHeads: 'heads',
  numHeads: 'heads',
  numKeyValueHeads: 'kvHeads',
  numKvHeads: 'kvHeads',
  keyValueHeads: 'kvHeads',
  maxPositionEmbeddings: 'maxPositions',
  eosTokenId: 'eosTokenIds',
}

const optionNames: readonly (keyof PolicyOptions)[] = [
  'architecture',
  'vocabSize',
  'hiddenSize',
  'intermediateSize',
  'layers',
  'heads',
  'kvHeads',
  'headDim',
  'rmsNormEps',
  'ropeTheta',
  'ropeScaling',
  'maxPositions',
  'tieWordEmbeddings',
  'initializerRange',
  'bosTokenId',
  'padTokenId',
  'eosTokenIds',
]

/** The configuration of a new policy from plain options, checked, with defaults for what is left out. */
export function createPolicyConfig(options: PolicyOptions, where = 'Policy.create'): PolicyConfig {
  const given = canonicalOptions(options, where)
  if (given.vocabSize === undefined) {
    throw new ConfigError(`${where}: vocabSize is missing`, {
      hint: 'give the number of rows of the embedding',
    })
  }
  const size = (name: keyof typeof limits, fallback: number, min = 1) =>
    checkInteger(given[name] ?? fallback, `${where}: ${name}`, { min, max: limits[name] })

  const architecture = checkChoice(given.architecture ?? 'qwen2', `${where}: architecture`, architectures)
  const vocabSize = size('vocabSize', 0)
  const hiddenSize = size('hiddenSize', 128)
  const heads = size('heads', defaultHeads(hiddenSize))
  const kvHeads = checkInteger(given.kvHeads ?? heads, `${where}: kvHeads`, { min: 1, max: limits.heads })
  if (given.headDim === undefined && hiddenSize % heads !== 0) {
    throw new RangeError(
      `${where}: hiddenSize ${hiddenSize} is not a multiple of heads ${heads}; give headDim`,
    )
  }
  const config: PolicyConfig = {
    architecture,
    vocabSize,
    hiddenSize,
    // Eight thirds of the width, as Llama has it, in whole blocks of 128.
    intermediateSize: size('intermediateSize', Math.ceil((hiddenSize * 8) / 3 / 128) * 128),
    layers: size('layers', 4),
    heads,
    kvHeads,
    headDim: size('headDim', hiddenSize / heads),
    rmsNormEps: checkNumber(given.rmsNormEps ?? 1e-6, `${where}: rmsNormEps`, { above: 0, max: 1 }),
    ropeTheta: checkNumber(given.ropeTheta ?? 10000, `${where}: ropeTheta`, { above: 0 }),
    ropeScaling: checkRopeScaling(given.ropeScaling ?? null, `${where}: ropeScaling`),
    maxPositions: size('maxPositions', 2048),
    tieWordEmbeddings: checkBoolean(given.tieWordEmbeddings ?? true, `${where}: tieWordEmbeddings`),
    qkvBias: architecture === 'qwen2',
    qkNorm: architecture === 'qwen3',
    initializerRange: checkNumber(given.initializerRange ?? 0.02, `${where}: initializerRange`, {
      min: 0,
      max: 10,
    }),
    bosTokenId: checkTokenId(given.bosTokenId ?? null, `${where}: bosTokenId`, vocabSize),
    padTokenId: checkTokenId(given.padTokenId ?? null, `${where}: padTokenId`, vocabSize),
    eosTokenIds: checkTokenIds(given.eosTokenIds ?? [], `${where}: eosTokenIds`, vocabSize),
  }
  const problem = relationProblem(config)
  if (problem !== undefined) throw new RangeError(`${where}: ${problem}`)
  return Object.freeze(config)
}

/** What two sizes must have to do with each other; undefined when all is well. */
export function relationProblem(config: PolicyConfig): string | undefined {
  const { heads, kvHeads, headDim, ropeScaling } = config
  if (heads % kvHeads !== 0) return `heads ${heads} is not a multiple of kvHeads ${kvHeads}`
  if (headDim < 8 || headDim > limits.headDim || headDim % 2 !== 0) {
    return `headDim must be even and from 8 to ${limits.headDim}, got ${headDim}`
  }
  if (ropeScaling !== null && !(ropeScaling.lowFreqFactor < ropeScaling.highFreqFactor)) {
    return (
      `ropeScaling: highFreqFactor must be above lowFreqFactor, ` +
      `got ${ropeScaling.highFreqFactor} and ${ropeScaling.lowFreqFactor}`
    )
  }
  return undefined
}

/** The same policy with another rotary base or another longest sequence, as LUFFY does to Qwen2.5-Math. */
export function withOverrides(
  config: PolicyConfig,
  overrides: { ropeTheta?: number | undefined; maxPositions?: number | undefined },
): PolicyConfig {
  const changed = { ...config }
  if (overrides.ropeTheta !== undefined) {
    changed.ropeTheta = checkNumber(overrides.ropeTheta, 'ropeTheta', { above: 0 })
  }
  if (overrides.maxPositions !== undefined) {
    changed.maxPositions = checkInteger(overrides.maxPositions, 'maxPositions', {
      min: 1,
      max: limits.maxPositions,
    })
  }
  return Object.freeze(changed)
}

// Options under their own names; the other spellings of a name are known too, but not both at once.
function canonicalOptions(options: unknown, where: string): { [name in keyof PolicyOptions]?: unknown } {
  const known = [...optionNames, ...Object.keys(aliases)]
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${where}: expected an object with at least vocabSize, got ${describeValue(options)}`)
  }
  const canonical = Object.create(null) as { [name in keyof PolicyOptions]?: unknown }
  for (const [name, value] of Object.entries(checkOptions(options, where, known))) {
    const target = Object.hasOwn(aliases, name) ? aliases[name]! : (name as keyof PolicyOptions)
    if (canonical[target] !== undefined) {
      throw new ConfigError(`${where}: ${target} is given twice, the second time as ${name}`)
    }
    canonical[target] = value
  }
  return canonical
}

// Heads of 64 for the usual widths and of 32 for small ones.
function defaultHeads(hiddenSize: number): number {
  const width = hiddenSize >= 256 ? 64 : 32
  return Math.max(1, Math.floor(hiddenSize / width))
}

function checkRopeScaling(value: unknown, name: string): RopeScaling | null {
  if (value === null) return null
  const given = checkOptions(value, name, [
    'kind',
    'factor',
    'lowFreqFactor',
    'highFreqFactor',
    'originalMaxPositions',
  ])
  return Object.freeze({
    kind: checkChoice(given.kind, `${name}.kind`, ['llama3'] as const),
    factor: checkNumber(given.factor, `${name}.factor`, { min: 1 }),
    lowFreqFactor: checkNumber(given.lowFreqFactor, `${name}.lowFreqFactor`, { above: 0 }),
    highFreqFactor: checkNumber(given.highFreqFactor, `${name}.highFreqFactor`, { above: 0 }),
    originalMaxPositions: checkInteger(given.originalMaxPositions, `${name}.originalMaxPositions`, {
      min: 1,
      max: limits.maxPositions,
    }),
  })
}

function checkTokenId(value: unknown, name: string, vocabSize: number): number | null {
  return value === null ? null : checkInteger(value, name, { max: vocabSize - 1 })
}

function checkTokenIds(value: unknown, name: string, vocabSize: number): readonly number[] {
  const list: unknown[] = Array.isArray(value) ? Array.from(value) : [value]
  const ids = list.map((id, i) =>
    checkInteger(id, Array.isArray(value) ? `${name}[${i}]` : name, { max: vocabSize - 1 }),
  )
  return Object.freeze([...new Set(ids)])
}
