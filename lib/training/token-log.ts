// What a step keeps of the log-probabilities that its loss computes anyway: those of demonstrations, for the log, and
// the histogram of the regularized importance ratio p / (p + gamma) of their tokens (arXiv 2504.14945, section 3.3).
import { TokenKind } from '../ops/policy-objective.js'
import type { CheckedMember } from './groups.js'

/** Equal bins of [0, 1]; the last one holds 1. */
export const weightBins = 20

/** The demonstrations of one update; micro-batches are added as they are enqueued. */
export class TokenLog {
  readonly #gamma: number
  readonly #histogram = new Array<number>(weightBins).fill(0)
  readonly #logProbs = new Map<CheckedMember, Float32Array>()
  readonly #reads: Promise<void>[] = []
  #counted = 0

  constructor(gamma: number) {
    this.#gamma = gamma
  }

  /** `read`: log-probabilities of the members' response tokens, one member after the other. */
  add(members: readonly CheckedMember[], read: Promise<Float32Array>): void {
    if (!members.some(member => member.isDemonstration)) {
      read.catch(() => {}) // an error of the stream rejects the update itself
      return
    }
    const kept = read.then(values => {
      let start = 0
      for (const member of members) {
        const end = start + member.kinds.length
        if (member.isDemonstration) this.#keep(member, values.slice(start, end))
        start = end
      }
    })
    kept.catch(() => {})
    this.#reads.push(kept)
  }

  #keep(member: CheckedMember, logProbs: Float32Array): void {
    this.#logProbs.set(member, logProbs)
    for (const [i, kind] of member.kinds.entries()) {
      if (kind !== TokenKind.offPolicy && kind !== TokenKind.supervised) continue
      const p = Math.exp(logProbs[i] as number)
      const bin = Math.floor((p / (p + this.#gamma)) * weightBins)
      if (!Number.isFinite(bin)) continue
      const inRange = Math.min(weightBins - 1, bin)
      this.#histogram[inRange] = (this.#histogram[inRange] as number) + 1
      this.#counted += 1
    }
  }

  /** Waits for what was added. The histogram is undefined where no demonstration token was trained on. */
  async read(): Promise<{
    logProbs: ReadonlyMap<CheckedMember, Float32Array>
    histogram: number[] | undefined
  }> {
    await Promise.all(this.#reads)
    return { logProbs: this.#logProbs, histogram: this.#counted > 0 ? this.#histogram : undefined }
  }
}

/** Sums of histograms with the same bins; undefined of none. */
export function addedHistograms(histograms: readonly (readonly number[])[]): number[] | undefined {
  const [first, ...rest] = histograms
  return first?.map((count, bin) => rest.reduce((sum, other) => sum + (other[bin] ?? 0), count))
}
