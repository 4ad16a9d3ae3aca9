// The task of a run: the one that its configuration names, whether it fits the policy, and the prompts of each step.
import { batchIndices } from '../data/batches.js'
import { ConfigError } from '../errors.js'
import { checkTokenizerFits } from '../policy/tokenizer-load.js'
import type { Task, TaskItem } from '../rewards/task.js'
import type { Policy } from '../sampler/policy.js'
import { dataTask } from './data-task.js'
import { opChainsTask } from './tasks.js'
import { type ResolvedTrainConfig, trainConfigDefaults } from './train-config.js'

/** The task that a configuration names. */
export async function namedTask(config: ResolvedTrainConfig, signal: AbortSignal | undefined): Promise<Task> {
  const { data, ...rest } = config
  return data === undefined ? opChainsTask(config.task) : dataTask({ ...rest, data }, signal)
}

/** The set by which checkpoints of data are compared: its first one where none is named. */
export function bestSet({ evaluations }: Task, { data, bestBy }: ResolvedTrainConfig): string {
  const names = evaluations.map(({ name }) => name)
  if (data === undefined || names.length === 0 || names.includes(bestBy)) return bestBy
  if (bestBy === trainConfigDefaults.bestBy) return names[0] as string
  throw new ConfigError(`bestBy: expected one of ${names.join(', ')}, got ${bestBy}`)
}

/** What would otherwise fail in the middle of a run. */
export function checkFits(task: Task, policy: Policy, config: ResolvedTrainConfig): void {
  const { vocabSize, maxPositions } = policy.config
  checkTokenizerFits(task.tokenizer, vocabSize, config.model)
  const longest = (config.data?.maxPromptLength ?? 0) + config.maxCompletionLength
  if (config.data === undefined || longest <= maxPositions) return
  throw new ConfigError(
    `data.maxPromptLength (${config.data.maxPromptLength}) and maxCompletionLength (${config.maxCompletionLength}) ` +
      `are ${longest} tokens, the policy has ${maxPositions} positions`,
    { hint: 'lower one of them' },
  )
}

/** The prompts of a step. */
export async function itemsOf(
  task: Task,
  config: ResolvedTrainConfig,
  step: number,
): Promise<readonly TaskItem[]> {
  if (task.batch !== undefined) return await task.batch(config.seed, config.promptsPerStep, step)
  const indices = batchIndices(config.seed, task.training.length, config.promptsPerStep, step)
  return indices.map(i => task.training[i] as TaskItem)
}
