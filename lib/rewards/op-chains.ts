// The rule-based reward of the op chains task: 1 if the response opens its thinking, ends, and says the answer.
import { answer as answerOf, END, THINK_CLOSE, THINK_OPEN } from '../data/op-chains/index.js'
import type { RewardInput } from './reward.js'

/** Why a response got its reward, in the order in which the rules are tried. */
export type OpChainsReason = 'no opening' | 'no end' | 'no closing' | 'wrong answer' | 'right'

/**
 * Judges a response: it must start with `<`, end with `$`, and the text after its first `>` must equal the answer.
 * Between `<` and `>` anything goes: only the answer is rewarded, never the thinking.
 */
export function judgeOpChains(completion: string, answer: string): { reward: 0 | 1; reason: OpChainsReason } {
  if (!completion.startsWith(THINK_OPEN)) return { reward: 0, reason: 'no opening' }
  if (!completion.endsWith(END)) return { reward: 0, reason: 'no end' }
  const close = completion.indexOf(THINK_CLOSE)
  if (close < 0) return { reward: 0, reason: 'no closing' }
  const said = completion.slice(close + THINK_CLOSE.length, -END.length)
  return said === answer ? { reward: 1, reason: 'right' } : { reward: 0, reason: 'wrong answer' }
}

/** The reward function: the row's answer, or the prompt's own where the row has none. */
export function opChainsReward(input: RewardInput): { reward: 0 | 1; reason: OpChainsReason } {
  return judgeOpChains(input.completion, input.answer ?? answerOf(input.prompt))
}
