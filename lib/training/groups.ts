// Groups as callers give them, checked before anything is enqueued.

import type { GroupMember, TrainGroup } from '../methods/group.js'
import { TokenKind } from '../ops/policy-objective.js'
import {
  checkArray,
  checkBoolean,
  checkNumber,
  checkObject,
  checkOptions,
  describeValue,
} from '../options.js'
import { checkSequence, type TokenSequence } from '../policy/packing.js'

export type { GroupMember, TrainGroup }

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
  /** Unmasked response tokens, and how many of them are supervised. */
  counted: number
  supervised: number
  /** Which terms of the loss it stands in, also where all of its tokens are masked. */
  inPolicyTerm: boolean
  inSftTerm: boolean
  /** Factor on its loss. */
  weight: number
}

/** Groups that a trainer has checked and copied, each member with its advantage. See `Trainer.prepare`. */
export class PreparedGroups {
  readonly owner: object
  readonly members: readonly (readonly (CheckedMember & { advantage: number | Float32Array })[])[]
  /** Of the run, where it was said. */
  readonly step: number | undefined

  constructor(owner: object, members: PreparedGroups['members'], step: number | undefined) {
    this.owner = owner
    this.members = members
    this.step = step
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
    return new PreparedGroups(this.owner, this.members.slice(start, end), this.step)
  }
}

const memberNames = [
  'tokens',
  'promptLength',
  'offPolicy',
  'supervised',
  'weight',
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

/** Its reward stands in the group's baseline. Masks are about the loss: a sample whose tokens do not count was still judged. */
export function isRated({ advantage, reward, inPolicyTerm }: CheckedMember): boolean {
  return advantage === undefined && reward !== undefined && inPolicyTerm
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
  const supervised = checkBoolean(given.supervised ?? rules.supervised, `${name}.supervised`)
  const offKind = supervised ? TokenKind.supervised : TokenKind.offPolicy
  const { kinds, counted, off, anyOff, anyOn } = kindsOf(offPolicy, mask, length, offKind)
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
    supervised: supervised ? off : 0,
    inPolicyTerm: anyOn || !supervised,
    inSftTerm: anyOff && supervised,
    weight: checkNumber(given.weight ?? 1, `${name}.weight`, { min: 0, max: signalRange.max }),
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
): { kinds: Uint8Array; counted: number; off: number; anyOff: boolean; anyOn: boolean } {
  const kinds = new Uint8Array(length)
  if (typeof offPolicy === 'boolean' && mask === undefined) {
    kinds.fill(offPolicy ? offKind : TokenKind.onPolicy)
    return { kinds, counted: length, off: offPolicy ? length : 0, anyOff: offPolicy, anyOn: !offPolicy }
  }
  let counted = 0
  let offCounted = 0
  let anyOff = offPolicy === true
  let anyOn = offPolicy === false
  for (let i = 0; i < length; i++) {
    const off = typeof offPolicy === 'boolean' ? offPolicy : offPolicy[i] !== 0
    if (off) anyOff = true
    else anyOn = true
    if (mask !== undefined && mask[i] === 0) continue // TokenKind.masked
    kinds[i] = off ? offKind : TokenKind.onPolicy
    counted += 1
    if (off) offCounted += 1
  }
  return { kinds, counted, off: offCounted, anyOff, anyOn }
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
