// Checks at the edge: options objects and numbers that users pass in. Nothing is read before it is checked.
// An unknown name is a ConfigError with the nearest known one; a wrong value is a RangeError or a TypeError that
// names the argument, what was expected and what came.
import { ConfigError } from './errors.js'
import { printable } from './printable.js'

const forbiddenNames: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** True for names that would reach an object's prototype if they were copied. */
export function isForbiddenName(name: string): boolean {
  return forbiddenNames.has(name)
}

/** What came, in few words: a number as it is, a string in quotes and cut, an object by its kind. */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  switch (typeof value) {
    case 'string':
      return printable(JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value))
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value)
    case 'boolean':
      return String(value)
    case 'bigint': {
      const digits = value.toString()
      return `the BigInt ${digits.length > 40 ? `${digits.slice(0, 37)}...` : digits}n`
    }
    case 'function':
      return 'a function'
    case 'symbol':
      return 'a symbol'
    default:
      return describeObject(value)
  }
}

function describeObject(value: object): string {
  if (Array.isArray(value)) return `an array of ${value.length}`
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  if (ArrayBuffer.isView(value))
    return `a ${tag} of ${(value as { length?: number }).length ?? value.byteLength}`
  return tag === 'Object' ? 'an object' : `a ${tag}`
}

/** The known name that a misspelt one most likely means, or undefined where none is near. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const wanted = simplified(name)
  if (wanted.length > 100) return undefined
  let best: string | undefined
  let bestDistance = Number.POSITIVE_INFINITY
  for (const candidate of known) {
    const distance = editDistance(wanted, simplified(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return bestDistance <= Math.max(2, Math.floor(wanted.length / 3)) ? best : undefined
}

// `learning_rate`, `learning-rate` and `learningRate` are the same word to a person.
function simplified(name: string): string {
  return name.replace(/[-_ ]/g, '').toLowerCase()
}

// Optimal string alignment: one insertion, deletion, substitution or swap of neighbours costs 1.
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; ++i) {
    const row = [i]
    for (let j = 1; j <= b.length; ++j) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforeLast[j - 2]! + 1)
      }
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}

/** The error for a name that is not among the known ones. */
export function unknownNameError(name: string, where: string, known: Iterable<string>): ConfigError {
  const names = [...known]
  const nearest = nearestName(name, names)
  const hint =
    nearest === undefined
      ? names.length === 0
        ? 'there are none'
        : `known: ${names.slice(0, 40).join(', ')}`
      : `did you mean ${JSON.stringify(nearest)}?`
  return new ConfigError(`${where}: unknown option ${describeValue(name)}`, {
    hint,
    details: { option: name, nearest, where },
  })
}

/**
 * An options object all of whose names are known, copied to an object without a prototype.
 * `undefined` for the whole object means no options; options that are `undefined` are left out.
 */
export function checkOptions<Name extends string>(
  value: unknown,
  where: string,
  known: readonly Name[],
): { [name in Name]?: unknown } {
  const checked = Object.create(null) as { [name in Name]?: unknown }
  if (value === undefined) return checked
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    throw new TypeError(`${where}: expected an options object, got ${describeValue(value)}`)
  }
  for (const name of Object.keys(value)) {
    if (isForbiddenName(name)) {
      throw new ConfigError(`${where}: the name ${JSON.stringify(name)} is not allowed`, {
        details: { option: name, where },
      })
    }
    if (!(known as readonly string[]).includes(name)) throw unknownNameError(name, where, known)
    const option = (value as Record<string, unknown>)[name]
    if (option !== undefined) checked[name as Name] = option
  }
  return checked
}

/** Bounds for numbers that kernels compute with in float32: far from its overflow and from its underflow. */
export const float32Range = { max: 1e30 } as const
/** Of a softmax temperature (0, where it is allowed, is greedy). */
export const temperatureRange = { min: 1e-6, max: 1e30 } as const

export interface NumberRange {
  min?: number
  max?: number
  /** Greater than, and not equal to. */
  above?: number
  /** Less than, and not equal to. */
  below?: number
}

/** A finite number within the range. */
export function checkNumber(value: unknown, name: string, range: NumberRange = {}): number {
  if (typeof value !== 'number') {
    throw new TypeError(`${name}: expected a number${rangeText(range)}, got ${describeValue(value)}`)
  }
  if (!Number.isFinite(value) || !withinRange(value, range)) {
    throw new RangeError(`${name}: expected a finite number${rangeText(range)}, got ${describeValue(value)}`)
  }
  return value
}

/** An integer within the range, which is 0 to 2^53 - 1 where it is not given. */
export function checkInteger(value: unknown, name: string, range: NumberRange = {}): number {
  const bounds = { ...range, min: range.min ?? 0 }
  if (typeof value !== 'number') {
    throw new TypeError(`${name}: expected an integer${rangeText(bounds)}, got ${describeValue(value)}`)
  }
  if (!Number.isSafeInteger(value) || !withinRange(value, bounds)) {
    throw new RangeError(`${name}: expected an integer${rangeText(bounds)}, got ${describeValue(value)}`)
  }
  return value
}

export function checkBoolean(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') {
    throw new TypeError(`${name}: expected true or false, got ${describeValue(value)}`)
  }
  return value
}

export function checkString(value: unknown, name: string): string {
  if (typeof value !== 'string')
    throw new TypeError(`${name}: expected a string, got ${describeValue(value)}`)
  return value
}

/** One of a few words; a misspelt one is a RangeError with the nearest. */
export function checkChoice<Choice extends string>(
  value: unknown,
  name: string,
  choices: readonly Choice[],
): Choice {
  const expected = `one of ${choices.map(choice => JSON.stringify(choice)).join(', ')}`
  if (typeof value !== 'string') {
    throw new TypeError(`${name}: expected ${expected}, got ${describeValue(value)}`)
  }
  if (!(choices as readonly string[]).includes(value)) {
    const nearest = nearestName(value, choices)
    const hint = nearest === undefined ? '' : `; did you mean ${JSON.stringify(nearest)}?`
    throw new RangeError(`${name}: expected ${expected}, got ${describeValue(value)}${hint}`)
  }
  return value as Choice
}

/** A path. */
export function checkPath(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new TypeError(`${name}: expected a path, got ${describeValue(value)}`)
  return value
}

/** The elements of an array, holes as undefined: a copy that later checks can walk. `of` says what is expected. */
export function checkArray(value: unknown, name: string, of = 'an array'): unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`${name}: expected ${of}, got ${describeValue(value)}`)
  return Array.from(value as unknown[])
}

/** An object whose members are checked by the caller. `of` says what is expected. */
export function checkObject(value: unknown, name: string, of = 'an object'): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  throw new TypeError(`${name}: expected ${of}, got ${describeValue(value)}`)
}

export function checkFunction(value: unknown, name: string): (...given: never[]) => unknown {
  if (typeof value === 'function') return value as (...given: never[]) => unknown
  throw new TypeError(`${name}: expected a function, got ${describeValue(value)}`)
}

/** A caller's function that is told of something, or undefined. See callback.ts for how it is called. */
export function checkCallback<Event>(value: unknown, name: string): ((event: Event) => unknown) | undefined {
  return value === undefined ? undefined : (checkFunction(value, name) as (event: Event) => unknown)
}

/** An AbortSignal or undefined. */
export function checkSignal(value: unknown, name: string): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value
  throw new TypeError(`${name}: expected an AbortSignal, got ${describeValue(value)}`)
}

function withinRange(value: number, range: NumberRange): boolean {
  return (
    (range.min === undefined || value >= range.min) &&
    (range.max === undefined || value <= range.max) &&
    (range.above === undefined || value > range.above) &&
    (range.below === undefined || value < range.below)
  )
}

function rangeText(range: NumberRange): string {
  const parts: string[] = []
  if (range.min !== undefined && range.max !== undefined) parts.push(`from ${range.min} to ${range.max}`)
  else if (range.min !== undefined) parts.push(`of at least ${range.min}`)
  else if (range.max !== undefined) parts.push(`of at most ${range.max}`)
  if (range.above !== undefined) parts.push(`above ${range.above}`)
  if (range.below !== undefined) parts.push(`below ${range.below}`)
  return parts.length === 0 ? '' : ` ${parts.join(' and ')}`
}
