// The tasks that a configuration can name.
import { opChainsTokenizer, TEST_SETS, testSet, trainingSet } from '../data/op-chains/index.js'
import { checkInteger } from '../options.js'
import { opChainsReward } from '../rewards/op-chains.js'
import type { Reward } from '../rewards/reward.js'
import type { Task, TaskItem } from '../rewards/task.js'

/** Prompts of a set: well below the number of distinct ones. */
export const mostItems = 100_000

export interface OpChainsOptions {
  /** Of the prompts and demonstrations. Default 0. */
  seed?: number
  /** Distinct training prompts. Default 512. */
  size?: number
  /** Every training prompt holds the secret operation, so that the policy solves none of them. Default true. */
  hard?: boolean
  /** Prompts per held-out set. Default 200. */
  testSize?: number
}

/** The op chains of lib/data/op-chains: a reasoning task of one token per character for small policies. */
export function opChainsTask(options: OpChainsOptions = {}): Task {
  const { seed = 0, size = 512, hard = true, testSize = 200 } = options
  checkInteger(size, 'opChainsTask: size', { min: 1, max: mostItems })
  checkInteger(testSize, 'opChainsTask: testSize', { min: 1, max: mostItems })
  return {
    name: 'op-chains',
    tokenizer: opChainsTokenizer(),
    training: trainingSet({ seed, size, hard }),
    evaluations: TEST_SETS.map(name => ({ name, items: testSet(name, { seed, size: testSize }) })),
    reward: opChainsReward as Reward<TaskItem>,
  }
}
