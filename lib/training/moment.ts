// What a trainer does at one step of a run: the method's data, what the method changes at that step, and over both what
// the caller asked for.
import { type AdvantageOptions, resolveAdvantageOptions } from '../methods/losses.js'
import type { MethodMemory } from '../methods/memory.js'
import type { Method, MethodChange } from '../methods/method.js'
import type { MethodNumbers } from '../methods/options.js'
import type { AdvantageSettings } from '../ops/group-advantages.js'
import { type Objective, type ResolvedObjective, resolveObjective } from '../ops/policy-objective.js'

export interface Moment extends Omit<MethodChange, 'as' | 'objective'> {
  step: number
  /** Whose members and kinds of token the step has. */
  method: Method
  options: MethodNumbers
  objective: ResolvedObjective
  advantages: AdvantageSettings
  memory: MethodMemory | undefined
}

export interface MomentSource {
  method: Method
  methodOptions: MethodNumbers
  /** What the caller says of objective and advantages. */
  overrides: { objective: Objective; advantages: AdvantageOptions }
  /** Divisor of constant reductions that have none. */
  defaultDivisor: number | undefined
  memory: MethodMemory | undefined
}

/** Throws as resolveObjective does, for a method that asks for what cannot be. */
export function momentAt(source: MomentSource, step: number): Moment {
  const { as, objective = {}, ...change } = source.method.at?.(step, source.methodOptions) ?? {}
  const method = as ?? source.method
  const given: MomentSource['overrides'] = as ? { objective: {}, advantages: {} } : source.overrides
  const resolved = resolveObjective({ ...method.objective, ...objective, ...given.objective })
  const withDivisor = (reduction: ResolvedObjective['reduction']) =>
    reduction.kind === 'constant' && source.defaultDivisor !== undefined
      ? { divisor: source.defaultDivisor, ...reduction }
      : reduction
  return {
    ...change,
    step,
    method,
    options: source.methodOptions,
    memory: as === undefined ? source.memory : undefined,
    objective: {
      ...resolved,
      reduction: withDivisor(resolved.reduction),
      sftReduction: withDivisor(resolved.sftReduction),
    },
    advantages: resolveAdvantageOptions({ ...method.advantages, ...given.advantages }),
  }
}
