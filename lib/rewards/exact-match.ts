// The reward of tasks whose answers are compared letter by letter: choices, numbers, words.
import { thinkClose, thinkOpen } from '../policy/luffy-template.js'
import type { Reward } from './reward.js'
import type { TaskItem } from './task.js'

/** Why a response got its reward, in the order in which the rules are tried. */
export type ExactMatchReason = 'no end' | 'no closing' | 'no answer' | 'wrong answer' | 'right'

export interface ExactMatchOptions {
  /** Texts of the end tokens: one of them must end the response. */
  endTexts: readonly string[]
}

/**
 * 1 when the response's answer equals the reference, else 0. The response must have ended by itself. Where the prompt or
 * the response opens a think tag, it must be closed, and the answer is looked for after the closing tag: what stands in
 * the last `\boxed{}`, or the whole text. White space around both is no part of them, and case counts.
 */
export function exactMatchReward(options: ExactMatchOptions): Reward<TaskItem> {
  return ({ prompt, completion, answer }) => {
    const reason = judgeExactMatch(prompt, completion, answer ?? '', options.endTexts)
    return { reward: reason === 'right' ? 1 : 0, reason }
  }
}

export function judgeExactMatch(
  prompt: string,
  completion: string,
  answer: string,
  endTexts: readonly string[],
): ExactMatchReason {
  const end = endTexts.find(text => completion.endsWith(text))
  if (end === undefined) return 'no end'
  const response = completion.slice(0, completion.length - end.length)
  const thinks = prompt.trimEnd().endsWith(thinkOpen) || response.includes(thinkOpen)
  const close = response.indexOf(thinkClose)
  if (thinks && close < 0) return 'no closing'
  const said = answerIn(close < 0 ? response : response.slice(close + thinkClose.length))
  if (said === '') return 'no answer'
  return said === answer.trim() ? 'right' : 'wrong answer'
}

/** What the last box holds where there is one, else the text itself. */
function answerIn(text: string): string {
  const open = text.lastIndexOf('\\boxed{')
  if (open < 0) return text.trim()
  const start = open + '\\boxed{'.length
  let depth = 1
  for (let at = start; at < text.length; at++) {
    if (text[at] === '{') depth += 1
    else if (text[at] === '}') depth -= 1
    if (depth === 0) return text.slice(start, at).trim()
  }
  return '' // the box is not closed
}
