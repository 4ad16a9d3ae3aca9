// Demonstrations as prefixes: the first share rho of a trace's tokens is given and the policy continues. rho is fixed, drawn
// per prompt between two bounds, or anneals over the run.
import type { MethodChange } from '../methods/method.js'
import { CounterRandom } from '../random.js'

export interface PrefixOptions {
  /** From 0 (no part of the trace) to 1 (all of it); two: drawn between them, for each prompt of each step. */
  fraction?: number | readonly [number, number] | undefined
  /** From the first step's share to that of step `steps` and all later ones, along a line or half a cosine. */
  schedule?: { kind: 'linear' | 'cosine'; from: number; to: number; steps: number } | undefined
}

/** The share of the trace that is given; undefined: traces are whole demonstrations. `place`: of the prompt in its step. */
export function prefixShare(
  options: PrefixOptions | undefined,
  { prefix }: Pick<MethodChange, 'prefix'>,
  { seed, step, place }: { seed: number; step: number; place: number },
): number | undefined {
  if (prefix !== undefined) return prefix
  if (options?.schedule !== undefined) {
    const { kind, from, to, steps } = options.schedule
    const progress = steps <= 1 ? 1 : Math.min(1, (step - 1) / (steps - 1))
    return to + (from - to) * (kind === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2)
  }
  if (typeof options?.fraction !== 'object') return options?.fraction
  const [low, high] = options.fraction
  return low + (high - low) * new CounterRandom(seed, 'prefix', step, place).uniform()
}
