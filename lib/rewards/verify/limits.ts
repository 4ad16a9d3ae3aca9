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
  /** Nodes visited by one verdict, over all its evaluations; long numbers count as many. */
  verdict: 4_000_000,
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

// A verdict is one synchronous call, so one number does for all; every verdict starts with the whole of it.
let verdictLeft: number = limits.verdict

export function startVerdict(): void {
  verdictLeft = limits.verdict
}

/** Charges the verdict as a whole, in nodes; false once it has cost too much. */
export function spendVerdict(cost: number): boolean {
  verdictLeft -= cost
  return verdictLeft >= 0
}

/** A budget of one evaluation that the verdict pays as well: many cheap evaluations are not cheap. */
export class EvaluationBudget extends Budget {
  override spend(cost = 1): boolean {
    return spendVerdict(cost) && super.spend(cost)
  }

  override get exhausted(): boolean {
    return verdictLeft < 0 || super.exhausted
  }
}
