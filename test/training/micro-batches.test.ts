// How an update is cut: every member once, within the limit, prompts shared where they are equal, weights of the whole.
import test from 'ava'
import { type LossReduction, resolveObjective } from '../../lib/ops/policy-objective.js'
import { packedLength, packGroups } from '../../lib/policy/packing.js'
import { checkGroups, type GroupMember } from '../../lib/training/groups.js'
import {
  hasSignal,
  planMicroBatches,
  targetArrays,
  toPacked,
  weighMembers,
} from '../../lib/training/micro-batches.js'
import { randomTokens } from '../_helpers/policies.js'

const termsOf = (reduction: LossReduction) => resolveObjective({ reduction })

const rules = { vocabSize: 97, maxPositions: 10_000, supervised: false, needsReference: false }

/** Groups of members with weights, from [prompt length, response lengths]. */
function weighted(
  shapes: readonly (readonly [number, readonly number[]])[],
  changes: Partial<GroupMember> = {},
) {
  const groups = checkGroups(
    shapes.map(([promptLength, lengths], g) => ({
      members: lengths.map((length, m) => ({
        tokens: Int32Array.of(...randomTokens(promptLength, g), ...randomTokens(length, 100 * g + m)),
        promptLength,
        offPolicy: false,
        advantage: g + m / 10,
        ...changes,
      })),
    })),
    rules,
  )
  const flat = groups.flat()
  const all = weighMembers(
    flat,
    flat.map(m => m.advantage as number),
    termsOf({ kind: 'token-mean' }),
  )
  let next = 0
  return groups.map(group => group.map(() => all[next++]!))
}

test('every member is in one micro-batch, in order, within the limit', t => {
  const groups = weighted([
    [10, [5, 1, 7]],
    [3, [50]],
    [20, [2, 2, 2, 2, 2, 2, 2]],
    [4, [30, 30]],
  ])
  const wanted = groups.flat()
  for (const sharePrompts of [true, false]) {
    for (const limit of [1, 7, 20, 33, 60, 1000]) {
      const batches = planMicroBatches(groups, limit, sharePrompts)
      t.deepEqual(
        batches.flatMap(batch => batch.flatMap(group => group.members)),
        wanted,
      )
      for (const batch of batches) {
        const rows = batch.reduce((sum, group) => sum + packedLength(toPacked(group)), 0)
        const members = batch.flatMap(group => group.members).length
        t.true(rows <= limit || members === 1, `${rows} rows of ${limit}`)
        t.is(packGroups(batch.map(toPacked)).tokens.length, rows)
      }
      if (limit === 1000) t.is(batches.length, 1)
    }
  }
  // A prompt that is shared stands once.
  const rows = (share: boolean) =>
    planMicroBatches(groups, 1000, share)[0]!.reduce((sum, group) => sum + packedLength(toPacked(group)), 0)
  t.is(rows(false) - rows(true), 2 * 10 + 6 * 20 + 4)
})

test('members with other prompts stand apart; those without a token that counts are left out', t => {
  const [first, second] = weighted([
    [6, [3, 3]],
    [6, [2, 2]],
  ])
  const mixed = [[first![0]!, second![0]!, first![1]!, second![1]!]]
  const [batch] = planMicroBatches(mixed, 1000, true)
  t.deepEqual(
    batch!.map(group => group.members),
    [first, second],
  )
  // A prompt that begins as another one does is another prompt.
  const [short] = weighted([[6, [3]]])
  const long = weighted([[6, [3]]])[0]![0]!
  const longer = { ...long, member: { ...long.member, promptLength: 7, kinds: long.member.kinds.slice(1) } }
  t.is(planMicroBatches([[short![0]!, longer]], 1000, true)[0]?.length, 2)
  t.deepEqual(planMicroBatches(weighted([[5, [3]]], { mask: new Uint8Array(3) }), 10, true), [])
  t.deepEqual(planMicroBatches([], 10, true), [])
})

test('weights are those of the whole update', t => {
  const members = checkGroups(
    [4, 2, 3, 6].map((length, i) => ({
      members: [
        {
          tokens: randomTokens(3 + length, i),
          promptLength: 3,
          offPolicy: false,
          advantage: 1,
          ...(i === 2 ? { mask: new Uint8Array(3) } : {}),
          ...(i === 3 ? { mask: Uint8Array.of(1, 1, 0, 0, 0, 0) } : {}),
        },
      ],
    })),
    rules,
  ).flat()
  const advantages = members.map(() => 1)
  const weights = (reduction: LossReduction) =>
    weighMembers(members, advantages, termsOf(reduction)).map(({ weight }) => weight)
  t.deepEqual(weights({ kind: 'token-mean' }), Array(4).fill(1 / 8))
  t.deepEqual(weights({ kind: 'sequence-mean' }), [1 / 12, 1 / 6, 1 / 3, 1 / 6])
  t.deepEqual(weights({ kind: 'constant', divisor: 7 }), Array(4).fill(1 / 7))
  t.deepEqual(weights({ kind: 'constant' }), Array(4).fill(1 / 24))
})

test('a member of both terms counts in each by its own tokens; its factor is on its loss alone', t => {
  const members = checkGroups(
    [
      {
        members: [
          {
            tokens: randomTokens(7, 1),
            promptLength: 2,
            offPolicy: Uint8Array.of(1, 1, 0, 0, 0),
            supervised: true,
            reward: 1,
            weight: 3,
          },
          { tokens: randomTokens(6, 2), promptLength: 2, offPolicy: false, reward: 0 },
        ],
      },
    ],
    rules,
  ).flat()
  t.deepEqual(
    members.map(({ counted, supervised }) => [counted, supervised]),
    [
      [5, 2],
      [4, 0],
    ],
  )
  const weights = (kind: 'token-mean' | 'sequence-mean') =>
    weighMembers(members, [1, -1], resolveObjective({ reduction: { kind }, sftCoef: 0.5 })).map(
      ({ weight, sftWeight }) => [weight, sftWeight],
    )
  // Seven tokens and two sequences in the policy's term, two tokens of one sequence in the other.
  t.deepEqual(weights('token-mean'), [
    [3 / 7, (0.5 * 3) / 2],
    [1 / 7, 0],
  ])
  t.deepEqual(weights('sequence-mean'), [
    [3 / 6, (0.5 * 3) / 2],
    [1 / 8, 0],
  ])
})

test('an advantage of supervised or masked tokens is no signal', t => {
  const [member] = checkGroups(
    [
      {
        members: [
          {
            tokens: randomTokens(5, 1),
            promptLength: 2,
            offPolicy: Uint8Array.of(1, 0, 0),
            supervised: true,
            mask: Uint8Array.of(1, 1, 0),
            advantage: Float32Array.of(2, 0, 3),
          },
        ],
      },
    ],
    rules,
  ).flat()
  const advantage = (...values: number[]) => ({
    member: member!,
    advantage: Float32Array.from(values),
    weight: 1,
    sftWeight: 0,
  })
  t.false(hasSignal(advantage(2, 0, 3)))
  t.true(hasSignal(advantage(0, 0.1, 0)))
  t.true(hasSignal({ ...advantage(0, 0, 0), sftWeight: 1 }))
})

test('what the loss is told, token by token', t => {
  const [group] = checkGroups(
    [
      {
        members: [
          { tokens: randomTokens(4, 1), promptLength: 2, offPolicy: false, advantage: 2 },
          {
            tokens: randomTokens(5, 1),
            promptLength: 2,
            offPolicy: Uint8Array.of(1, 0, 1),
            mask: Uint8Array.of(1, 1, 0),
            advantage: Float32Array.of(3, 4, 5),
            oldLogProbs: Float32Array.of(-1, -2, -3),
            teacherProbs: Float32Array.of(0.5, 0.25, 0.125),
          },
        ],
      },
    ],
    rules,
  )
  const members = weighMembers(
    group!,
    [2, Float32Array.of(3, 4, 5)],
    termsOf({ kind: 'constant', divisor: 4 }),
  )
  const targets = targetArrays(members)
  t.deepEqual([...targets.kinds], [1, 1, 2, 1, 0])
  t.deepEqual([...targets.advantages], [2, 2, 3, 4, 5])
  t.deepEqual([...targets.weights], Array(5).fill(0.25))
  // Unknown old log-probabilities are NaN (ratio 1), unknown teachers 1.
  t.deepEqual([...targets.oldLogProbs!], [Number.NaN, Number.NaN, -1, -2, -3])
  t.deepEqual([...targets.teacherProbs!], [1, 1, 0.5, 0.25, 0.125])
  t.is(targets.refLogProbs, undefined)
  t.is(targetArrays(members.slice(0, 1)).oldLogProbs, undefined)
})
