// The task of a run: the one that its configuration names, whether a policy fits it, and the prompts of each step.
import { batchIndices } from '../data/batches.js'
import { ConfigError } from '../errors.js'
import type { PolicyConfig } from '../policy/config.js'
import { checkTokenizerFits } from '../policy/tokenizer-load.js'
import type { Task, TaskItem } from '../rewards/task.js'
import { dataTask } from './data-task.js'
import { opChainsTask } from './tasks.js'
import type { ResolvedTrainConfig } from './train-config.js'

/** The task that a configuration names. */
export async function namedTask(config: ResolvedTrainConfig, signal: AbortSignal | undefined): Promise<Task> {
  const { data, ...rest } = config
  return data === undefined ? opChainsTask(config.task) : dataTask({ ...rest, data }, signal)
}

/** Throws where a policy cannot run a task: ids it does not have, fewer positions than its prompts and responses take. */
export function checkFits(
  folder: string,
  { vocabSize, maxPositions }: Pick<PolicyConfig, 'vocabSize' | 'maxPositions'>,
  task: Task,
  config: ResolvedTrainConfig,
): void {
  checkTokenizerFits(task.tokenizer, vocabSize, folder)
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
