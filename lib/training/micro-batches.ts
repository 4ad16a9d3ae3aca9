// How an update is cut into micro-batches, and what the loss is told about each of their tokens.
import { type LossReduction, tokenWeights } from '../ops/policy-objective.js'
import { type PackedGroup, packedLength } from '../policy/packing.js'
import type { CheckedMember } from './groups.js'

/** A member with its advantage (per token) and the weight of its tokens in the loss. */
export interface WeightedMember {
  member: CheckedMember
  advantage: number | Float32Array
  weight: number
}

/** Members that share a prompt in the packed batch. */
export interface MicroGroup {
  members: WeightedMember[]
  shared: boolean
}

/** Weights of the whole update's members, by the reduction. */
export function weighMembers(
  members: readonly CheckedMember[],
  advantages: readonly (number | Float32Array)[],
  reduction: LossReduction,
): WeightedMember[] {
  const weights = tokenWeights(
    reduction,
    members.map(({ tokens, promptLength, counted }) => ({
      length: tokens.length - promptLength,
      tokens: counted,
    })),
  )
  return members.map((member, i) => ({
    member,
    advantage: advantages[i] as number | Float32Array,
    weight: weights[i] as number,
  }))
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
  for (const { member, advantage, weight } of members) {
    const end = start + member.kinds.length
    if (typeof advantage === 'number') advantages.fill(advantage, start, end)
    else advantages.set(advantage, start)
    weights.fill(weight, start, end)
    kinds.set(member.kinds, start)
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
