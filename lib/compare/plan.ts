// The runs of a comparison: one per method and seed, each with its whole configuration and a hash that names it.
import { join } from 'node:path'
import { ConfigError } from '../errors.js'
import { exists } from '../io/regular-file.js'
import { withOverrides } from '../policy/config.js'
import { readPolicyConfig } from '../policy/hugging-face-config.js'
import type { Task } from '../rewards/task.js'
import { checkLengths, namedTask } from '../training/run-task.js'
import { type ResolvedTrainConfig, readTrainConfig } from '../training/train-config.js'
import { type Base, hashOf } from './base.js'
import { labelOf, type MethodEntry, optionsOf, type ResolvedCompareConfig } from './compare-config.js'
import { moduleTask } from './task-module.js'

export interface PlannedRun {
  label: string
  seed: number
  config: ResolvedTrainConfig
  /** Options of the module's task. */
  taskOptions: Record<string, unknown>
  module: string | undefined
  /** Of all that decides what the run computes. */
  hash: string
  folder: string
}

export interface Plan {
  runs: PlannedRun[]
  /** Lines for the user. */
  notices: string[]
  /** Evaluation sets by column of the table. */
  columns: Record<string, string[]>
}

/**
 * Every run, seed by seed, so that what is done early is balanced.
 *
 * @throws {ConfigError} listing every mistake of a method's options, or where a prompt is trained on and evaluated on
 */
export async function planRuns(config: ResolvedCompareConfig, base: Base, cores: number): Promise<Plan> {
  const threads = (config.jobs ?? cores) > 1 ? { threads: 1 } : {}
  const tasks = new Map<string, { fingerprint: string; sets: string[] }>()
  const runs: PlannedRun[] = []
  const notices = new Set<string>()
  for (const seed of config.seeds) {
    for (const entry of config.methods) {
      const label = labelOf(entry)
      const { taskOptions, given } = optionsFor(entry, config, base, seed)
      const read = readOptions(label, given)
      await checkPositions(label, read.config)
      for (const notice of read.notices) notices.add(`${label}: ${notice}`)
      const key = hashOf({ ...read.config.task, data: read.config.data, taskOptions })
      const known = tasks.get(key) ?? (await inspectTask(config.module, taskOptions, read.config, label))
      tasks.set(key, known)
      const { outputDir: _, runName: __, model: ___, threads: ____, ...decides } = read.config
      const hash = hashOf({ ...decides, base: base.digest, task: known.fingerprint, data: decides.data })
      const runName = `${read.config.method}-seed-${seed}-${hash}`
      const folder = join(config.outputDir, 'runs', runName)
      runs.push({
        label,
        seed,
        config: { ...read.config, ...threads, outputDir: join(config.outputDir, 'runs'), runName },
        taskOptions,
        module: config.module,
        hash,
        folder,
      })
    }
  }
  const sets = [...new Set([...tasks.values()].flatMap(task => task.sets))]
  return { runs, notices: [...notices], columns: columnsOf(config, sets) }
}

function optionsFor(
  entry: MethodEntry,
  config: ResolvedCompareConfig,
  base: Base,
  seed: number,
): { taskOptions: Record<string, unknown>; given: Record<string, unknown> } {
  const { taskOptions, ...given } = optionsOf(entry, config)
  const task = { seed, ...(given.task as object | undefined) }
  return {
    taskOptions: { seed, ...(taskOptions as object | undefined) },
    given: {
      logCompletions: false,
      saveTotalLimit: 1,
      ...given,
      ...(given.data === undefined ? { task } : {}),
      model: base.folder,
      seed,
      outputDir: config.outputDir,
    },
  }
}

function readOptions(label: string, given: Record<string, unknown>): ReturnType<typeof readTrainConfig> {
  try {
    return readTrainConfig(given)
  } catch (error) {
    if (!ConfigError.isInstance(error)) throw error
    throw new ConfigError(`${label}: ${error.message}`, error.details ? { details: error.details } : {})
  }
}

// Said once, before the first of many processes would say it.
async function checkPositions(label: string, config: ResolvedTrainConfig): Promise<void> {
  if (config.data === undefined || !(await exists(join(config.model, 'config.json')))) return
  const { ropeTheta, maxPositions } = config
  const policy = withOverrides(await readPolicyConfig(config.model), { ropeTheta, maxPositions })
  try {
    checkLengths(policy.maxPositions, config)
  } catch (error) {
    if (!ConfigError.isInstance(error)) throw error
    throw new ConfigError(`${label}: ${error.message}`, { details: error.details ?? {} })
  }
}

/** A run's task, as its own process makes it too. */
export async function taskOf(
  module: string | undefined,
  taskOptions: Record<string, unknown>,
  config: ResolvedTrainConfig,
  signal?: AbortSignal,
): Promise<Task> {
  return module === undefined ? await namedTask(config, signal) : await moduleTask(module, taskOptions)
}

/** What identifies a task, after a look at whether it evaluates on what it trains on. */
async function inspectTask(
  module: string | undefined,
  taskOptions: Record<string, unknown>,
  config: ResolvedTrainConfig,
  label: string,
): Promise<{ fingerprint: string; sets: string[] }> {
  if (config.data !== undefined && !(await exists(join(config.model, 'config.json')))) {
    return { fingerprint: '', sets: [] } // the runs will say that there is no model
  }
  const task = await taskOf(module, taskOptions, config)
  try {
    checkOverlap(task, label)
    const { training, evaluations } = task
    return { fingerprint: hashOf({ training, evaluations }), sets: evaluations.map(({ name }) => name) }
  } finally {
    await task.dispose?.()
  }
}

/** Throws ConfigError where a training prompt is also evaluated on. */
export function checkOverlap(task: Pick<Task, 'name' | 'training' | 'evaluations'>, label: string): void {
  const trained = new Set(task.training.map(({ prompt }) => prompt))
  for (const { name, items } of task.evaluations) {
    const shared = items.filter(({ prompt }) => trained.has(prompt))
    if (shared.length === 0) continue
    throw new ConfigError(
      `${label}: ${shared.length} of ${items.length} prompts of the evaluation set ${name} of ${task.name} are ` +
        `trained on, such as ${JSON.stringify(shared[0]?.prompt)}`,
      { hint: 'evaluate on prompts that training does not see' },
    )
  }
}

/** The configuration's columns, or those that suit the sets. */
function columnsOf(config: ResolvedCompareConfig, sets: readonly string[]): Record<string, string[]> {
  const isOpChains =
    config.module === undefined && ['id', 'narr', 'wide', 'oth', 'q'].every(set => sets.includes(set))
  const usual: Record<string, string[]> = isOpChains
    ? {
        'in distribution': ['id'],
        ...(sets.includes('hard') ? { harder: ['hard'] } : {}),
        'out of distribution': ['narr', 'wide', 'oth', 'q'],
      }
    : Object.fromEntries(sets.map(set => [set, [set]]))
  const columns = config.columns ?? usual
  const unknown = Object.values(columns)
    .flat()
    .find(set => !sets.includes(set))
  if (unknown !== undefined && sets.length > 0) {
    throw new ConfigError(`columns: there is no evaluation set ${JSON.stringify(unknown)}`, {
      hint: `known: ${sets.join(', ')}`,
    })
  }
  if (config.speed !== undefined && !Object.hasOwn(columns, config.speed.column)) {
    throw new ConfigError(`speed.column: expected one of ${Object.keys(columns).join(', ')}`)
  }
  return columns
}
