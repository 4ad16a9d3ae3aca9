// What a reward is, and how a batch of completions is scored: failures are counted with a reason, never shown as zero.
import { setMaxListeners } from 'node:events'
import { RewardError, throwIfAborted } from '../errors.js'
import { checkArray, checkFunction, checkObject } from '../options.js'
import { printable } from '../printable.js'

/** One completion to judge. */
export interface RewardInput<Row = unknown> {
  /** Position of the prompt in its batch. */
  promptIndex: number
  prompt: string
  /** The response's text, the end token's text included where it was sampled. */
  completion: string
  /** The response's token ids. */
  tokens: Int32Array
  /** The reference answer, when the row has one. */
  answer: string | null
  /** The whole row of the data set. */
  row: Row
  signal?: AbortSignal | undefined
}

/** A reward, or null: this completion cannot be judged and counts for no baseline. */
export type RewardValue = number | null

/** What a reward function returns; the reason is counted and logged beside the reward. */
export type RewardResult = RewardValue | { reward: RewardValue; reason?: string }

export type Reward<Row = unknown> = (input: RewardInput<Row>) => RewardResult | Promise<RewardResult>

export interface ScoredCompletions {
  /** One per input, in the order of the inputs; null where there is no judgement. */
  rewards: RewardValue[]
  /** The reason given for each ('' where none was given). */
  reasons: string[]
  /** How many are null, for whatever reason. */
  nullCount: number
  /** How many of those threw or returned something that is not a finite number. */
  failedCount: number
  /** Which ones those are. */
  failures: boolean[]
  /** How often each reason was given. */
  reasonCounts: Record<string, number>
}

/**
 * Scores completions, all at once where the function is asynchronous. A function that throws, or returns a number
 * that is not finite, gives null and a reason that says so. Throws AbortedError when the signal is aborted.
 */
export async function scoreCompletions<Row>(
  reward: Reward<Row>,
  inputs: readonly RewardInput<Row>[],
  signal?: AbortSignal,
): Promise<ScoredCompletions> {
  checkFunction(reward, 'reward')
  checkArray(inputs, 'inputs').forEach((input, i) => {
    checkObject(input, `inputs[${i}]`)
  })
  const judged = await withOwnSignal(signal, own =>
    Promise.all(inputs.map(input => judge(reward, own ? { ...input, signal: own } : input))),
  )
  return {
    rewards: judged.map(judgement => judgement.reward),
    reasons: judged.map(judgement => judgement.reason),
    nullCount: judged.filter(judgement => judgement.reward === null).length,
    failedCount: judged.filter(judgement => judgement.failed).length,
    failures: judged.map(judgement => judgement.failed),
    reasonCounts: countsOf(judged.map(judgement => judgement.reason).filter(reason => reason !== '')),
  }
}

// Rewards listen to a signal that follows the caller's: as many listeners as there are completions are no leak, which
// Node would warn of on the caller's own.
async function withOwnSignal<Result>(
  signal: AbortSignal | undefined,
  body: (own: AbortSignal | undefined) => Promise<Result>,
): Promise<Result> {
  if (signal === undefined) return body(undefined)
  throwIfAborted(signal, 'scoring')
  const follower = new AbortController()
  setMaxListeners(0, follower.signal)
  const follow = () => follower.abort(signal.reason)
  signal.addEventListener('abort', follow, { once: true })
  try {
    return await body(follower.signal)
  } finally {
    signal.removeEventListener('abort', follow)
  }
}

// By way of a Map: a reason may be called __proto__.
function countsOf(reasons: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>()
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  return Object.fromEntries(counts)
}

/** What to say of failures; undefined where there were none. Throws RewardError where there is nothing else. */
export function failureNotice({
  rewards,
  reasons,
  failedCount,
  failures,
}: ScoredCompletions): string | undefined {
  if (failedCount === 0) return undefined
  const first = printable(reasons[failures.indexOf(true)] ?? '', 200)
  const count = `the reward failed on ${failedCount} of ${rewards.length} responses`
  if (failedCount < rewards.length) return `${count}, which are left out; the first: ${first}`
  throw new RewardError(`${count}; the first: ${first}`, { details: { failed: failedCount, reason: first } })
}

interface Judgement {
  reward: RewardValue
  reason: string
  failed: boolean
}

async function judge<Row>(reward: Reward<Row>, input: RewardInput<Row>): Promise<Judgement> {
  throwIfAborted(input.signal, 'scoring')
  let result: RewardResult
  try {
    result = await reward(input)
  } catch (error) {
    throwIfAborted(input.signal, 'scoring')
    return {
      reward: null,
      reason: `threw: ${error instanceof Error ? error.message : String(error)}`,
      failed: true,
    }
  }
  throwIfAborted(input.signal, 'scoring')
  const given = typeof result === 'object' && result !== null ? result : { reward: result }
  if (given.reward === null) return { reward: null, reason: given.reason ?? 'no judgement', failed: false }
  if (typeof given.reward !== 'number' || !Number.isFinite(given.reward)) {
    return { reward: null, reason: `not a finite number: ${String(given.reward)}`, failed: true }
  }
  return { reward: given.reward, reason: given.reason ?? '', failed: false }
}
