// Which part of a response is judged, as the authors' script does it: where the prompt opens the thinking, what stands
// between the first closing tag and a second one, and without a closing tag nothing. Multiple-choice answers are judged
// in the same way as mathematical ones: by Math-Verify, the reference being the letter.
import { thinkClose, thinkOpen } from '../policy/luffy-template.js'
import type { AnswerPool, PooledVerdict } from '../rewards/answer-pool.js'

export interface Judgement {
  correct: boolean
  reason: PooledVerdict['reason']
}

/** The text that is judged, or undefined where the thinking never ends. */
export function judgedPart(prompt: string, response: string): string | undefined {
  return prompt.endsWith(`${thinkOpen}\n`) ? response.split(thinkClose)[1] : response
}

/** Whether a response, its end token left out, gives the answer. Rejects with AbortedError when the signal fires. */
export async function judge(
  pool: AnswerPool,
  item: { prompt: string; answer: string },
  response: string,
  signal?: AbortSignal,
): Promise<Judgement> {
  const part = judgedPart(item.prompt, response)
  if (part === undefined) return { correct: false, reason: 'no thinking closed' }
  return await pool.verify(item.answer, part, { signal })
}
