// A task: prompts with reference answers and demonstrations, a tokenizer, and how completions are judged.
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
  /** Ends what the task keeps running. `train` calls it for tasks that it made itself. */
  dispose?: () => Promise<void>
}
