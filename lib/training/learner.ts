// The policy of a run with its trainer, loaded and fit for the task.
import { TokenizerError } from '../errors.js'
import type { Task } from '../rewards/task.js'
import { Policy } from '../sampler/policy.js'
import type { Device } from '../tensor/device.js'
import { type ResolvedTrainConfig, trainerOptionsOf } from './train-config.js'
import { Trainer } from './trainer.js'

export class Learner {
  readonly policy: Policy
  readonly trainer: Trainer

  private constructor(policy: Policy, trainer: Trainer) {
    this.policy = policy
    this.trainer = trainer
  }

  /** Throws what Policy.load and Trainer.create throw, and TokenizerError where the task has more tokens. */
  static async load(
    folder: string,
    config: ResolvedTrainConfig,
    task: Task,
    device: Device,
    signal: AbortSignal | undefined,
  ): Promise<Learner> {
    const policy = await Policy.load(folder, { device, ...(signal ? { signal } : {}) })
    try {
      checkVocabulary(folder, policy.config.vocabSize, task)
      return new Learner(policy, await Trainer.create(policy, trainerOptionsOf(config)))
    } catch (error) {
      await policy.dispose()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.trainer.dispose()
    await this.policy.dispose()
  }
}

/** Throws TokenizerError where a task's tokenizer has ids that a policy does not have. */
export function checkVocabulary(folder: string, vocabSize: number, { name, tokenizer }: Task): void {
  if (tokenizer.vocabSize <= vocabSize) return
  throw new TokenizerError(
    `${folder}: the policy has ${vocabSize} tokens, the tokenizer of the task ${name} has ${tokenizer.vocabSize}`,
    { hint: "give a model whose vocabulary holds the task's tokens", path: folder },
  )
}
