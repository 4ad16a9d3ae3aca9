// Groups as callers give them, checked before anything is enqueued.

import { TokenKind } from '../ops/policy-objective.js'
import { checkArray, checkNumber, checkObject, checkOptions, describeValue } from '../options.js'
import { checkSequence, type TokenSequence } from '../policy/packing.js'

/** One sequence of a group. Arrays are over the tokens after the prompt. */
export interface GroupMember {
  /** Prompt and response, of which there is at least one token. */
  tokens: Int32Array
  /** At least 1. */
  promptLength: number
  /** True for a demonstration; or 1 per off-policy token (a demonstrated prefix that the policy continued). */
  offPolicy: boolean | Uint8Array
  /** Needed unless `advantage` is given. */
  reward?: number
  /** Of the policy that sampled the tokens (completion.logProbs). Absent: the current ones, ratio 1. */
  oldLogProbs?: Float32Array
  /** Probabilities of the demonstrator. Absent: taken as 1. */
  teacherProbs?: Float32Array
  /** Of the reference policy; needed with klCoef. */
  refLogProbs?: Float32Array
  /** 0 where a token does not count. Default: all count. */
  mask?: Uint8Array
  /** Used as it is, for all tokens or per token; otherwise it comes from the group's rewards. */
  advantage?: number | Float32Array
}

export interface TrainGroup {
  members: readonly GroupMember[]
}

/** A checked member: what the loss needs, one entry per response token. */
export interface CheckedMember extends TokenSequence {
  kinds: Uint8Array
  /** Any token is off-policy. */
  isDemonstration: boolean
  reward: number | undefined
  advantage: number | Float32Array | undefined
  oldLogProbs: Float32Array | undefined
  teacherProbs: Float32Array | undefined
  refLogProbs: Float32Array | undefined
  /** Unmasked response tokens. */
  counted: number
}

/** Groups that a trainer has checked and copied, each member with its advantage. See `Trainer.prepare`. */
export class PreparedGroups {
  readonly owner: object
  readonly members: readonly (readonly (CheckedMember & { advantage: number | Float32Array })[])[]

  constructor(owner: object, members: PreparedGroups['members']) {
    this.owner = owner
    this.members = members
  }

  get length(): number {
    return this.members.length
  }

  /** By group and member; per token where it was given so. */
  get advantages(): readonly (number | Float32Array)[][] {
    return this.members.map(group => group.map(({ advantage }) => advantage))
  }

  /** Groups [start, end), as those of an array. */
  slice(start?: number, end?: number): PreparedGroups {
    return new PreparedGroups(this.owner, this.members.slice(start, end))
  }
}

const memberNames = [
  'tokens',
  'promptLength',
  'offPolicy',
  'reward',
  'oldLogProbs',
  'teacherProbs',
  'refLogProbs',
  'mask',
  'advantage',
] as const

export interface CheckRules {
  vocabSize: number
  maxPositions: number
  /** Off-policy tokens are supervised: they need neither reward nor advantage. */
  supervised: boolean
  needsReference: boolean
}

/** Throws RangeError or TypeError naming the member and the field. */
export function checkGroups(groups: unknown, rules: CheckRules): CheckedMember[][] {
  return checkArray(groups, 'groups', 'an array of groups').map((group, g) => {
    checkObject(group, `groups[${g}]`, '{ members }')
    const { members } = checkOptions(group, `groups[${g}]`, ['members'])
    const checked = checkArray(members, `groups[${g}].members`).map((member, m) =>
      checkMember(member, `groups[${g}].members[${m}]`, rules),
    )
    const incomplete = checked.findIndex(needsReward)
    const given = checked.some(member => member.advantage !== undefined)
    if (incomplete >= 0 && (given || checked[incomplete]?.reward === undefined)) {
      const field = checked[incomplete]?.reward === undefined ? 'reward' : 'advantage'
      const why =
        field === 'reward'
          ? 'expected a reward or an advantage'
          : 'expected an advantage, as another member has one'
      throw new RangeError(`groups[${g}].members[${incomplete}].${field}: ${why}, got none`)
    }
    return checked
  })
}

/** Its advantage has to come from rewards. */
export function needsReward({ advantage, kinds }: CheckedMember): boolean {
  return (
    advantage === undefined && (kinds.includes(TokenKind.onPolicy) || kinds.includes(TokenKind.offPolicy))
  )
}

function checkMember(value: unknown, name: string, rules: CheckRules): CheckedMember {
  checkObject(value, name)
  const given = checkOptions(value, name, memberNames)
  const sequence = checkSequence({ tokens: given.tokens, promptLength: given.promptLength }, name, rules)
  const length = sequence.tokens.length - sequence.promptLength
  if (length === 0) {
    throw new RangeError(
      `${name}.tokens: no token after the prompt: ${sequence.tokens.length} tokens, promptLength ${sequence.promptLength}`,
    )
  }
  const floats = (field: 'oldLogProbs' | 'teacherProbs' | 'refLogProbs') =>
    given[field] === undefined
      ? undefined
      : finite(perToken(given[field], `${name}.${field}`, Float32Array, length), `${name}.${field}`)
  if (given.offPolicy === undefined) {
    throw new TypeError(`${name}.offPolicy: expected true, false or a Uint8Array, got nothing`)
  }
  const { advantage } = given
  const offPolicy =
    typeof given.offPolicy === 'boolean'
      ? given.offPolicy
      : perToken(given.offPolicy, `${name}.offPolicy`, Uint8Array, length, 'true, false or ')
  const mask = given.mask === undefined ? undefined : perToken(given.mask, `${name}.mask`, Uint8Array, length)
  const offKind = rules.supervised ? TokenKind.supervised : TokenKind.offPolicy
  const { kinds, counted, anyOff } = kindsOf(offPolicy, mask, length, offKind)
  const refLogProbs = floats('refLogProbs')
  if (rules.needsReference && refLogProbs === undefined) {
    throw new RangeError(
      `${name}.refLogProbs: expected log-probabilities of the reference policy (klCoef is set), got none`,
    )
  }
  return {
    ...sequence,
    kinds,
    isDemonstration: anyOff,
    reward: given.reward === undefined ? undefined : checkNumber(given.reward, `${name}.reward`, signalRange),
    advantage: advantage === undefined ? undefined : checkAdvantage(advantage, `${name}.advantage`, length),
    oldLogProbs: floats('oldLogProbs'),
    teacherProbs: probabilities(floats('teacherProbs'), `${name}.teacherProbs`),
    refLogProbs,
    counted,
  }
}

/** Beyond these, sums in float32 are not finite. */
const signalRange = { min: -1e30, max: 1e30 } as const

// Plain loops here and below: an update may hold a million tokens, and nothing else runs meanwhile.
function kindsOf(
  offPolicy: boolean | Uint8Array,
  mask: Uint8Array | undefined,
  length: number,
  offKind: number,
): { kinds: Uint8Array; counted: number; anyOff: boolean } {
  const kinds = new Uint8Array(length)
  if (typeof offPolicy === 'boolean' && mask === undefined) {
    return { kinds: kinds.fill(offPolicy ? offKind : TokenKind.onPolicy), counted: length, anyOff: offPolicy }
  }
  let counted = 0
  let anyOff = offPolicy === true
  for (let i = 0; i < length; i++) {
    const off = typeof offPolicy === 'boolean' ? offPolicy : offPolicy[i] !== 0
    if (off) anyOff = true
    if (mask !== undefined && mask[i] === 0) continue // TokenKind.masked
    kinds[i] = off ? offKind : TokenKind.onPolicy
    counted += 1
  }
  return { kinds, counted, anyOff }
}

function checkAdvantage(value: unknown, name: string, length: number): number | Float32Array {
  if (typeof value === 'number') return checkNumber(value, name, signalRange)
  return finite(perToken(value, name, Float32Array, length, 'a number or '), name)
}

function probabilities(values: Float32Array | undefined, name: string): Float32Array | undefined {
  const bad = values?.findIndex(value => value < 0) ?? -1
  if (bad >= 0) throw new RangeError(`${name}[${bad}]: expected a probability, got ${values?.[bad]}`)
  return values
}

function perToken<A extends Uint8Array | Float32Array>(
  value: unknown,
  name: string,
  type: { new (length: number): A; name: string },
  length: number,
  /** What else may stand there. */
  or = '',
): A {
  if (!(value instanceof type))
    throw new TypeError(`${name}: expected ${or}a ${type.name}, got ${describeValue(value)}`)
  if (value.length !== length) {
    throw new RangeError(
      `${name}: expected one entry per token after the prompt (${length}), got ${value.length}`,
    )
  }
  return value.slice() as A // the caller may change its arrays while the update runs
}

function finite(values: Float32Array, name: string): Float32Array {
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number
    if (!Number.isFinite(value)) {
      throw new RangeError(`${name}[${i}]: expected a finite number, got ${value}`)
    }
  }
  return values
}
