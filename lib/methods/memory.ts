// What a method keeps from step to step, such as a buffer of past successes. It is saved in checkpoints as records, and a
// run that resumes from them goes on bit for bit: so every choice is a function of the records, the step and the seed.
import type { SequenceLogProbs } from '../policy/policy-model.js'
import type { RatedMember } from './method.js'

/** A prompt of a step: a TaskItem. */
export interface PromptItem {
  prompt: string
  answer: string
  demonstration?: string
}

/** An off-policy response that stands in a group beside the samples. */
export interface Replay {
  /** Without the prompt. */
  tokens: Int32Array
  /** Under the policy that sampled them. */
  logProbs: Float32Array
}

export interface StepPrompts<Item extends PromptItem = PromptItem> {
  item: Item
  /** Takes the place of one sample. */
  replay?: Replay
}

export interface RecallContext {
  step: number
  seed: number
  encode: (prompt: string) => Int32Array
  /** Log-probabilities and entropies of given tokens under the policy as it is now. */
  logProbs: (
    sequences: readonly { tokens: Int32Array; promptLength: number }[],
  ) => Promise<readonly SequenceLogProbs[]>
}

export interface MethodMemory {
  /** The prompts of a step, before it is sampled: those of the data, some of them replaced. As many as there were. */
  recall(items: readonly PromptItem[], context: RecallContext): Promise<readonly StepPrompts[]>
  /** The groups of the step with their rewards, before `choose`. */
  remember(groups: readonly { item: PromptItem; members: readonly RatedMember[] }[]): void
  /** All of it as JSON values, of which each becomes a line. */
  records(): Iterable<unknown>
  /** Takes up what records() gave. Throws TypeError or RangeError for what it cannot have given. */
  restore(records: readonly unknown[]): void
}
