// Draws prompts of the op chains task. Every drawn thing is a function of a random sequence that the caller names by
// (seed, stream, counter), and every prompt belongs by its own text to the training side or to the held-out side, so
// no prompt that is tested can be trained on, whatever the seeds.
import { type CounterRandom, philox, streamWord } from '../../random.js'
import { KNOWN_LETTERS, SECRET_LETTER } from './operations.js'

export interface Chain {
  /** The digits to start from. */
  state: string
  /** The operations, applied from left to right. */
  letters: string
  /** `=` as in training with rewards, `?` as in pretraining with reasoning. */
  ending: '=' | '?'
}

/** A range of integers, both ends included. */
export type Range = readonly [low: number, high: number]

export interface ChainShape {
  digits: Range
  letters: Range
  ending: '=' | '?'
  /** Probability that a letter is the secret one. */
  secretRate: number
  /** Put a secret letter at a random place when none was drawn. */
  forceSecret?: boolean
}

/** The prompts that are trained with rewards: 47 % of them hold a secret letter. */
export const TRAINING_SHAPE: ChainShape = { digits: [4, 4], letters: [4, 6], ending: '=', secretRate: 0.12 }

/** The prompt's text: `5387rizi=`. */
export function promptOf(chain: Chain): string {
  return chain.state + chain.letters + chain.ending
}

export function holdsSecret(letters: string): boolean {
  return letters.includes(SECRET_LETTER)
}

export function randomDigits(random: CounterRandom, count: number): string {
  let digits = ''
  for (let i = 0; i < count; i++) digits += String(random.integer(10))
  return digits
}

export function drawChain(random: CounterRandom, shape: ChainShape): Chain {
  const state = randomDigits(random, random.between(...shape.digits))
  const count = random.between(...shape.letters)
  const letters: string[] = []
  for (let i = 0; i < count; i++) {
    letters.push(random.chance(shape.secretRate) ? SECRET_LETTER : random.pick(KNOWN_LETTERS))
  }
  if (shape.forceSecret && !letters.includes(SECRET_LETTER)) letters[random.integer(count)] = SECRET_LETTER
  return { state, letters: letters.join(''), ending: shape.ending }
}

/** The kinds of other tasks, each as likely as the next. */
const OTHER_KINDS = ['o', 'm', 'e', 'sum'] as const

/** A prompt of the other tasks: 2 to 5 digits to sort, to take the largest of, to write parities of; or a sum. */
export function drawOtherTask(random: CounterRandom): string {
  const kind = random.pick(OTHER_KINDS)
  if (kind === 'sum') return `a${random.between(10, 99)}+${random.between(10, 99)}=`
  return `${randomDigits(random, random.between(2, 5))}${kind}=`
}

/** One prompt in this many is held out. */
const HELD_OUT_SHARE = 16

function words(prompt: string): Uint32Array {
  return philox(0x6f702d63, 0x6861696e, streamWord(prompt), prompt.length, 0, 0)
}

/** Whether a prompt belongs to the held-out side. It depends on its text alone. */
export function isHeldOut(prompt: string): boolean {
  return (words(prompt)[0] as number) % HELD_OUT_SHARE === 0
}

/** The held-out prompts: all, or one of two halves that share none. Choose by validation, report test. */
export const HELD_OUT_PARTS = ['all', 'validation', 'test'] as const
export type HeldOutPart = (typeof HELD_OUT_PARTS)[number]

/** Whether a prompt belongs to a part of the held-out side. It depends on its text alone. */
export function isInPart(prompt: string, part: HeldOutPart): boolean {
  if (!isHeldOut(prompt)) return false
  return part === 'all' || ((words(prompt)[1] as number) % 2 === 0) === (part === 'validation')
}
