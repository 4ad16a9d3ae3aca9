// The tasks that a configuration can name.
import {
  ALL_TEST_SETS,
  type AnyTestSetName,
  HELD_OUT_PARTS,
  type HeldOutPart,
  MESSY,
  opChainsTokenizer,
  TEST_SETS,
  TRAINING_SHAPE,
  testSet,
  trainingSet,
} from '../data/op-chains/index.js'
import { checkArray, checkBoolean, checkChoice, checkInteger, checkNumber, checkOptions } from '../options.js'
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
  /** Probability that a letter of a training prompt is the secret operation. Default 0.12. */
  secretRate?: number
  /** Probability that a demonstration merges a step into the next, and that it repeats a state. Default 0.2 and 0.1. */
  mergeRate?: number
  checkRate?: number
  /** Prompts per held-out set. Default 200. */
  testSize?: number
  /** Of the held-out sets. Default: `seed`. */
  testSeed?: number
  /** Of which held-out prompts the sets are: `validation` and `test` share none, whatever the seeds. Default all. */
  heldOut?: HeldOutPart
  /** The held-out sets. Default id, hard, narr, wide, oth, q; there are also easy, mid and long. */
  sets?: readonly AnyTestSetName[]
}

const optionNames = [
  'name',
  'seed',
  'size',
  'hard',
  'secretRate',
  'mergeRate',
  'checkRate',
  'testSize',
  'testSeed',
  'heldOut',
  'sets',
] as const

/** The op chains of lib/data/op-chains: a reasoning task of one token per character for small policies. */
export function opChainsTask(options: OpChainsOptions = {}): Task {
  const given = checkOptions(options, 'opChainsTask', optionNames)
  const seed = checkInteger(given.seed ?? 0, 'seed')
  const size = checkInteger(given.size ?? 512, 'size', { min: 1, max: mostItems })
  const hard = checkBoolean(given.hard ?? true, 'hard')
  const testSize = checkInteger(given.testSize ?? 200, 'testSize', { min: 1, max: mostItems })
  const share = (value: unknown, name: string) => checkNumber(value, name, { min: 0, max: 1 })
  const secretRate = share(given.secretRate ?? TRAINING_SHAPE.secretRate, 'secretRate')
  const style = {
    pskip: share(given.mergeRate ?? MESSY.pskip, 'mergeRate'),
    pchk: share(given.checkRate ?? MESSY.pchk, 'checkRate'),
  }
  const testSeed = checkInteger(given.testSeed ?? seed, 'testSeed')
  const part = checkChoice(given.heldOut ?? 'all', 'heldOut', HELD_OUT_PARTS)
  const sets = checkArray(given.sets ?? TEST_SETS, 'sets').map((name, i) =>
    checkChoice(name, `sets[${i}]`, ALL_TEST_SETS),
  )
  return {
    name: 'op-chains',
    tokenizer: opChainsTokenizer(),
    training: trainingSet({ seed, size, hard, secretRate, style }),
    evaluations: sets.map(name => ({ name, items: testSet(name, { seed: testSeed, size: testSize, part }) })),
    reward: opChainsReward as Reward<TaskItem>,
  }
}
