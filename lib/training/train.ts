// The training loop: sample, score, update, log, evaluate, save.

import { AbortedError } from '../errors.js'
import { checkOptions, checkSignal } from '../options.js'
import { measureAccuracy } from '../rewards/accuracy.js'
import type { Task } from '../rewards/task.js'
import { Policy } from '../sampler/policy.js'
import { Device } from '../tensor/device.js'
import type { TrainGroup } from './groups.js'
import type { StepMetrics } from './metrics.js'
import { type Rollout, rollOut } from './rollout.js'
import type { CompletionRow } from './run-folder.js'
import { bestSet, checkFits, itemsOf, namedTask } from './run-task.js'
import { learningRateAt } from './schedule.js'
import {
  type ResolvedTrainConfig,
  resolveTrainConfig,
  type TrainConfig,
  trainerOptionsOf,
} from './train-config.js'
import { Trainer } from './trainer.js'
import { TrainingRun } from './training-run.js'

/** What happens during a run, in order. */
export type TrainEvent =
  | { type: 'start'; runFolder: string; step: number; maxSteps: number; notices: string[] }
  | { type: 'sampling'; step: number; completed: number; total: number; tokens: number }
  | { type: 'step'; step: number; metrics: StepMetrics; samples: CompletionRow[] }
  | { type: 'evaluating'; step: number; set: string }
  | { type: 'evaluation'; step: number; accuracy: Record<string, number> }
  | { type: 'checkpoint'; step: number; folder: string }
  | { type: 'end'; step: number; runFolder: string; checkpoint: string }

export interface TrainOptions {
  /** Stops the run: the optimizer step is finished or the sampling given up, a checkpoint saved. */
  signal?: AbortSignal
  onEvent?: (event: TrainEvent) => void
  /** A task of your own; default: the one that the configuration names. */
  task?: Task
}

export interface TrainResult {
  runFolder: string
  checkpoint: string
  step: number
  /** Accuracy by evaluation set at the end. */
  accuracy: Record<string, number>
}

/**
 * Trains a policy as a configuration says, in a run folder that a later call resumes bit for bit.
 *
 * @throws {ConfigError} listing every mistake of the configuration
 * @throws {AbortedError} after the signal fired and a checkpoint was saved (`details.checkpoint`)
 * @throws {NonFiniteError} when the run diverged; the last good checkpoint is kept
 * @throws {CheckpointError} when the run folder is locked, torn or cannot be written
 */
export async function train(config: TrainConfig, options: TrainOptions = {}): Promise<TrainResult> {
  const given = checkOptions(options, 'train', ['signal', 'onEvent', 'task'])
  const signal = checkSignal(given.signal, 'signal')
  const { onEvent = () => {} } = options
  const checked = resolveTrainConfig(config)
  if (options.task !== undefined) return await trainOn(options.task, checked, signal, onEvent)
  const task = await namedTask(checked, signal)
  try {
    return await trainOn(task, checked, signal, onEvent)
  } finally {
    await task.dispose?.()
  }
}

async function trainOn(
  task: Task,
  checked: ResolvedTrainConfig,
  signal: AbortSignal | undefined,
  onEvent: (event: TrainEvent) => void,
): Promise<TrainResult> {
  const resolved = { ...checked, bestBy: bestSet(task, checked) }
  await using device = await Device.open(
    resolved.device,
    resolved.threads ? { threads: resolved.threads } : {},
  )
  await using run = await TrainingRun.open(resolved, device)
  const { ropeTheta, maxPositions } = resolved
  await using policy = await Policy.load(run.checkpoint?.folder ?? resolved.model, {
    device,
    ...(ropeTheta === undefined ? {} : { ropeTheta }),
    ...(maxPositions === undefined ? {} : { maxPositions }),
  })
  checkFits(task, policy, resolved)
  await using trainer = await Trainer.create(policy, trainerOptionsOf(resolved))
  await run.restore(trainer)
  onEvent({
    type: 'start',
    runFolder: run.folder.path,
    step: run.step,
    maxSteps: resolved.maxSteps,
    notices: [...run.notices, ...(task.notices ?? [])],
  })

  const context: Context = { config: resolved, task, policy, trainer, run, signal, onEvent }
  try {
    for (;;) {
      // Also where a run goes on that was stopped between a step and its evaluation.
      if (evaluationIsDue(context)) await evaluate(context)
      if (run.newest === undefined && run.step > 0 && saveIsDue(context)) await save(context)
      if (run.step >= resolved.maxSteps) break
      if (signal?.aborted) throw new AbortedError('training was stopped', { cause: signal.reason })
      await step(context, run.step + 1)
    }
  } catch (error) {
    if (!AbortedError.isInstance(error) || run.step === 0) throw error
    const folder = await save(context)
    throw new AbortedError(`stopped at step ${run.step}, saved ${folder}`, {
      cause: error,
      details: { step: run.step, checkpoint: folder },
    })
  }
  const checkpoint = run.newest ?? (await save(context))
  onEvent({ type: 'end', step: run.step, runFolder: run.folder.path, checkpoint })
  return { runFolder: run.folder.path, checkpoint, step: run.step, accuracy: run.evaluation?.accuracy ?? {} }
}

interface Context {
  config: ResolvedTrainConfig
  task: Task
  policy: Policy
  trainer: Trainer
  run: TrainingRun
  signal: AbortSignal | undefined
  onEvent: (event: TrainEvent) => void
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
  const { config, task, policy, trainer, run, signal, onEvent } = context
  const started = performance.now()
  const items = await itemsOf(task, config, number)
  const rollout = await rollOut(
    policy,
    task,
    items,
    trainer.options.method,
    config,
    number,
    signal,
    progress => onEvent({ type: 'sampling', step: number, ...progress }),
  )
  const groups = await withAdvantages(trainer, rollout)
  const learningRate = learningRateAt(scheduleOf(config), number - 1)
  const updates: StepMetrics[] = []
  for (let start = 0; start < groups.length; start += config.promptsPerUpdate) {
    updates.push(
      await trainer.trainStep(groups.slice(start, start + config.promptsPerUpdate), { learningRate }),
    )
  }
  const seconds = (performance.now() - started) / 1000
  const metrics = { ...combined(updates), ...rollout.metrics, step: number, stepSeconds: seconds }
  const trained =
    (metrics.onPolicyTokens ?? 0) + (metrics.offPolicyTokens ?? 0) + (metrics.supervisedTokens ?? 0)
  metrics.tokensPerSecond = trained / seconds
  await run.completeStep(metrics, config.logCompletions ? rollout.rows : [])
  onEvent({ type: 'step', step: number, metrics, samples: rollout.rows })
}

/** Groups with their members' advantages, which are also noted in the rows. */
async function withAdvantages(trainer: Trainer, rollout: Rollout): Promise<TrainGroup[]> {
  const advantages = await trainer.advantages(rollout.groups)
  const flat = advantages.flat()
  rollout.rows
    .filter(row => row.reward !== null)
    .forEach((row, i) => {
      row.advantage = flat[i] as number
    })
  if (trainer.options.method.demonstrationTokens === 'supervised') return rollout.groups
  return rollout.groups.map((group, g) => ({
    members: group.members.map((member, m) => ({ ...member, advantage: advantages[g]?.[m] as number })),
  }))
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
  return result as unknown as StepMetrics
}

async function evaluate(context: Context): Promise<void> {
  const { config, task, policy, run, signal, onEvent } = context
  const accuracy: Record<string, number> = {}
  for (const set of task.evaluations) {
    onEvent({ type: 'evaluating', step: run.step, set: set.name })
    const { mean } = await measureAccuracy(policy, task, set, {
      maxTokens: config.maxCompletionLength,
      temperature: config.evalTemperature,
      seed: config.seed,
      signal,
    })
    accuracy[set.name] = mean
  }
  await run.evaluated(accuracy)
  onEvent({ type: 'evaluation', step: run.step, accuracy })
}

async function save(context: Context): Promise<string> {
  const { policy, trainer, task, run, onEvent } = context
  const folder = await run.save(policy, trainer, task)
  onEvent({ type: 'checkpoint', step: run.step, folder })
  return folder
}

function scheduleOf(config: ResolvedTrainConfig) {
  return {
    kind: config.lrSchedule,
    peak: config.learningRate,
    warmupSteps: config.warmupSteps,
    totalSteps: Math.max(1, config.maxSteps),
  }
}
