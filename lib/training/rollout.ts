// One step's groups: rollouts of the policy and demonstrations of the data, scored.

import type { StepPrompts } from '../methods/memory.js'
import type { RatedMember } from '../methods/method.js'
import { failureNotice, type ScoredCompletions, scoreCompletions } from '../rewards/reward.js'
import type { Task, TaskItem } from '../rewards/task.js'
import { rewardMetrics } from './group-metrics.js'
import type { TrainGroup } from './groups.js'
import type { StepMetrics } from './metrics.js'
import { joined, type Response, respond, type StepContext } from './responses.js'
import type { CompletionRow } from './run-folder.js'
import type { ResolvedTrainConfig } from './train-config.js'

export interface Rollout {
  /** One per prompt, in the order of the items. */
  groups: TrainGroup[]
  /** What completions/ shows: every response, without advantages. */
  rows: CompletionRow[]
  /** Of each member of each group, the index of its row. */
  memberRows: number[][]
  metrics: Partial<StepMetrics>
  /** Of the rewards of all members, also those that are not trained on. */
  rewards: Partial<StepMetrics>
  /** What there is to say about rewards that failed. */
  notice: string | undefined
}

/** Samples responses to the items, adds their demonstrations, and scores both. Throws AbortedError, RewardError. */
export async function rollOut(context: StepContext, items: readonly TaskItem[]): Promise<Rollout> {
  const { task, config, moment, signal } = context
  const started = performance.now()
  const steps = await recall(context, items)
  const prompts = steps.map(({ item }) => task.tokenizer.encode(item.prompt))
  const { responses, dropped } = await respond(context, steps, prompts)
  const rolloutSeconds = (performance.now() - started) / 1000
  const scored = await scoreCompletions(
    task.reward,
    responses.map(response => {
      const row = steps[response.item]?.item as TaskItem
      const completion = task.tokenizer.decode(response.tokens)
      return {
        promptIndex: response.item,
        prompt: row.prompt,
        completion,
        tokens: response.tokens,
        answer: row.answer,
        row,
      }
    }),
    signal,
  )
  const all = steps.map((_, g) =>
    responses.flatMap((response, row) => {
      const reward = scored.rewards[row]
      // Without a judgement a sample has no advantage and counts for no baseline.
      if (response.item !== g || reward === null || reward === undefined) return []
      return [{ row, member: memberOf(prompts[g] as Int32Array, response, reward, config) }]
    }),
  )
  const rated = all.map(group => group.map(({ member }) => member))
  moment.memory?.remember(rated.map((members, g) => ({ item: steps[g]?.item as TaskItem, members })))
  const { choose } = moment.method
  const chosen = rated
    .map(members => (choose ? choose(members, moment.options) : members))
    .map(members => members.filter(member => !isLeftOut(member, config)))
  // Changed copies keep the array of their tokens.
  const rowOf = new Map(all.flat().map(({ row, member }) => [member.tokens, row]))
  const sampled = responses.filter(({ completion }) => completion !== undefined)
  const sampledTokens = sampled.reduce((sum, { tokens, given }) => sum + tokens.length - given, 0)
  const rewards = rewardsOf(rated)
  return {
    rewards,
    groups: chosen.map(members => ({ members: members.map(({ source: _, truncated: __, ...m }) => m) })),
    rows: completionRows(task, steps, responses, scored),
    memberRows: chosen.map(members => members.map(({ tokens }) => rowOf.get(tokens) ?? -1)),
    notice: failureNotice(scored) ?? timeoutNotice(scored),
    metrics: {
      ...lengthMetrics(responses.filter(({ source }) => source === 'sample')),
      // The groups of an update tell of rewards only where every member is in them.
      ...(rated.every((members, g) => members.length === chosen[g]?.length) ? {} : rewards),
      rolloutSeconds,
      rewardSeconds: (performance.now() - started) / 1000 - rolloutSeconds,
      sampledTokensPerSecond: sampled.length > 0 ? sampledTokens / rolloutSeconds : 0,
      rewardReasons: countedReasons(scored.reasonCounts),
      rewardNulls: scored.nullCount,
      rewardFailures: scored.failedCount,
      droppedDemonstrations: dropped,
    },
  }
}

/** Names under which reasons are counted. */
const mostReasons = 20
/** Reasons are words; what carries numbers or texts of its own would make a metric of each. */
const plainReason = /^[a-z][a-z _-]{0,39}$/i

function countedReasons(counts: Readonly<Record<string, number>>): Record<string, number> {
  const counted: Record<string, number> = {}
  for (const [reason, count] of Object.entries(counts)) {
    const isNamed = plainReason.test(reason) && Object.keys(counted).length < mostReasons
    const name = isNamed || Object.hasOwn(counted, reason) ? reason : 'other'
    counted[name] = (counted[name] ?? 0) + count
  }
  return counted
}

/** Said where more than one in twenty answers took too long: the reward says little then. */
function timeoutNotice({ reasonCounts, rewards }: ScoredCompletions): string | undefined {
  const timedOut = reasonCounts['timed out'] ?? 0
  if (timedOut * 20 <= rewards.length) return undefined
  return `checking timed out on ${timedOut} of ${rewards.length} responses, which count as wrong`
}

/** The step's prompts, some of which the method may replace by those that it remembers. */
async function recall(
  { policy, task, config, moment, samplingStep, signal }: StepContext,
  items: readonly TaskItem[],
): Promise<readonly StepPrompts<TaskItem>[]> {
  if (moment.memory === undefined) return items.map(item => ({ item }))
  return await moment.memory.recall(items, {
    step: samplingStep,
    seed: config.seed,
    encode: prompt => task.tokenizer.encode(prompt),
    logProbs: sequences =>
      policy.logProbs(sequences, { temperature: config.temperature, ...(signal ? { signal } : {}) }),
  })
}

function memberOf(
  prompt: Int32Array,
  { source, tokens, given, completion, pastLogProbs }: Response,
  reward: number,
  config: ResolvedTrainConfig,
): RatedMember {
  const truncated = completion?.finishReason === 'length'
  const oldLogProbs = new Float32Array(tokens.length)
  if (completion) oldLogProbs.set(completion.logProbs, given)
  const first = (_: number, i: number) => (i < given ? 1 : 0)
  return {
    source,
    truncated,
    tokens: joined(prompt, tokens),
    promptLength: prompt.length,
    offPolicy: source === 'prefix' ? new Uint8Array(tokens.length).map(first) : source !== 'sample',
    reward,
    ...(completion ? { oldLogProbs } : {}),
    ...(pastLogProbs ? { teacherProbs: pastLogProbs.map(Math.exp) } : {}),
    ...(truncated && config.maskTruncated === true ? { mask: new Uint8Array(tokens.length) } : {}),
    ...(truncated && config.maskTruncated === 'advantage' ? { weight: 0 } : {}),
  }
}

function isLeftOut({ truncated }: RatedMember, config: ResolvedTrainConfig): boolean {
  return truncated === true && config.maskTruncated === 'member'
}

function rewardsOf(groups: readonly (readonly RatedMember[])[]): Partial<StepMetrics> {
  return rewardMetrics(
    groups.map(group =>
      group.map(({ reward, source }) => ({ reward, isDemonstration: source !== 'sample' })),
    ),
  )
}

function completionRows(
  task: Task,
  steps: readonly StepPrompts<TaskItem>[],
  responses: readonly Response[],
  scored: ScoredCompletions,
): CompletionRow[] {
  return responses.map(({ item, tokens, source, completion }, i) => ({
    prompt: steps[item]?.item.prompt ?? '',
    completion: task.tokenizer.decode(tokens),
    reward: scored.rewards[i] ?? null,
    reason: scored.reasons[i] ?? '',
    group: item,
    source: source === 'sample' ? 'on' : 'off',
    advantage: null,
    finishReason: completion?.finishReason ?? source,
    tokens: [...tokens],
    ...(completion && source === 'sample' ? { logProbs: [...completion.logProbs] } : {}),
  }))
}

function lengthMetrics(sampled: readonly Response[]): Partial<StepMetrics> {
  if (sampled.length === 0) return {}
  const lengths = sampled.map(({ tokens }) => tokens.length)
  return {
    completionLengthMean: lengths.reduce((sum, n) => sum + n, 0) / lengths.length,
    completionLengthMin: Math.min(...lengths),
    completionLengthMax: Math.max(...lengths),
    completionClippedRatio:
      sampled.filter(({ completion }) => completion?.finishReason === 'length').length / sampled.length,
  }
}
