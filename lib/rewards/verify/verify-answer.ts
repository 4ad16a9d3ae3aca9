// The verdict on an answer: does a response's answer equal the reference answer?
import { equalTrees } from './compare.js'
import { type ReadAnswer, readAnswer } from './read-answer.js'

export type AnswerReason =
  | 'equal'
  | 'equal text'
  | 'different'
  | 'no answer'
  | 'answer unreadable'
  | 'reference unreadable'
  | 'reference empty'

export interface AnswerVerdict {
  correct: boolean
  reason: AnswerReason
}

export interface VerifyAnswerOptions {
  strict?: boolean
}

export function verifyAnswer(
  gold: string,
  prediction: string,
  options: VerifyAnswerOptions = {},
): AnswerVerdict {
  const strict = options.strict ?? false
  const reference = readAnswer(`$${gold}$`, { strict })
  const answer = readAnswer(prediction, { strict })
  return verdict(reference, answer, strict)
}

function verdict(reference: ReadAnswer, answer: ReadAnswer, strict: boolean): AnswerVerdict {
  if (reference.node && answer.node && equalTrees(reference.node, answer.node, strict))
    return { correct: true, reason: 'equal' }
  const text = reference.text.trim()
  if (text !== '' && text === answer.text.trim()) return { correct: true, reason: 'equal text' }
  if (!reference.node)
    return { correct: false, reason: text === '' ? 'reference empty' : 'reference unreadable' }
  if (answer.node) return { correct: false, reason: 'different' }
  return { correct: false, reason: answer.text === '' ? 'no answer' : 'answer unreadable' }
}
