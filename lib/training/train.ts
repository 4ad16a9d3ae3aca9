// The training loop: sample, score, update, log, evaluate, save.

import { join } from 'node:path'
import { tell } from '../callback.js'
import { AbortedError, NonFiniteError } from '../errors.js'
import { checkCallback, checkOptions, checkSignal } from '../options.js'
import { measureAccuracy } from '../rewards/accuracy.js'
import { checkTask, type Task } from '../rewards/task.js'
import type { Policy } from '../sampler/policy.js'
import { Device } from '../tensor/device.js'
import { rowsToLog } from './completion-log.js'
import { type FailedStep, writeDiverged } from './diverged.js'
import { rollOutStep } from './dynamic-sampling.js'
import type { PreparedGroups } from './groups.js'
import { Learner } from './learner.js'
import type { StepMetrics } from './metrics.js'
import type { Moment } from './moment.js'
import type { Rollout } from './rollout.js'
import { type CompletionRow, checkpointSteps } from './run-folder.js'
import { RunLock } from './run-lock.js'
import { itemsOf, namedTask } from './run-task.js'
import { learningRateAt } from './schedule.js'
import { addedHistograms } from './token-log.js'
import {
  bestSetOf,
  deviceOptionsOf,
  type ResolvedTrainConfig,
  readTrainConfig,
  type TrainConfig,
} from './train-config.js'
import type { Trainer } from './trainer.js'
import { TrainingRun } from './training-run.js'

/** What happens during a run, in order. */
export type TrainEvent =
  | { type: 'start'; runFolder: string; step: number; maxSteps: number; notices: string[] }
  | { type: 'notice'; step: number; text: string }
  | { type: 'sampling'; step: number; completed: number; total: number; tokens: number }
  | { type: 'step'; step: number; metrics: StepMetrics; samples: CompletionRow[] }
  | { type: 'evaluating'; step: number; set: string }
  | { type: 'evaluation'; step: number; accuracy: Record<string, number> }
  | { type: 'checkpoint'; step: number; folder: string }
  | { type: 'end'; step: number; runFolder: string; checkpoint: string }

export interface TrainOptions {
  /** Stops the run: the optimizer step is finished or the sampling given up, a checkpoint saved. */
  signal?: AbortSignal
  /**
   * Told of what happens; a promise is waited for. What it throws ends the run, after the steps that are done were saved
   * (lib/callback.ts).
   */
  onEvent?: (event: TrainEvent) => unknown
  /** A task of your own; default: the one that the configuration names. */
  task?: Task
}

export interface TrainResult {
  runFolder: string
  checkpoint: string
  step: number
  /** Accuracy by evaluation set at the end. */
  accuracy: Record<string, number>
  /** How often this call met each reason of a reward, such as `timed out`. */
  rewardReasons: Record<string, number>
}

/**
 * Trains a policy as a configuration says, in a run folder that a later call resumes bit for bit.
 *
 * @throws {ConfigError} listing every mistake of the configuration
 * @throws {AbortedError} after the signal fired and a checkpoint was saved (`details.checkpoint`)
 * @throws {RewardError} when the reward failed on every response of a step or of an evaluation
 * @throws {NonFiniteError} when the run diverged; the last good checkpoint is kept, the step is in diverged/
 * @throws what onEvent throws, after the steps that are done were saved
 * @throws {CheckpointError} when the run folder is locked, torn or cannot be written
 */
export async function train(config: TrainConfig, options: TrainOptions = {}): Promise<TrainResult> {
  const given = checkOptions(options, 'train', ['signal', 'onEvent', 'task'])
  const signal = checkSignal(given.signal, 'signal')
  const onEvent = checkCallback<TrainEvent>(given.onEvent, 'onEvent')
  const { config: read, notices } = readTrainConfig(config)
  const call: Call = { read, notices, signal, onEvent }
  if (given.task !== undefined) return await trainOn(checkTask(given.task), call)
  const task = await namedTask(read, signal)
  try {
    return await trainOn(task, call)
  } finally {
    await task.dispose?.()
  }
}

interface Call {
  read: ResolvedTrainConfig
  notices: readonly string[]
  signal: AbortSignal | undefined
  onEvent: ((event: TrainEvent) => unknown) | undefined
}

async function trainOn(task: Task, { read, notices, signal, onEvent }: Call): Promise<TrainResult> {
  const resolved = { ...read, bestBy: bestSetOf(read, task) }
  const done = await alreadyDone(resolved)
  if (done !== undefined) {
    const { runFolder, step } = done
    const text = `${runFolder}: already at step ${step}, maxSteps is ${resolved.maxSteps}: nothing to do`
    await tell(onEvent, {
      type: 'start',
      runFolder,
      step,
      maxSteps: resolved.maxSteps,
      notices: [...notices, text],
    })
    await tell(onEvent, { type: 'end', step, runFolder, checkpoint: done.checkpoint })
    return done
  }
  await using device = await Device.open(resolved.device, deviceOptionsOf(resolved))
  // A new run loads its model before its folder is made, so that a model that cannot be trained leaves nothing behind.
  const load = (folder: string) => Learner.load(folder, resolved, task, device, signal)
  await using first = (await isNew(resolved)) ? await load(resolved.model) : undefined
  await using run = await TrainingRun.open(resolved, device, task.fingerprints)
  await using learner = run.checkpoint
    ? await load(run.checkpoint.folder)
    : (first ?? (await load(resolved.model)))
  const { policy, trainer } = learner
  await run.restore(trainer)

  const failure: { error?: unknown } = {}
  const emit = async (event: TrainEvent) => {
    try {
      await tell(onEvent, event)
    } catch (error) {
      failure.error = error
      throw error
    }
  }
  const context: Context = { config: resolved, task, policy, trainer, run, signal, emit, reasons: {} }
  try {
    await emit({
      type: 'start',
      runFolder: run.folder.path,
      step: run.step,
      maxSteps: resolved.maxSteps,
      notices: [...notices, ...run.notices, ...(task.notices ?? []), ...learner.notices],
    })
    for (;;) {
      // Also where a run goes on that was stopped between a step and its evaluation.
      if (evaluationIsDue(context)) await evaluate(context)
      if (run.newest === undefined && run.step > 0 && saveIsDue(context)) await save(context)
      if (run.step >= resolved.maxSteps) break
      if (signal?.aborted) throw new AbortedError('training was stopped', { cause: signal.reason })
      await step(context, run.step + 1)
    }
    const checkpoint = run.newest ?? (await save(context))
    await emit({ type: 'end', step: run.step, runFolder: run.folder.path, checkpoint })
    const accuracy = run.evaluation?.accuracy ?? {}
    return {
      runFolder: run.folder.path,
      checkpoint,
      step: run.step,
      accuracy,
      rewardReasons: context.reasons,
    }
  } catch (error) {
    throw await ended(context, error, failure)
  }
}

/** What a run that ends early throws, once what can be kept is kept. */
async function ended(context: Context, error: unknown, failure: { error?: unknown }): Promise<unknown> {
  const { policy, trainer, task, run } = context
  if (Object.hasOwn(failure, 'error') && failure.error === error) {
    // The caller's function failed, not the run: the steps that are done stay. It is told nothing more.
    if (run.step > 0 && run.newest === undefined) await run.save(policy, trainer, task).catch(() => {})
    return error
  }
  if (NonFiniteError.isInstance(error)) return diverged(context, error)
  if (!AbortedError.isInstance(error) || run.step === 0) return error
  const folder = run.newest ?? (await save(context))
  return new AbortedError(`stopped at step ${run.step}, saved ${folder}`, {
    cause: error,
    details: { step: run.step, checkpoint: folder },
  })
}

/** Leaves what is needed to replay the step, and says where. */
async function diverged({ config, trainer, run, attempt }: Context, error: NonFiniteError): Promise<unknown> {
  if (attempt === undefined) return error
  try {
    const checkpoint = (await checkpointSteps(run.folder.path))[0]
    const folder = await writeDiverged(run.folder.path, attempt, error, {
      config,
      trainer,
      checkpoint: checkpoint === undefined ? undefined : `checkpoint-${checkpoint}`,
    })
    return new NonFiniteError(error.message, {
      hint: `the step is in ${folder}`,
      path: folder,
      details: { ...error.details, diverged: folder },
      cause: error,
    })
  } catch {
    return error // the disk's trouble must not hide that the run diverged
  }
}

/** The end of a run that is beyond `maxSteps`, of whose folder nothing is changed. Throws as TrainingRun.open does. */
async function alreadyDone(config: ResolvedTrainConfig): Promise<TrainResult | undefined> {
  const [newest = 0] = await checkpointSteps(join(config.outputDir, config.runName))
  if (newest <= config.maxSteps) return undefined
  const { folder, checkpoint } = await TrainingRun.inspect(config)
  if (checkpoint === undefined || checkpoint.step <= config.maxSteps) return undefined
  const accuracy = await TrainingRun.accuracyAt(checkpoint.folder)
  return {
    runFolder: folder,
    checkpoint: checkpoint.folder,
    step: checkpoint.step,
    accuracy,
    rewardReasons: {},
  }
}

/** Whether a run has no checkpoint yet. Throws CheckpointError where another process trains in its folder. */
async function isNew({ outputDir, runName }: ResolvedTrainConfig): Promise<boolean> {
  const folder = join(outputDir, runName)
  RunLock.refuseIfHeld(folder)
  return (await checkpointSteps(folder)).length === 0
}

interface Context {
  config: ResolvedTrainConfig
  task: Task
  policy: Policy
  trainer: Trainer
  run: TrainingRun
  signal: AbortSignal | undefined
  emit: (event: TrainEvent) => Promise<void>
  /** Reasons of rewards so far. */
  reasons: Record<string, number>
  /** Of the last save, until a step logs it. */
  saveSeconds?: number | undefined
  /** The step that is being done. */
  attempt?: FailedStep
}

function evaluationIsDue({ config, run }: Context): boolean {
  if (run.evaluation?.step === run.step) return false
  return (
    (run.step > 0 && run.step === config.maxSteps) ||
    (config.evalSteps > 0 && run.step % config.evalSteps === 0)
  )
}

function saveIsDue({ config, run }: Context): boolean {
  return run.step === config.maxSteps || run.step % config.saveSteps === 0
}

/** One step: sample, score, advantages, one or more updates, log. */
async function step(context: Context, number: number): Promise<void> {
  const { config, task, policy, trainer, run, signal, emit } = context
  const started = performance.now()
  const items = await itemsOf(task, config, number)
  const attempt: FailedStep = {
    step: number,
    prompts: items.map(item => task.tokenizer.encode(item.prompt)),
    updates: [],
  }
  context.attempt = attempt
  const moment = trainer.at(number)
  const rollout = await rollOutStep(
    {
      policy,
      task,
      config,
      moment,
      signal,
      onProgress: progress => emit({ type: 'sampling', step: number, ...progress }),
    },
    round => itemsOf(task, config, round),
    items,
  )
  if (rollout.notice !== undefined) await emit({ type: 'notice', step: number, text: rollout.notice })
  const groups = await prepare(trainer, rollout, number)
  const learningRate = learningRateOf(config, moment)
  const updates: StepMetrics[] = []
  let first = 0
  Object.assign(attempt, { learningRate, updates, rollout: rollout.metrics })
  if (moment.freshOptimizer) await trainer.resetOptimizer()
  const memberRows = rollout.memberRows.flat()
  const perUpdate = moment.oneUpdate ? Math.max(1, groups.length) : config.promptsPerUpdate
  // Without groups once as well: an update without a signal is counted as such.
  for (let start = 0; start < Math.max(1, groups.length); start += perUpdate) {
    attempt.groups = groups.slice(start, start + perUpdate)
    const onDemonstration = (i: number, logProbs: Float32Array) => {
      const row = rollout.rows[memberRows[first + i] ?? -1]
      if (row !== undefined) row.logProbs = [...logProbs]
    }
    updates.push(await trainer.trainStep(attempt.groups, { learningRate, onDemonstration }))
    first += attempt.groups.members.flat().length
  }
  const seconds = (performance.now() - started) / 1000
  const metrics = { ...combined(updates), ...rollout.metrics, step: number, stepSeconds: seconds }
  const trained =
    (metrics.onPolicyTokens ?? 0) + (metrics.offPolicyTokens ?? 0) + (metrics.supervisedTokens ?? 0)
  metrics.tokensPerSecond = trained / seconds
  for (const [reason, count] of Object.entries(metrics.rewardReasons ?? {})) {
    context.reasons[reason] = (context.reasons[reason] ?? 0) + count
  }
  if (context.saveSeconds !== undefined) metrics.saveSeconds = context.saveSeconds
  context.saveSeconds = undefined
  const { rows, leftOut } = await rowsToLog(config.logCompletions ? rollout.rows : [], task.tokenizer)
  if (config.logCompletions) metrics.unloggedCompletions = leftOut
  await run.completeStep(metrics, rows)
  await emit({ type: 'step', step: number, metrics, samples: rollout.rows })
}

/** The step's groups, checked once for all of its updates; the advantages are also noted in the rows. */
async function prepare(trainer: Trainer, rollout: Rollout, step: number): Promise<PreparedGroups> {
  const prepared = await trainer.prepare(rollout.groups, { step })
  const flat = prepared.advantages.flat()
  rollout.memberRows.flat().forEach((index, i) => {
    const row = rollout.rows[index]
    if (row !== undefined) row.advantage = flat[i] as number
  })
  return prepared
}

/** Metrics of a step's updates as one: sums of counts, means over updates of the rest. */
function combined(updates: readonly StepMetrics[]): StepMetrics {
  const summed = new Set<keyof StepMetrics>([
    'skippedUpdates',
    'noSignalUpdates',
    'onPolicyTokens',
    'offPolicyTokens',
    'supervisedTokens',
    'ratioClamped',
    'offPolicyUnderflow',
    'updateSeconds',
  ])
  const result: Record<string, number> = {}
  for (const name of new Set(updates.flatMap(update => Object.keys(update)))) {
    const values = updates
      .map(update => update[name as keyof StepMetrics])
      .filter((value): value is number => typeof value === 'number')
    if (values.length === 0) continue
    const total = values.reduce((sum, value) => sum + value, 0)
    result[name] =
      name === 'numTokens' || name === 'liveBytes'
        ? Math.max(...values)
        : summed.has(name as keyof StepMetrics)
          ? total
          : total / values.length
  }
  const weights = addedHistograms(
    updates.flatMap(update => (update.demonstrationWeights ? [update.demonstrationWeights] : [])),
  )
  return { ...result, ...(weights ? { demonstrationWeights: weights } : {}) } as unknown as StepMetrics
}

async function evaluate(context: Context): Promise<void> {
  const { config, task, policy, run, signal, emit } = context
  const accuracy: Record<string, number> = {}
  const started = performance.now()
  for (const set of task.evaluations) {
    await emit({ type: 'evaluating', step: run.step, set: set.name })
    const { mean, notice } = await measureAccuracy(policy, task, set, {
      maxTokens: config.maxCompletionLength,
      temperature: config.evalTemperature,
      seed: config.seed,
      signal,
    })
    accuracy[set.name] = mean
    if (notice !== undefined) {
      await emit({ type: 'notice', step: run.step, text: `${set.name}: ${notice}` })
    }
  }
  await run.evaluated(accuracy, (performance.now() - started) / 1000)
  await emit({ type: 'evaluation', step: run.step, accuracy })
}

async function save(context: Context): Promise<string> {
  const { policy, trainer, task, run, emit } = context
  const started = performance.now()
  const folder = await run.save(policy, trainer, task)
  context.saveSeconds = (performance.now() - started) / 1000
  await emit({ type: 'checkpoint', step: run.step, folder })
  return folder
}

function learningRateOf(
  config: ResolvedTrainConfig,
  { step, learningRate, scheduleStart = 0 }: Moment,
): number {
  const schedule = {
    kind: config.lrSchedule,
    peak: config.learningRate,
    warmupSteps: config.warmupSteps,
    totalSteps: Math.max(1, config.maxSteps - scheduleStart),
  }
  return learningRate ?? learningRateAt(schedule, step - 1 - scheduleStart)
}
