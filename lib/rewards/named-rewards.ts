// The rewards that a configuration can name. A reward of one's own is passed to `train` with a task.
import { exactMatchReward } from './exact-match.js'
import { mathReward } from './math.js'
import type { Reward } from './reward.js'
import type { TaskItem } from './task.js'
import { isReadableReference } from './verify/verify-answer.js'

export interface RewardContext {
  /** Texts of the tokens that end a response; they are part of the completion where they were sampled. */
  endTexts: readonly string[]
}

export interface NamedReward {
  /** `dispose` ends the threads of rewards that have some. */
  create(context: RewardContext): Reward<TaskItem> & { dispose?: () => Promise<void> }
  /** False for a reference answer by which nothing can be judged: its row is left out and counted. */
  isReadable(answer: string): boolean
}

export const namedRewards = {
  exactMatch: {
    create: ({ endTexts }) => exactMatchReward({ endTexts }),
    isReadable: answer => answer.trim() !== '',
  },
  /** Strict, as training needs it. */
  math: {
    create: ({ endTexts }) => mathReward({ endTexts }),
    isReadable: isReadableReference,
  },
} as const satisfies Record<string, NamedReward>

export type RewardName = keyof typeof namedRewards
export const rewardNames = Object.keys(namedRewards) as [RewardName, ...RewardName[]]
