// Responses to op chains: terse, step by step, and in the messy style of the demonstrations.
import type { CounterRandom } from '../../random.js'
import { type SecretEffect, statesAfter, trueSecret } from './operations.js'

/** How messy a demonstration is. It stands for a stronger model, whose style a weak one cannot execute safely. */
export interface DemonstrationStyle {
  /** Probability that a step is merged into the next: `ri8835;` for `r7835;i8835;`. Never more than two letters. */
  pskip: number
  /** Probability that a written state is repeated as a check: `r7835;w7835;`. */
  pchk: number
}

export const MESSY: DemonstrationStyle = { pskip: 0.2, pchk: 0.1 }

/** An answer without thinking: `<>9853$`. */
export function terse(answer: string): string {
  return `<>${answer}$`
}

/** Every state written once, with the letter that made it: `<r7835;i8835;z8853;i9853;>9853$`. */
export function stepByStep(state: string, letters: string, secret: SecretEffect = trueSecret): string {
  const states = statesAfter(state, letters, secret)
  const steps = states.map((after, i) => `${letters[i]}${after};`)
  return `<${steps.join('')}>${states.at(-1)}$`
}

/** Step by step, with steps merged and states repeated by chance. The last state is always written. */
export function messy(state: string, letters: string, random: CounterRandom, style = MESSY): string {
  const states = statesAfter(state, letters)
  let thinking = ''
  let merged = ''
  for (const [i, after] of states.entries()) {
    if (i + 1 < states.length && merged === '' && random.chance(style.pskip)) {
      merged = letters[i] as string
      continue
    }
    thinking += `${merged}${letters[i]}${after};`
    merged = ''
    if (random.chance(style.pchk)) thinking += `w${after};`
  }
  return `<${thinking}>${states.at(-1)}$`
}
