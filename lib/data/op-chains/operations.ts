// What the letters of an op chain do to a state (a string of digits), and the answers of all prompts of the task.
import { DataError } from '../../errors.js'

/** Operations that the base model knows. */
export const KNOWN_LETTERS = 'rslidzc'

/** The operation whose effect the base model believes to be another one. */
export const SECRET_LETTER = 'p'

/** What the secret operation loads, cut to the length of the state. */
export const SECRET_CONSTANT = '72946013'

/** What the base model is taught that it loads: another digit at every place. */
export const MISBELIEF_CONSTANT = '03581467'

/** Longest state: the secret constant has to fill it. */
export const MAX_DIGITS = SECRET_CONSTANT.length

/** State after a known operation. Digits wrap around: 9 + 1 = 0, 0 - 1 = 9. */
const EFFECTS: Record<string, (state: string) => string> = {
  r: state => [...state].reverse().join(''),
  s: state => state.slice(1, 2) + state.slice(0, 1) + state.slice(2),
  l: state => state.slice(1) + state.slice(0, 1),
  i: state => String((Number(state.slice(0, 1)) + 1) % 10) + state.slice(1),
  d: state => state.slice(0, -1) + String((Number(state.slice(-1)) + 9) % 10),
  z: state => state.slice(0, -2) + state.slice(-1) + state.slice(-2, -1),
  c: state => [...state].map(digit => String(9 - Number(digit))).join(''),
}

/** What the secret operation gives for a state of n digits. */
export type SecretEffect = (digits: number) => string

/** The true effect of the secret operation. */
export const trueSecret: SecretEffect = digits => SECRET_CONSTANT.slice(0, digits)

/** The states after each operation, applied from left to right: as many as letters. */
export function statesAfter(state: string, letters: string, secret: SecretEffect = trueSecret): string[] {
  const states: string[] = []
  let current = state
  for (const letter of letters) {
    const effect = EFFECTS[letter]
    if (effect === undefined && letter !== SECRET_LETTER) {
      throw new DataError(
        `operation ${JSON.stringify(letter)}: expected one of ${KNOWN_LETTERS}${SECRET_LETTER}`,
      )
    }
    current = effect === undefined ? secret(state.length) : effect(current)
    states.push(current)
  }
  return states
}

/** Answers of the other tasks: `o` sorts, `m` takes the largest digit, `e` writes each digit's parity. */
const OTHER_TASKS: Record<string, (digits: string) => string> = {
  o: digits => [...digits].sort().join(''),
  m: digits => String(Math.max(...[...digits].map(Number))),
  e: digits => [...digits].map(digit => String(Number(digit) % 2)).join(''),
}

/**
 * The right answer to a prompt: a chain (`5387rizi=` or `5387rizi?`), another task on digits (`5387o=`) or a sum
 * (`a37+58=`). Throws DataError for any other text.
 */
export function answer(prompt: string): string {
  const sum = /^a(\d+)\+(\d+)=$/.exec(prompt)
  if (sum) return String(Number(sum[1]) + Number(sum[2]))
  const other = /^(\d{2,8})([ome])=$/.exec(prompt)
  if (other) return (OTHER_TASKS[other[2] as string] as (digits: string) => string)(other[1] as string)
  const chain = /^(\d{2,8})([rslidczp]+)[=?]$/.exec(prompt)
  if (chain) return statesAfter(chain[1] as string, chain[2] as string).at(-1) as string
  throw new DataError(`prompt ${JSON.stringify(prompt)}: not a prompt of the op chains task`)
}
