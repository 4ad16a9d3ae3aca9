// The policy of a run with its trainer, loaded and fit for the task.
import type { Task } from '../rewards/task.js'
import { Policy } from '../sampler/policy.js'
import type { Device } from '../tensor/device.js'
import { checkFits, taskNotices } from './run-task.js'
import { type ResolvedTrainConfig, trainerOptionsOf } from './train-config.js'
import { Trainer } from './trainer.js'

export class Learner {
  readonly policy: Policy
  readonly trainer: Trainer
  /** What is odd about the task. */
  readonly notices: readonly string[]

  private constructor(policy: Policy, trainer: Trainer, notices: readonly string[]) {
    this.notices = notices
    this.policy = policy
    this.trainer = trainer
  }

  /** Throws what Policy.load, checkFits and Trainer.create throw. */
  static async load(
    folder: string,
    config: ResolvedTrainConfig,
    task: Task,
    device: Device,
    signal: AbortSignal | undefined,
  ): Promise<Learner> {
    const { ropeTheta, maxPositions } = config
    const policy = await Policy.load(folder, {
      device,
      dtype: config.dtype,
      ...(signal ? { signal } : {}),
      ...(ropeTheta === undefined ? {} : { ropeTheta }),
      ...(maxPositions === undefined ? {} : { maxPositions }),
    })
    try {
      checkFits(folder, policy.config, task, config)
      const notices = taskNotices(task, policy.config, config)
      return new Learner(policy, await Trainer.create(policy, trainerOptionsOf(config)), notices)
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
