// The tasks that a configuration can name.
import { opChainsTokenizer, TEST_SETS, testSet, trainingSet } from '../data/op-chains/index.js'
import { checkBoolean, checkInteger, checkOptions } from '../options.js'
import { opChainsReward } from '../rewards/op-chains.js'
import type { Reward } from '../rewards/reward.js'
import type { Task, TaskItem } from '../rewards/task.js'

/** Prompts of a set: well below the number of distinct ones. */
export const mostItems = 100_000

export interface OpChainsOptions {
  /** As a configuration names the task. */
  name?: 'op-chains'
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
  const given = checkOptions(options, 'opChainsTask', ['name', 'seed', 'size', 'hard', 'testSize'])
  const seed = checkInteger(given.seed ?? 0, 'seed')
  const size = checkInteger(given.size ?? 512, 'size', { min: 1, max: mostItems })
  const hard = checkBoolean(given.hard ?? true, 'hard')
  const testSize = checkInteger(given.testSize ?? 200, 'testSize', { min: 1, max: mostItems })
  return {
    name: 'op-chains',
    tokenizer: opChainsTokenizer(),
    training: trainingSet({ seed, size, hard }),
    evaluations: TEST_SETS.map(name => ({ name, items: testSet(name, { seed, size: testSize }) })),
    reward: opChainsReward as Reward<TaskItem>,
  }
}
