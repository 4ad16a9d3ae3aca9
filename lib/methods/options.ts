// The numbers of a method's own: declared by the method, given as `methodOptions`, checked against the declaration.
import { checkInteger, checkNumber, checkOptions } from '../options.js'

export interface MethodOption {
  default: number
  /** Only whole numbers. */
  integer?: boolean
  min?: number
  max?: number
  /** One line: what it is, its unit. */
  about: string
}

/** The values, by name; every declared one is there. */
export type MethodNumbers = Readonly<Record<string, number>>

/** Throws ConfigError for a name that the method does not declare, RangeError or TypeError for a wrong value. */
export function resolveMethodOptions(
  declared: Readonly<Record<string, MethodOption>> = {},
  given: unknown = undefined,
  where = 'methodOptions',
): MethodNumbers {
  const checked = checkOptions(given, where, Object.keys(declared)) as Record<string, unknown>
  return Object.fromEntries(
    Object.entries(declared).map(([name, { default: usual, integer, min = -1e30, max = 1e30 }]) => [
      name,
      (integer ? checkInteger : checkNumber)(checked[name] ?? usual, `${where}.${name}`, { min, max }),
    ]),
  )
}

/** A declared number; methods read theirs with it. Throws RangeError for a name that was not declared. */
export function numberOf(options: MethodNumbers, name: string): number {
  const value = options[name]
  if (value === undefined) throw new RangeError(`methodOptions.${name}: expected a declared option, got none`)
  return value
}
