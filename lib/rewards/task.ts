// A task: prompts with reference answers and demonstrations, a tokenizer, and how completions are judged.
import { checkArray, checkFunction, checkInteger, checkObject, checkString } from '../options.js'
import type { Tokenizer } from '../policy/tokenizer-simple.js'
import type { Reward } from './reward.js'

/** A prompt with what is known about it. */
export interface TaskItem {
  prompt: string
  /** The reference answer, for the reward. */
  answer: string
  /** A right response of a stronger model, its end token included. */
  demonstration?: string
}

export interface EvaluationSet {
  name: string
  items: readonly TaskItem[]
}

export interface Task {
  name: string
  tokenizer: Tokenizer
  /** Prompts to train on, in a fixed order; the loop shuffles them by its seed. */
  training: readonly TaskItem[]
  /**
   * Where the data need not fit into memory, in place of `training`: the `count` prompts of a step (from 1). The same
   * arguments always give the same prompts.
   */
  batch?: (seed: number, count: number, step: number) => Promise<readonly TaskItem[]>
  /** Held-out sets, by which a run is watched and its best checkpoint chosen. */
  evaluations: readonly EvaluationSet[]
  reward: Reward<TaskItem>
  /** What a user should know before the run, such as how many rows were left out. */
  notices?: readonly string[]
  /** Of the files that the training prompts come from: a run that goes on refuses others. */
  fingerprints?: Readonly<Record<string, string>>
  /** Ends what the task keeps running. `train` calls it for tasks that it made itself. */
  dispose?: () => Promise<void>
}

/** A task as callers give it. Throws TypeError or RangeError naming the place: `task.training[3].answer: expected ...`. */
export function checkTask(value: unknown): Task {
  const task = checkObject(value, 'task', 'a Task')
  checkString(task.name, 'task.name')
  const tokenizer = checkObject(task.tokenizer, 'task.tokenizer', 'a Tokenizer')
  checkInteger(tokenizer.vocabSize, 'task.tokenizer.vocabSize', { min: 1 })
  checkInteger(tokenizer.endId, 'task.tokenizer.endId')
  checkArray(tokenizer.endIds, 'task.tokenizer.endIds').forEach((id, i) => {
    checkInteger(id, `task.tokenizer.endIds[${i}]`)
  })
  for (const method of ['encode', 'decode', 'save']) {
    checkFunction(tokenizer[method], `task.tokenizer.${method}`)
  }
  checkFunction(task.reward, 'task.reward')
  const training = checkItems(task.training, 'task.training')
  if (task.batch !== undefined) checkFunction(task.batch, 'task.batch')
  else if (training.length === 0) throw new RangeError('task.training: expected at least one item, got none')
  checkArray(task.evaluations, 'task.evaluations').forEach((set, i) => {
    checkEvaluationSet(set, `task.evaluations[${i}]`)
  })
  return value as Task
}

export function checkEvaluationSet(value: unknown, where: string): EvaluationSet {
  const set = checkObject(value, where, '{ name, items }')
  checkString(set.name, `${where}.name`)
  checkItems(set.items, `${where}.items`)
  return value as EvaluationSet
}

function checkItems(value: unknown, where: string): unknown[] {
  const items = checkArray(value, where)
  for (const [i, given] of items.entries()) {
    const item = checkObject(given, `${where}[${i}]`, '{ prompt, answer }')
    if (checkString(item.prompt, `${where}[${i}].prompt`) === '') {
      throw new RangeError(`${where}[${i}].prompt: expected at least one character, got ""`)
    }
    checkString(item.answer, `${where}[${i}].answer`)
    if (item.demonstration === undefined) continue
    if (checkString(item.demonstration, `${where}[${i}].demonstration`) === '') {
      throw new RangeError(
        `${where}[${i}].demonstration: expected a response, got ""; leave it out where there is none`,
      )
    }
  }
  return items
}
