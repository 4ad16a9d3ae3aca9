// The reward of mathematical answers: 1 if the response's answer is the row's, 0 if not.
import { checkBoolean, checkOptions } from '../options.js'
import { thinkOpen } from '../policy/luffy-template.js'
import {
  AnswerPool,
  type AnswerPoolOptions,
  type AnswerPoolStatistics,
  type PooledVerdict,
} from './answer-pool.js'
import type { RewardInput } from './reward.js'

export interface MathRewardOptions extends AnswerPoolOptions {
  /**
   * As in `verifyAnswer`. Default true: a policy that is trained on a reward finds what the reward accepts by mistake.
   * Evaluation uses false, which is Math-Verify's verdict.
   */
  strict?: boolean
  /** Texts of the end tokens; the one that ends a response is no part of its answer. */
  endTexts?: readonly string[]
}

/** Reasons besides those of `verifyAnswer`, `timed out` and `worker failed`. */
export interface MathRewardResult {
  /** Null where the row's answer is missing or cannot be read: such a row teaches nothing. */
  reward: 0 | 1 | null
  reason: PooledVerdict['reason'] | 'no reference answer'
}

export interface MathReward extends AsyncDisposable {
  (input: RewardInput): Promise<MathRewardResult>
  readonly statistics: Readonly<AnswerPoolStatistics>
  dispose(): Promise<void>
}

/**
 * The reward of a row's `answer`, checked in processes of their own. A response that hangs or exhausts its worker gets 0 with
 * a reason that is counted. They end with `dispose`, and do not keep the process alive.
 * Throws ConfigError, TypeError or RangeError for wrong options.
 */
export function mathReward(options: MathRewardOptions = {}): MathReward {
  const checked = checkOptions(options, 'mathReward', ['strict', 'endTexts', 'workers', 'timeout'])
  const strict = checked.strict === undefined ? true : checkBoolean(checked.strict, 'mathReward: strict')
  const { endTexts = [], workers, timeout } = options
  const pool = new AnswerPool({
    ...(workers === undefined ? {} : { workers }),
    ...(timeout === undefined ? {} : { timeout }),
  })
  const reward = async ({ prompt, completion, answer, signal }: RewardInput): Promise<MathRewardResult> => {
    if (answer === null || answer.trim() === '') return { reward: null, reason: 'no reference answer' }
    const end = endTexts.find(text => text !== '' && completion.endsWith(text)) ?? ''
    const said = completion.slice(0, completion.length - end.length)
    // Strict verdicts look behind the thinking, which the prompt may have opened.
    const text = strict && prompt.trimEnd().endsWith(thinkOpen) ? `${thinkOpen}\n${said}` : said
    const { correct, reason } = await pool.verify(answer, text, { strict, signal })
    if (reason === 'reference unreadable') return { reward: null, reason }
    return { reward: correct ? 1 : 0, reason }
  }
  return Object.defineProperties(reward, {
    statistics: { get: () => pool.statistics, enumerable: true },
    dispose: { value: () => pool.dispose() },
    [Symbol.asyncDispose]: { value: () => pool.dispose() },
  }) as MathReward
}
