// Groups as callers give them: what a member becomes, and how fast a large update is checked.
import test from 'ava'
import { TokenKind } from '../../lib/ops/policy-objective.js'
import { rewardMetrics } from '../../lib/training/group-metrics.js'
import { checkGroups, type GroupMember, needsReward } from '../../lib/training/groups.js'

const rules = { vocabSize: 10, maxPositions: 100_000, supervised: false, needsReference: false }
const { masked, onPolicy, offPolicy, supervised } = TokenKind

function member(changes: Partial<GroupMember> = {}): GroupMember {
  return { tokens: Int32Array.of(1, 2, 3, 4, 5), promptLength: 2, offPolicy: false, reward: 1, ...changes }
}

const check = (changes: Partial<GroupMember>, more: object = {}) =>
  checkGroups([{ members: [member(changes)] }], { ...rules, ...more })[0]![0]!

test('the kind of each response token', t => {
  t.deepEqual([...check({}).kinds], [onPolicy, onPolicy, onPolicy])
  t.deepEqual([...check({ offPolicy: true }).kinds], [offPolicy, offPolicy, offPolicy])
  t.deepEqual(
    [...check({ offPolicy: true }, { supervised: true }).kinds],
    [supervised, supervised, supervised],
  )
  const mixed = check({ offPolicy: Uint8Array.of(1, 0, 2), mask: Uint8Array.of(1, 1, 0) })
  t.deepEqual([...mixed.kinds], [offPolicy, onPolicy, masked])
  t.deepEqual([mixed.counted, mixed.isDemonstration], [2, true])
  t.like(check({ offPolicy: new Uint8Array(3), mask: new Uint8Array(3) }), {
    counted: 0,
    isDemonstration: false,
  })
  t.is(check({ offPolicy: Uint8Array.of(1, 0, 0) }, { supervised: true }).supervised, 1)
  t.throws(() => check({ teacherProbs: Float32Array.of(0.5, -0.5, 0) }), {
    message: /teacherProbs\[1\]: expected a probability, got -0\.5/,
  })
  for (const offPolicy of [true, false]) {
    t.throws(() => check({ promptLength: 5, offPolicy }), { message: /tokens: no token after the prompt/ })
  }
})

test('who needs a reward', t => {
  t.true(needsReward(check({})))
  t.false(needsReward(check({ advantage: 0 })))
  t.false(needsReward(check({ mask: new Uint8Array(3) })))
  t.false(needsReward(check({ offPolicy: true, reward: undefined } as object, { supervised: true })))
  const { reward: _, ...bare } = member()
  t.throws(() => checkGroups([{ members: [bare] }], rules), {
    instanceOf: RangeError,
    message: /groups\[0\]\.members\[0\]\.reward: expected a reward or an advantage/,
  })
  t.throws(() => checkGroups([{ members: [] }, { members: [member({ advantage: 1 }), member()] }], rules), {
    message: /groups\[1\]\.members\[1\]\.advantage.*another member has one/,
  })
  t.notThrows(() => checkGroups([{ members: [member({ advantage: 1 }), member({ advantage: 2 })] }], rules))
})

test('metrics of rewards: demonstrations do not count as progress', t => {
  const group = (on: number[], off: number[]) => ({
    members: [
      ...on.map(reward => member({ reward })),
      ...off.map(reward => member({ reward, offPolicy: true })),
    ],
  })
  const groups = checkGroups([group([1, 1], [1]), group([0, 1], [1]), group([0, 0], [1])], rules)
  const metrics = rewardMetrics(groups)
  const close = (got: number | undefined, want: number) =>
    t.true(Math.abs((got as number) - want) < 1e-12, `${got}`)
  close(metrics.reward, 0.5)
  close(metrics.onPolicySolved, 0.5)
  close(metrics.offPolicySolved, 1)
  close(metrics.groupsSolvedAll, 1 / 3)
  close(metrics.groupsSolvedSome, 1 / 3)
  close(metrics.groupsSolvedNone, 1 / 3)
  close(rewardMetrics(checkGroups([group([0.5, 0], [])], rules)).groupsSolvedNone, 1)
  close(metrics.fracRewardZeroStd, 1 / 3)
  close(metrics.rewardStd, Math.SQRT1_2 / 3)
  t.deepEqual(rewardMetrics([]), {})
  t.deepEqual(
    rewardMetrics(checkGroups([{ members: [member({ advantage: 1, reward: undefined } as object)] }], rules)),
    {},
  )
})

test('half a million tokens are checked without a closure per token', t => {
  const length = 4096
  const tokens = new Int32Array(length + 1).fill(3)
  const oldLogProbs = new Float32Array(length)
  const big = [
    { members: Array.from({ length: 128 }, () => member({ tokens, promptLength: 1, oldLogProbs })) },
  ]
  // Processor time of the whole process, garbage collection included: 3.5 to 6 ms with other processes on the same
  // cores, most of it the copies. A closure per token took 148.
  const times = Array.from({ length: 20 }, () => {
    const started = process.cpuUsage()
    checkGroups(big, rules)
    const { user, system } = process.cpuUsage(started)
    return (user + system) / 1000
  })
  t.true(Math.min(...times) < 20, `${Math.min(...times)} ms`)
})
