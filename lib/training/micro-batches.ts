// How an update is cut into micro-batches, and what the loss is told about each of their tokens.
import {
  type LossReduction,
  type ResolvedObjective,
  TokenKind,
  tokenWeights,
} from '../ops/policy-objective.js'
import { type PackedGroup, packedLength } from '../policy/packing.js'
import type { CheckedMember } from './groups.js'

/** A member with its advantage (per token) and the weight in the loss of its tokens, and of its supervised ones. */
export interface WeightedMember {
  member: CheckedMember
  advantage: number | Float32Array
  weight: number
  sftWeight: number
}

/** Members that share a prompt in the packed batch. */
export interface MicroGroup {
  members: WeightedMember[]
  shared: boolean
}

/** How the two terms of the loss are reduced, and what they are worth. */
export type TermWeights = Pick<ResolvedObjective, 'reduction' | 'sftReduction' | 'policyCoef' | 'sftCoef'>

/** Weights of the whole update's members: each term by its own reduction, over the members that stand in it. */
export function weighMembers(
  members: readonly CheckedMember[],
  advantages: readonly (number | Float32Array)[],
  { reduction, sftReduction, policyCoef, sftCoef }: TermWeights,
): WeightedMember[] {
  const inTerm = (term: 'inPolicyTerm' | 'inSftTerm', kind: LossReduction, coefficient: number) => {
    const own = members.filter(member => member[term])
    const weights = tokenWeights(
      kind,
      own.map(({ tokens, promptLength, counted, supervised }) => ({
        length: tokens.length - promptLength,
        tokens: term === 'inSftTerm' ? supervised : counted - supervised,
      })),
    )
    return new Map(own.map((member, i) => [member, coefficient * member.weight * (weights[i] as number)]))
  }
  const policy = inTerm('inPolicyTerm', reduction, policyCoef)
  const sft = inTerm('inSftTerm', sftReduction, sftCoef)
  return members.map((member, i) => ({
    member,
    advantage: advantages[i] as number | Float32Array,
    weight: policy.get(member) ?? 0,
    sftWeight: sft.get(member) ?? 0,
  }))
}

/** Whether it changes the policy: some token with a weight that is supervised or has an advantage. */
export function hasSignal({ member, advantage, weight, sftWeight }: WeightedMember): boolean {
  if (member.supervised > 0 && sftWeight !== 0) return true
  if (weight === 0 || member.counted === member.supervised) return false
  if (typeof advantage === 'number') return advantage !== 0
  return member.kinds.some(
    (kind, i) => kind !== TokenKind.masked && kind !== TokenKind.supervised && advantage[i] !== 0,
  )
}

/**
 * Cuts groups into micro-batches of at most `maxTokens` packed rows (a single longer sequence is a micro-batch of its
 * own). With `sharePrompts`, members of a group with the same prompt stand behind one copy of it.
 */
export function planMicroBatches(
  groups: readonly (readonly WeightedMember[])[],
  maxTokens: number,
  sharePrompts: boolean,
): MicroGroup[][] {
  const batches: MicroGroup[][] = []
  let batch: MicroGroup[] = []
  let rows = 0
  const close = () => {
    if (batch.length > 0) batches.push(batch)
    batch = []
    rows = 0
  }
  for (const group of groups.flatMap(members => byPrompt(members, sharePrompts))) {
    // As many members as still fit go in together; the rest begin the next micro-batch.
    let rest = group.members
    while (rest.length > 0) {
      let taken = 0
      while (taken < rest.length && rows + lengthOf(rest.slice(0, taken + 1), group.shared) <= maxTokens)
        taken += 1
      if (taken === 0 && batch.length > 0) {
        close()
        continue
      }
      const members = rest.slice(0, Math.max(1, taken))
      batch.push({ members, shared: group.shared })
      rows += lengthOf(members, group.shared)
      rest = rest.slice(members.length)
      if (rest.length > 0) close()
    }
  }
  close()
  return batches
}

function lengthOf(members: readonly WeightedMember[], shared: boolean): number {
  return packedLength(toPacked({ members: [...members], shared }))
}

export function toPacked(group: MicroGroup): PackedGroup {
  return { members: group.members.map(({ member }) => member), shared: group.shared }
}

/** Members by equal prompts, in order; without sharing each stands alone. Members without tokens are left out. */
function byPrompt(members: readonly WeightedMember[], sharePrompts: boolean): MicroGroup[] {
  const groups: MicroGroup[] = []
  for (const weighted of members) {
    if (weighted.member.counted === 0) continue
    const twin = sharePrompts
      ? groups.find(group => samePrompt(group.members[0]?.member, weighted.member))
      : undefined
    if (twin) twin.members.push(weighted)
    else groups.push({ members: [weighted], shared: sharePrompts })
  }
  return groups
}

function samePrompt(a: CheckedMember | undefined, b: CheckedMember): boolean {
  if (a === undefined || a.promptLength !== b.promptLength) return false
  for (let i = 0; i < a.promptLength; i++) if (a.tokens[i] !== b.tokens[i]) return false
  return true
}

/** What the loss kernels take, one entry per response token of the members in order. */
export interface TargetArrays {
  oldLogProbs: Float32Array | undefined
  advantages: Float32Array
  weights: Float32Array
  kinds: Uint8Array
  refLogProbs: Float32Array | undefined
  teacherProbs: Float32Array | undefined
}

export function targetArrays(members: readonly WeightedMember[]): TargetArrays {
  const length = members.reduce((sum, { member }) => sum + member.kinds.length, 0)
  // A member without old log-probabilities has ratio 1, which the kernel takes from NaN; without teacher's, 1.
  const column = (name: 'oldLogProbs' | 'refLogProbs' | 'teacherProbs', absent: number) => {
    if (members.every(({ member }) => member[name] === undefined)) return undefined
    const values = new Float32Array(length).fill(absent)
    let start = 0
    for (const { member } of members) {
      const own = member[name]
      if (own !== undefined) values.set(own, start)
      start += member.kinds.length
    }
    return values
  }
  const advantages = new Float32Array(length)
  const weights = new Float32Array(length)
  const kinds = new Uint8Array(length)
  let start = 0
  for (const { member, advantage, weight, sftWeight } of members) {
    const end = start + member.kinds.length
    if (typeof advantage === 'number') advantages.fill(advantage, start, end)
    else advantages.set(advantage, start)
    weights.fill(weight, start, end)
    kinds.set(member.kinds, start)
    if (member.supervised > 0) {
      member.kinds.forEach((kind, i) => {
        if (kind === TokenKind.supervised) weights[start + i] = sftWeight
      })
    }
    start = end
  }
  return {
    oldLogProbs: column('oldLogProbs', Number.NaN),
    advantages,
    weights,
    kinds,
    refLogProbs: column('refLogProbs', 0),
    teacherProbs: column('teacherProbs', 1),
  }
}
