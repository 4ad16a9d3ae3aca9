// The budgets of answer checking. All are sizes, never clocks, so that the same text gets the same verdict on every
// machine. Over a budget, a text is unparseable: it can still equal the reference answer as a string.

export const limits = {
  /** Characters of a response that are read, from its end. */
  text: 65_536,
  /** Characters of one expression. */
  expression: 8_000,
  tokens: 1_500,
  /** Grammar rules entered while parsing one expression. */
  parserSteps: 60_000,
  /** Nested brackets, powers and signs. */
  depth: 120,
  /** Digits of one number. */
  digits: 3_000,
  /** Bits of a numerator or denominator. */
  bits: 60_000,
  factorial: 3_000,
  /** Terms of a sum or a product. */
  terms: 3_000,
  /** Nodes visited by one exact evaluation or at one sampled point. */
  nodes: 20_000,
  /** Nodes visited by one comparison, over all its points. */
  comparison: 400_000,
  /** Items of a set or a tuple that are compared. */
  items: 200,
  /** Rows and columns of a matrix. */
  matrix: 12,
} as const

/** Counts down; `spend` is false once nothing is left. */
export class Budget {
  #left: number

  constructor(size: number) {
    this.#left = size
  }

  spend(cost = 1): boolean {
    this.#left -= cost
    return this.#left >= 0
  }

  get exhausted(): boolean {
    return this.#left < 0
  }
}
