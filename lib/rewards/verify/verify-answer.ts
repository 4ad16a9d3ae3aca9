// The verdict on a response: is its answer the reference answer?
import { checkBoolean, checkOptions, checkString } from '../../options.js'
import { equalTrees } from './compare.js'
import { startVerdict } from './limits.js'
import { type ReadAnswer, readAnswer } from './read-answer.js'
import { readStrictAnswer, type StrictRefusal } from './strict-answer.js'
import type { Node } from './tree.js'

/** Why a verdict is what it is; the first two are correct. */
export const answerReasons = [
  'equal',
  'equal text',
  'different',
  'no answer',
  'answer unreadable',
  'reference unreadable',
  'no thinking closed',
  'empty thinking',
  'several answers',
  'no marked answer',
] as const

export type AnswerReason = (typeof answerReasons)[number]

export interface AnswerVerdict {
  correct: boolean
  reason: AnswerReason
}

export interface VerifyAnswerOptions {
  /**
   * Without the readings by which Math-Verify accepts wrong answers, and only an answer that the response marks as its
   * own, once, after its thinking. Default false: the verdict is Math-Verify's.
   */
  strict?: boolean
}

/**
 * Whether a response's answer is the reference answer, as Hugging Face's Math-Verify 0.8.0 judges it:
 * `verify(parse("$gold$"), parse(prediction))`. Not symmetric: the reference decides what form is needed.
 * Never throws for any two strings, and takes a bounded number of steps.
 *
 * @param gold the reference answer, in LaTeX without dollar signs (ones of its own do no harm)
 * @param prediction the whole response
 * @throws TypeError for what is no string, ConfigError for unknown options
 */
export function verifyAnswer(
  gold: string,
  prediction: string,
  options: VerifyAnswerOptions = {},
): AnswerVerdict {
  checkString(gold, 'verifyAnswer: gold')
  checkString(prediction, 'verifyAnswer: prediction')
  const checked = checkOptions(options, 'verifyAnswer', ['strict'])
  const strict = checked.strict === undefined ? false : checkBoolean(checked.strict, 'verifyAnswer: strict')
  startVerdict()
  const reference = readAnswer(`$${gold}$`, { strict })
  return strict
    ? strictVerdict(reference, prediction)
    : verdict(reference, readAnswer(prediction, { strict }))
}

/** True for a reference answer that can be compared: one that strict verdicts accept. */
export function isReadableReference(gold: string): boolean {
  checkString(gold, 'isReadableReference: gold')
  startVerdict()
  return isValue(readAnswer(`$${gold}$`, { strict: true }).node)
}

function isValue(node: Node | undefined): node is Node {
  return node !== undefined && node.kind !== 'undefined' && !(node.kind === 'infinity' && node.sign === 0)
}

function verdict(reference: ReadAnswer, answer: ReadAnswer): AnswerVerdict {
  if (reference.node && answer.node && equalTrees(reference.node, answer.node, false)) return right('equal')
  const text = reference.text.trim()
  if (text !== '' && text === answer.text.trim()) return right('equal text')
  if (!reference.node) return wrong('reference unreadable')
  if (answer.node) return wrong('different')
  return wrong(answer.text === '' ? 'no answer' : 'answer unreadable')
}

// What cannot be read is never right, whatever it spells.
function strictVerdict(reference: ReadAnswer, prediction: string): AnswerVerdict {
  if (!isValue(reference.node)) return wrong('reference unreadable')
  const answer: ReadAnswer | { refusal: StrictRefusal } = readStrictAnswer(prediction)
  if ('refusal' in answer) return wrong(answer.refusal)
  if (!answer.node) return wrong(answer.text === '' ? 'no answer' : 'answer unreadable')
  return equalTrees(reference.node, answer.node, true) ? right('equal') : wrong('different')
}

function right(reason: AnswerReason): AnswerVerdict {
  return { correct: true, reason }
}

function wrong(reason: AnswerReason): AnswerVerdict {
  return { correct: false, reason }
}
