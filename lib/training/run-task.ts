// The task of a run: the one that its configuration names, whether a policy fits it, and the prompts of each step.
import { batchIndices } from '../data/batches.js'
import { ConfigError } from '../errors.js'
import type { Method } from '../methods/method.js'
import type { PolicyConfig } from '../policy/config.js'
import { checkTokenizerFits } from '../policy/tokenizer-load.js'
import type { Task, TaskItem } from '../rewards/task.js'
import { dataTask } from './data-task.js'
import { momentAt } from './moment.js'
import { opChainsTask } from './tasks.js'
import { type ResolvedTrainConfig, trainerOptionsOf } from './train-config.js'
import { resolveTrainerOptions } from './trainer-options.js'

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
  checkLengths(maxPositions, config)
}

/** Throws where prompts and responses of data files may be longer than a policy's positions. */
export function checkLengths(maxPositions: number, config: ResolvedTrainConfig): void {
  const longest = (config.data?.maxPromptLength ?? 0) + config.maxCompletionLength
  if (config.data === undefined || longest <= maxPositions) return
  throw new ConfigError(
    `data.maxPromptLength (${config.data.maxPromptLength}) and maxCompletionLength (${config.maxCompletionLength}) ` +
      `are ${longest} tokens, the policy has ${maxPositions} positions`,
    { hint: 'lower one of them' },
  )
}

/**
 * What is odd about a task but can be meant, for the user to see before the run: lines. Looks at every training item.
 *
 * @throws {RangeError} where the method learns from demonstrations alone, or no item has one
 */
export function taskNotices(
  { training, batch, tokenizer }: Task,
  { maxPositions }: Pick<PolicyConfig, 'maxPositions'>,
  config: ResolvedTrainConfig,
): string[] {
  // Some methods begin with another: that of the first step.
  const { method } = momentAt(resolveTrainerOptions(trainerOptionsOf(config)), 1)
  const notices = groupNotices(method, config)
  if (batch !== undefined) return notices
  if (training.length < config.promptsPerStep) {
    notices.push(
      `task.training has ${training.length} prompts, promptsPerStep is ${config.promptsPerStep}: a step takes some twice`,
    )
  }
  const longest = training.reduce((most, item) => Math.max(most, tokenizer.encode(item.prompt).length), 0)
  if (longest + config.maxCompletionLength > maxPositions) {
    notices.push(
      `the longest prompt (${longest} tokens) and maxCompletionLength (${config.maxCompletionLength}) are more than ` +
        `the policy's ${maxPositions} positions: responses to it end there`,
    )
  }
  if (!method.demonstrations || config.demonstrationsPerPrompt === 0) return notices
  const shown = training.flatMap(item => item.demonstration ?? [])
  if (shown.length === 0) {
    throw new RangeError(
      `task.training: no item has a demonstration, from which ${method.name} learns; give some, or use method grpo`,
    )
  }
  const endless = shown.filter(text => !tokenizer.endIds.includes(tokenizer.encode(text).at(-1) ?? -1)).length
  if (endless > 0) {
    const endText = JSON.stringify(tokenizer.decode([tokenizer.endId]))
    notices.push(
      `${endless} of ${shown.length} demonstrations do not end in an end token (${endText}): they teach no end`,
    )
  }
  return notices
}

// An advantage says how a member did beside the others of its group.
function groupNotices(
  method: Method,
  { numGenerations, demonstrationsPerPrompt }: ResolvedTrainConfig,
): string[] {
  if (!method.onPolicy) return []
  const demonstrations = method.demonstrations ? demonstrationsPerPrompt : 0
  const samples = numGenerations - demonstrations
  if (samples === 0) {
    return [
      `numGenerations (${numGenerations}) counts the demonstration: nothing is sampled, ${method.name} learns from demonstrations alone`,
    ]
  }
  if (numGenerations > 1) return []
  return [`numGenerations is 1: a sample has no other to be compared with, its advantage is its reward`]
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
