// What a step says about the rewards of its groups.
import type { CheckedMember } from './groups.js'
import type { StepMetrics } from './metrics.js'

type Rated = Pick<CheckedMember, 'reward' | 'isDemonstration'>

/** Means over on-policy members; a group is solved when all its on-policy rewards are 1 or more. */
export function rewardMetrics(groups: readonly (readonly Rated[])[]): Omit<StepMetrics, 'step'> {
  const rated = groups
    .map(group => group.filter(member => member.reward !== undefined))
    .filter(group => group.length > 0)
  if (rated.length === 0) return {}
  const rewards = (group: readonly Rated[], demonstrations: boolean) =>
    group.filter(member => member.isDemonstration === demonstrations).map(member => member.reward as number)
  const sampled = rated.map(group => rewards(group, false)).filter(group => group.length > 0)
  const share = (test: (values: number[]) => boolean) =>
    sampled.length === 0 ? undefined : sampled.filter(test).length / sampled.length
  const demonstrated = rated.flatMap(group => rewards(group, true))
  const reward = mean(sampled.flat())
  return {
    reward,
    rewardStd: mean(sampled.map(deviation)),
    fracRewardZeroStd: mean(rated.map(group => (group.every(m => m.reward === group[0]?.reward) ? 1 : 0))),
    onPolicySolved: reward,
    offPolicySolved: mean(demonstrated),
    groupsSolvedAll: share(values => values.every(value => value >= 1)),
    groupsSolvedNone: share(values => values.every(value => value < 1)),
    groupsSolvedSome: share(values => values.some(value => value >= 1) && values.some(value => value < 1)),
  }
}

function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length
}

function deviation(values: readonly number[]): number {
  const center = mean(values) ?? 0
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0)
  return values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1))
}
