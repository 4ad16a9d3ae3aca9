// The configuration of a run: one schema, every default in one place. Unknown names are errors that name the nearest.
import { z } from 'zod'
import { ALL_TEST_SETS, HELD_OUT_PARTS, TEST_SETS } from '../data/op-chains/index.js'
import { ConfigError } from '../errors.js'
import { type MethodName, methods, resolveMethod } from '../methods/index.js'
import type { Method } from '../methods/method.js'
import { baselineNames } from '../ops/group-advantages.js'
import { reductionKinds, shapingKinds, supervisedWeights } from '../ops/policy-objective.js'
import { describeValue, nearestName } from '../options.js'
import type { Task } from '../rewards/task.js'
import { checkComputes, computeDtypes } from '../tensor/compute-dtype.js'
import { checkDeviceName, type DeviceOptions } from '../tensor/device.js'
import { translateAliases } from './config-aliases.js'
import { mistakesOf, optionOf, withoutMistakes } from './config-mistakes.js'
import { dataSchema } from './data-config.js'
import { SCHEDULE_KINDS } from './schedule.js'
import { resolveTrainerOptions, type TrainerOptions } from './trainer-options.js'

const count = z.int().min(1)
const share = z.number().min(0).max(1)

const schema = z.strictObject({
  // core
  /** A Hugging Face folder. */
  model: z.string().min(1),
  /** Another rotary base, or another window, than the model's config.json says; checkpoints record them. */
  ropeTheta: z.number().positive().optional(),
  maxPositions: count.optional(),
  method: z.enum(Object.keys(methods) as [keyof typeof methods]).default('luffy'),
  /** The method's own numbers, such as sftSteps of sftThenRl. */
  methodOptions: z.record(z.string(), z.number()).default({}),
  task: z
    .strictObject({
      name: z.literal('op-chains').default('op-chains'),
      seed: z.int().min(0).default(0),
      size: count.max(100_000).default(512),
      hard: z.boolean().default(true),
      secretRate: share.default(0.12),
      mergeRate: share.default(0.2),
      checkRate: share.default(0.1),
      testSize: count.max(100_000).default(200),
      testSeed: z.int().min(0).optional(),
      heldOut: z.enum(HELD_OUT_PARTS).default('all'),
      sets: z.array(z.enum(ALL_TEST_SETS)).default([...TEST_SETS]),
    })
    .prefault({}),
  /** Files of prompts, in place of the task. */
  data: dataSchema.optional(),
  outputDir: z.string().min(1).default('runs'),
  runName: z
    .string()
    .refine(name => /^[^/\\\0]+$/.test(name) && name !== '.' && name !== '..', 'expected one path component')
    .default('luffy'),
  seed: z.int().min(0).default(0),
  maxSteps: z.int().min(0).default(100),
  // groups
  promptsPerStep: count.default(16),
  /** Members of a group, demonstrations included. */
  numGenerations: z.int().min(1).max(65536).default(8),
  demonstrationsPerPrompt: z.int().min(0).max(1).default(1),
  /** Prompts per optimizer update; must divide promptsPerStep. */
  promptsPerUpdate: count.default(8),
  maxCompletionLength: count.default(64),
  temperature: z.number().positive().default(1),
  topK: z.int().min(0).default(0),
  topP: z.number().gt(0).max(1).default(1),
  minP: share.default(0),
  /**
   * Responses cut at maxCompletionLength: true, their tokens do not count; advantage: they count for entropy and means but
   * have no advantage; member: they leave their group, its baseline too.
   */
  maskTruncated: z.union([z.boolean(), z.enum(['advantage', 'member'])]).default(false),
  /** Groups whose rewards are all equal are left out, and other prompts sampled in their place for so many more rounds. */
  skipUniformGroups: z.boolean().default(false),
  resampleRounds: z.int().min(0).max(16).default(0),
  /** Demonstrations as prefixes that the policy continues: the share of the trace that is given. */
  prefix: z
    .strictObject({
      fraction: z.union([share, z.tuple([share, share])]).optional(),
      schedule: z
        .strictObject({
          kind: z.enum(['linear', 'cosine']).default('linear'),
          from: share.default(1),
          to: share.default(0),
          steps: count.default(100),
        })
        .optional(),
    })
    .optional(),
  /** Longer demonstrations are cut, without an end token, instead of dropped. */
  truncateDemonstrations: z.boolean().default(false),
  // optimizer
  learningRate: z.number().min(0).default(1e-4),
  lrSchedule: z.enum(SCHEDULE_KINDS).default('constant'),
  warmupSteps: z.int().min(0).default(5),
  adamBetas: z.tuple([share, share]).default([0.9, 0.95]),
  adamEpsilon: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0.01),
  maxGradNorm: z.number().min(0).default(1),
  /** Updates with a larger gradient are skipped; 0 = off. */
  skipGradNorm: z.number().min(0).default(0),
  // objective: what is left out is the method's
  objective: z
    .strictObject({
      clip: z.union([z.literal(false), z.strictObject({ low: share, high: z.number().min(0) })]).optional(),
      dualClip: z.number().gt(1).optional(),
      logRatioClamp: z.number().min(0).optional(),
      shaping: z
        .strictObject({
          kind: z.enum(shapingKinds),
          gamma: z.number().positive().optional(),
          exponent: z.number().positive().optional(),
        })
        .optional(),
      offPolicyCap: z.number().positive().optional(),
      supervisedWeight: z.enum(supervisedWeights).optional(),
      reduction: z
        .strictObject({ kind: z.enum(reductionKinds), divisor: z.number().positive().optional() })
        .optional(),
      sftReduction: z
        .strictObject({ kind: z.enum(reductionKinds), divisor: z.number().positive().optional() })
        .optional(),
      policyCoef: z.number().min(0).optional(),
      sftCoef: z.number().min(0).optional(),
      entropyCoef: z.number().optional(),
    })
    .prefault({}),
  advantages: z
    .strictObject({
      baseline: z.enum(baselineNames as [(typeof baselineNames)[number]]).optional(),
      epsilon: z.number().min(0).optional(),
      clip: z.number().min(0).optional(),
      onPolicyWeight: z.number().optional(),
      offPolicyWeight: z.number().optional(),
    })
    .prefault({}),
  updateWithoutSignal: z.boolean().default(false),
  // evaluation, saving
  /** Steps between evaluations; 0 = only at the end. */
  evalSteps: z.int().min(0).default(25),
  evalTemperature: z.number().min(0).default(0.6),
  /** The set whose accuracy chooses the best checkpoint. Default: `hard` where the task has it, else its first. */
  bestBy: z.string().optional(),
  /** Steps between checkpoints; one is always saved at the end. */
  saveSteps: count.default(50),
  saveTotalLimit: count.default(2),
  logCompletions: z.boolean().default(true),
  resume: z.enum(['auto', 'never']).default('auto'),
  // machine
  device: z.string().default('auto'),
  dtype: z.enum(computeDtypes).default('float32'),
  /** On CUDA: products of bfloat16 by luffy's own kernel alone, see DeviceOptions. */
  deterministic: z.boolean().default(false),
  threads: count.max(256).optional(),
  maxTokensPerMicroBatch: count.optional(),
  gradientCheckpointing: z.boolean().default(false),
})

/** As in a file; in code, `method` may also be a Method of your own. */
export type TrainConfig = Omit<z.input<typeof schema>, 'method'> & { method?: MethodName | Method }
export type ResolvedTrainConfig = Omit<z.output<typeof schema>, 'method'> & { method: MethodName | Method }

/** One option of a configuration. */
export interface TrainOption {
  /** Dotted: `objective.entropyCoef`. */
  name: string
  /** JSON Schema's word for it; undefined where several types are possible. */
  type: string | undefined
  /** Undefined: there is none, or the method's is taken. */
  default: unknown
}

/** Every option, in the schema's order; a group of options comes before its members. */
export function trainConfigOptions(): TrainOption[] {
  return optionsIn(z.toJSONSchema(schema, { io: 'input' }), '')
}

/** The JSON Schema of a configuration under luffy's own names, for editors and other tools. */
export function trainConfigSchema(): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input' }) as Record<string, unknown>
  return { $schema, title: 'luffy train', description: 'docs/configuration.md of the package luffy', ...rest }
}

type JsonSchema = z.core.JSONSchema.BaseSchema

function optionsIn(node: JsonSchema, prefix: string): TrainOption[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, value]) => {
    const inner = value as JsonSchema
    const name = prefix + key
    const type = typeof inner.type === 'string' ? inner.type : undefined
    const option: TrainOption = { name, type, default: inner.default }
    return [option, ...optionsIn(inner, `${name}.`)]
  })
}

/** A checked configuration, and lines for the user: which options came under the names of other tools. */
export interface ReadTrainConfig {
  config: ResolvedTrainConfig
  notices: string[]
}

/** Checks a configuration and fills in every default. Throws one ConfigError that lists every mistake. */
export function resolveTrainConfig(config: unknown): ResolvedTrainConfig {
  return readTrainConfig(config).config
}

/** The same, with what there is to say about it. Names of TRL and verl are taken too (config-aliases.ts). */
export function readTrainConfig(config: unknown): ReadTrainConfig {
  const { own, rest } = ownMethod(config)
  const { config: translated, notices, mistakes } = translateAliases(rest, optionNames)
  const areTranslated = mistakes.length === 0
  const result = schema.safeParse(translated)
  const issues = result.error?.issues ?? []
  mistakes.push(...mistakesOf(issues, translated, z.toJSONSchema(schema, { io: 'input' })))
  // Options that are right by themselves are held against each other even where others are wrong.
  const others = result.success ? result : schema.safeParse(besideMistakes(translated, issues))
  const wrong = mistakes.map(optionOf)
  const suits = others.success && areTranslated ? relationMistakes(withMethod(others.data, own)) : []
  mistakes.push(
    ...suits.filter(({ options }) => !options.some(name => wrong.includes(name))).map(({ text }) => text),
  )
  if (!result.success || mistakes.length > 0) {
    throw new ConfigError(`configuration: ${mistakes.join('; ')}`, { details: { mistakes } })
  }
  return { config: withMethod(result.data, own), notices }
}

function withMethod(config: z.output<typeof schema>, own: Method | undefined): ResolvedTrainConfig {
  return own === undefined ? config : { ...config, method: own }
}

function besideMistakes(config: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  const rest = withoutMistakes(config, issues)
  return typeof rest === 'object' && rest !== null && !('model' in rest)
    ? { ...rest, model: 'missing' }
    : rest
}

/** What options have to do with each other; `options`: those that each is about. */
function relationMistakes(resolved: ResolvedTrainConfig): { options: string[]; text: string }[] {
  const mistakes: { options: string[]; text: string }[] = []
  if (resolved.promptsPerStep % resolved.promptsPerUpdate !== 0) {
    mistakes.push({
      options: ['promptsPerUpdate', 'promptsPerStep'],
      text: `promptsPerUpdate: expected a divisor of promptsPerStep (${resolved.promptsPerStep}), got ${resolved.promptsPerUpdate}`,
    })
  }
  if (resolved.demonstrationsPerPrompt > resolved.numGenerations) {
    mistakes.push({
      options: ['numGenerations', 'demonstrationsPerPrompt'],
      text: `numGenerations: expected room for the demonstration, got ${resolved.numGenerations}`,
    })
  }
  if (resolved.prefix?.fraction !== undefined && resolved.prefix.schedule !== undefined) {
    mistakes.push({ options: ['prefix'], text: 'prefix: expected fraction or schedule, got both' })
  }
  if (resolved.resampleRounds > 0 && !resolved.skipUniformGroups) {
    mistakes.push({
      options: ['resampleRounds', 'skipUniformGroups'],
      text: 'resampleRounds: expected skipUniformGroups as well: without it no group is replaced',
    })
  }
  for (const check of [
    () => resolveTrainerOptions(trainerOptionsOf(resolved)),
    () => checkDeviceName(resolved.device, 'device'),
    () => checkComputes(resolved.device, resolved.dtype),
  ]) {
    try {
      check()
    } catch (error) {
      const text = (error as Error).message
      mistakes.push({ options: [optionOf(text)], text })
    }
  }
  return mistakes
}

/** A method that is an object and no name, and the configuration without it. */
function ownMethod(config: unknown): { own: Method | undefined; rest: unknown } {
  const given = config as { method?: unknown } | null | undefined
  if (typeof given !== 'object' || typeof given?.method !== 'object' || given.method === null) {
    return { own: undefined, rest: config }
  }
  const { method, ...rest } = given
  return { own: resolveMethod(method), rest }
}

/**
 * The set by which the best checkpoint of a task is chosen; undefined where the task has none.
 *
 * @throws {ConfigError} when `bestBy` names another one, with the nearest
 */
export function bestSetOf(
  config: ResolvedTrainConfig,
  task: Pick<Task, 'name' | 'evaluations'>,
): string | undefined {
  const sets = task.evaluations.map(({ name }) => name)
  if (config.bestBy === undefined) return sets.includes(usualBest) ? usualBest : sets[0]
  if (sets.includes(config.bestBy)) return config.bestBy
  const nearest = nearestName(config.bestBy, sets)
  throw new ConfigError(`bestBy: the task ${task.name} has no set ${describeValue(config.bestBy)}`, {
    hint:
      nearest === undefined
        ? `known: ${sets.join(', ') || 'none'}`
        : `did you mean ${describeValue(nearest)}?`,
    details: { option: 'bestBy', known: sets },
  })
}

const usualBest = 'hard'

/** The option names at a path of the schema. */
export function optionNames(path: readonly PropertyKey[]): string[] {
  let node: unknown = schema
  for (const key of path) node = shapeOf(node)?.[String(key)]
  return Object.keys(shapeOf(node) ?? {})
}

function shapeOf(node: unknown): Record<string, unknown> | undefined {
  let inner = node as { shape?: Record<string, unknown>; unwrap?: () => unknown } | undefined
  while (inner !== undefined && inner.shape === undefined && inner.unwrap)
    inner = inner.unwrap() as typeof inner
  return inner?.shape
}

/** How a configuration opens its device. */
export function deviceOptionsOf({ threads, deterministic }: ResolvedTrainConfig): DeviceOptions {
  return { deterministic, ...(threads === undefined ? {} : { threads }) }
}

/** What a configuration asks of the trainer. */
export function trainerOptionsOf(config: ResolvedTrainConfig): TrainerOptions {
  return {
    method: config.method,
    methodOptions: config.methodOptions,
    objective: dropUndefined(config.objective),
    advantages: dropUndefined(config.advantages),
    // The longest response allowed times the update's sequences, so that it is the same for all updates.
    defaultDivisor: config.maxCompletionLength * config.numGenerations * config.promptsPerUpdate,
    optimizer: {
      learningRate: config.learningRate,
      betas: config.adamBetas,
      epsilon: config.adamEpsilon,
      weightDecay: config.weightDecay,
      maxGradNorm: config.maxGradNorm,
      skipGradNorm: config.skipGradNorm,
    },
    temperature: config.temperature,
    gradientCheckpointing: config.gradientCheckpointing,
    updateWithoutSignal: config.updateWithoutSignal,
    ...(config.maxTokensPerMicroBatch ? { maxTokensPerMicroBatch: config.maxTokensPerMicroBatch } : {}),
  } as TrainerOptions
}

function dropUndefined(object: object): object {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined))
}
