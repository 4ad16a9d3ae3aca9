// The methods by name.
import { ConfigError } from '../errors.js'
import { checkFunction, checkObject, describeValue, unknownNameError } from '../options.js'
import { chord } from './chord.js'
import { exgrpo } from './exgrpo.js'
import { drGrpo, grpo } from './grpo.js'
import { hpt } from './hpt.js'
import { luffy } from './luffy.js'
import type { Method } from './method.js'
import { mixedPolicy } from './mixed-policy.js'
import { rlWithSftLoss } from './rl-with-sft-loss.js'
import { sft } from './sft.js'
import { sftThenRl } from './sft-then-rl.js'

export const methods = {
  luffy,
  mixedPolicy,
  grpo,
  drGrpo,
  sft,
  rlWithSftLoss,
  sftThenRl,
  exgrpo,
  chord,
  hpt,
} as const satisfies Record<string, Method>
export type MethodName = keyof typeof methods

/** A method by its name, or one of the caller's own. Throws ConfigError with the nearest name. */
export function resolveMethod(method: unknown): Method {
  if (typeof method === 'string') {
    if (Object.hasOwn(methods, method)) return methods[method as MethodName]
    throw unknownNameError(method, 'method', Object.keys(methods))
  }
  if (typeof method === 'object' && method !== null && 'objective' in method && 'name' in method) {
    const { objective, advantages } = method as Partial<Method>
    checkObject(objective, 'method.objective', 'an options object')
    for (const hook of ['at', 'choose', 'memory'] as const) {
      if ((method as Partial<Method>)[hook] !== undefined) {
        checkFunction((method as Partial<Method>)[hook], `method.${hook}`)
      }
    }
    if (advantages !== undefined) checkObject(advantages, 'method.advantages', 'an options object')
    return method as Method
  }
  throw new ConfigError(
    `method: expected one of ${Object.keys(methods).join(', ')}, got ${describeValue(method)}`,
  )
}
