// Dynamic sampling (DAPO, arXiv 2503.14476): groups in which nothing has an advantage are left out, and other prompts are
// sampled in their place, for a bounded number of rounds.
import type { GroupMember } from '../methods/group.js'
import type { TaskItem } from '../rewards/task.js'
import type { StepMetrics } from './metrics.js'
import type { StepContext } from './responses.js'
import { type Rollout, rollOut } from './rollout.js'

/** Between the numbers of a step's rounds, beyond the steps of any run: each round has prompts and draws of its own. */
const stepsBetweenRounds = 2 ** 24

/**
 * The step's groups: of one round as they are, or with `skipUniformGroups` as many as the step has prompts, of up to
 * 1 + `resampleRounds` rounds. `itemsOf` gives the prompts of a step by its number.
 */
export async function rollOutStep(
  context: Omit<StepContext, 'samplingStep'>,
  itemsOf: (step: number) => Promise<readonly TaskItem[]>,
  first: readonly TaskItem[],
): Promise<Rollout> {
  const { config, moment } = context
  let all: Rollout | undefined
  for (let round = 0; round <= config.resampleRounds; round++) {
    const samplingStep = moment.step + round * stepsBetweenRounds
    const items = round === 0 ? first : await itemsOf(samplingStep)
    const rollout = await rollOut({ ...context, samplingStep }, items)
    if (!config.skipUniformGroups) return rollout
    all = together(
      all,
      withoutUniform(rollout, moment.method.demonstrationTokens === 'supervised'),
      first.length,
    )
    if (all.groups.length >= first.length) break
  }
  return all as Rollout
}

/** Without the groups whose rewards are all equal, unless some token is supervised. */
function withoutUniform(rollout: Rollout, supervised: boolean): Rollout {
  const teaches = (member: GroupMember) => (member.supervised ?? supervised) && member.offPolicy !== false
  const kept = rollout.groups.flatMap(({ members }, g) => {
    const uniform = members.every(({ reward }) => reward === members[0]?.reward)
    return uniform && !members.some(teaches) ? [] : [g]
  })
  return {
    ...rollout,
    groups: kept.map(g => rollout.groups[g] as Rollout['groups'][number]),
    memberRows: kept.map(g => rollout.memberRows[g] as number[]),
    metrics: { ...rollout.metrics, ...rollout.rewards, skippedGroups: rollout.groups.length - kept.length },
  }
}

/** Two rounds as one, of at most `most` groups. */
function together(before: Rollout | undefined, after: Rollout, most: number): Rollout {
  if (before === undefined) return after
  const groupsBefore = 1 + before.rows.reduce((last, { group }) => Math.max(last, group), -1)
  return {
    ...after,
    groups: [...before.groups, ...after.groups].slice(0, most),
    rows: [...before.rows, ...after.rows.map(row => ({ ...row, group: row.group + groupsBefore }))],
    memberRows: [
      ...before.memberRows,
      ...after.memberRows.map(rows => rows.map(row => row + before.rows.length)),
    ].slice(0, most),
    notice: before.notice ?? after.notice,
    metrics: combine(before, after),
  }
}

const summed: readonly (keyof StepMetrics)[] = [
  'rolloutSeconds',
  'rewardSeconds',
  'rewardNulls',
  'rewardFailures',
  'droppedDemonstrations',
  'skippedGroups',
]

/** Sums of counts and times; of the rest means over the responses, or bounds. */
function combine(before: Rollout, after: Rollout): Partial<StepMetrics> {
  const [a, b] = [before.metrics, after.metrics]
  const [n, m] = [before.rows.length, after.rows.length]
  const merge = (name: keyof StepMetrics): number => {
    const [x, y] = [Number(a[name]), Number(b[name])]
    if (summed.includes(name)) return x + y
    if (name === 'completionLengthMin') return Math.min(x, y)
    if (name === 'completionLengthMax') return Math.max(x, y)
    return (n * x + m * y) / (n + m)
  }
  const names = Object.keys(b).filter(
    name => a[name as keyof StepMetrics] !== undefined,
  ) as (keyof StepMetrics)[]
  const reasons = { ...a.rewardReasons }
  for (const [reason, count] of Object.entries(b.rewardReasons ?? {})) {
    reasons[reason] = (reasons[reason] ?? 0) + count
  }
  return { ...a, ...b, ...Object.fromEntries(names.map(name => [name, merge(name)])), rewardReasons: reasons }
}
