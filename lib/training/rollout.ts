// One step's groups: rollouts of the policy and demonstrations of the data, scored.

import type { RatedMember } from '../methods/method.js'
import { failureNotice, type ScoredCompletions, scoreCompletions } from '../rewards/reward.js'
import type { Task, TaskItem } from '../rewards/task.js'
import type { Completion, SampleProgress } from '../sampler/options.js'
import type { Policy } from '../sampler/policy.js'
import { rewardMetrics } from './group-metrics.js'
import type { TrainGroup } from './groups.js'
import type { StepMetrics } from './metrics.js'
import type { Moment } from './moment.js'
import type { CompletionRow } from './run-folder.js'
import type { ResolvedTrainConfig } from './train-config.js'

export interface Rollout {
  /** One per prompt, in the order of the items. */
  groups: TrainGroup[]
  /** What completions/ shows: every response, without advantages. */
  rows: CompletionRow[]
  /** The row of each member of the groups, in order. */
  memberRows: (CompletionRow | undefined)[]
  metrics: Partial<StepMetrics>
  /** What there is to say about rewards that failed. */
  notice: string | undefined
}

interface Response {
  item: number
  tokens: Int32Array
  source: 'on' | 'off'
  completion: Completion | undefined
}

/** Samples responses to the items, adds their demonstrations, and scores both. Throws AbortedError, RewardError. */
export async function rollOut(
  policy: Policy,
  task: Task,
  items: readonly TaskItem[],
  moment: Moment,
  config: ResolvedTrainConfig,
  signal?: AbortSignal,
  onProgress?: (progress: SampleProgress) => void,
): Promise<Rollout> {
  const { method } = moment
  const prompts = items.map(item => task.tokenizer.encode(item.prompt))
  const started = performance.now()
  const demonstrated = method.demonstrations
    ? demonstrations(task, items, config)
    : { responses: [], dropped: 0 }
  const sampled = method.onPolicy
    ? await sampleResponses(policy, task, prompts, moment, config, signal, onProgress)
    : []
  const rolloutSeconds = (performance.now() - started) / 1000
  const responses = [...sampled, ...demonstrated.responses].sort((a, b) => a.item - b.item)
  const scored = await scoreCompletions(
    task.reward,
    responses.map(response => {
      const row = items[response.item] as TaskItem
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
  const rows = completionRows(task, items, responses, scored)
  const rated = items.map((_, g) =>
    responses.flatMap((response, i) => {
      const reward = scored.rewards[i]
      // Without a judgement a sample has no advantage and counts for no baseline.
      if (response.item !== g || reward === null) return []
      return [memberOf(prompts[g] as Int32Array, response, reward, config)]
    }),
  )
  const { groups, memberRows } = trained(rated, moment, rows)
  const sampledTokens = sampled.reduce((sum, { tokens }) => sum + tokens.length, 0)
  return {
    groups,
    rows,
    memberRows,
    notice: failureNotice(scored) ?? timeoutNotice(scored),
    metrics: {
      ...lengthMetrics(sampled),
      // The groups of an update tell of rewards only where every member is in them.
      ...(method.choose ? rewardMetrics(rated.map(group => group.map(rewardOf))) : {}),
      rolloutSeconds,
      rewardSeconds: (performance.now() - started) / 1000 - rolloutSeconds,
      sampledTokensPerSecond: sampled.length > 0 ? sampledTokens / rolloutSeconds : 0,
      rewardNulls: scored.nullCount,
      rewardFailures: scored.failedCount,
      rewardReasons: countedReasons(scored.reasonCounts),
      droppedDemonstrations: demonstrated.dropped,
    },
  }
}

/** What the method trains on, and the row of each member. */
function trained(
  rated: readonly (readonly RatedMember[])[],
  { method, options }: Moment,
  rows: readonly CompletionRow[],
): Pick<Rollout, 'groups' | 'memberRows'> {
  const chosen = rated.map(members => (method.choose ? method.choose(members, options) : members))
  // Changed copies keep the array of their tokens.
  const judged = rows.filter(row => row.reward !== null)
  const rowOf = new Map(rated.flat().map(({ tokens }, i) => [tokens, judged[i]]))
  return {
    groups: chosen.map(members => ({ members: members.map(({ source: _, ...member }) => member) })),
    memberRows: chosen.flat().map(({ tokens }) => rowOf.get(tokens)),
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

async function sampleResponses(
  policy: Policy,
  task: Task,
  prompts: Int32Array[],
  { method, step }: Moment,
  config: ResolvedTrainConfig,
  signal: AbortSignal | undefined,
  onProgress: ((progress: SampleProgress) => void) | undefined,
): Promise<Response[]> {
  const perPrompt = config.numGenerations - (method.demonstrations ? config.demonstrationsPerPrompt : 0)
  if (perPrompt === 0) return []
  const completions = await policy.sample(prompts, {
    maxTokens: config.maxCompletionLength,
    temperature: config.temperature,
    topK: config.topK,
    topP: config.topP,
    minP: config.minP,
    samplesPerPrompt: perPrompt,
    stopTokens: task.tokenizer.endIds,
    seed: config.seed,
    step,
    ...(signal ? { signal } : {}),
    ...(onProgress ? { onProgress } : {}),
  })
  return completions.map(completion => ({
    item: completion.promptIndex,
    tokens: completion.tokens,
    source: 'on',
    completion,
  }))
}

/** Demonstrations as responses; those that are longer than the limit are dropped and counted, or cut. */
function demonstrations(
  task: Task,
  items: readonly TaskItem[],
  config: ResolvedTrainConfig,
): { responses: Response[]; dropped: number } {
  const responses: Response[] = []
  let dropped = 0
  if (config.demonstrationsPerPrompt === 0) return { responses, dropped }
  items.forEach(({ demonstration }, item) => {
    if (demonstration === undefined) return
    const tokens = task.tokenizer.encode(demonstration)
    const fits = tokens.length <= config.maxCompletionLength
    if (!fits && !config.truncateDemonstrations) {
      dropped += 1
      return
    }
    responses.push({
      item,
      tokens: fits ? tokens : tokens.slice(0, config.maxCompletionLength),
      source: 'off',
      completion: undefined,
    })
  })
  return { responses, dropped }
}

function memberOf(
  prompt: Int32Array,
  response: Response,
  reward: number | undefined,
  config: ResolvedTrainConfig,
): RatedMember {
  const tokens = new Int32Array(prompt.length + response.tokens.length)
  tokens.set(prompt)
  tokens.set(response.tokens, prompt.length)
  const { completion } = response
  const masked = config.maskTruncated && completion?.finishReason === 'length'
  return {
    tokens,
    promptLength: prompt.length,
    source: response.source === 'off' ? 'demonstration' : 'sample',
    offPolicy: response.source === 'off',
    ...(reward === undefined ? {} : { reward }),
    ...(completion ? { oldLogProbs: completion.logProbs } : {}),
    ...(masked ? { mask: new Uint8Array(response.tokens.length) } : {}),
  }
}

function rewardOf({ reward, source }: RatedMember) {
  return { reward, isDemonstration: source === 'demonstration' }
}

function completionRows(
  task: Task,
  items: readonly TaskItem[],
  responses: readonly Response[],
  scored: ScoredCompletions,
): CompletionRow[] {
  return responses.map(({ item, tokens, source, completion }, i) => ({
    prompt: (items[item] as TaskItem).prompt,
    completion: task.tokenizer.decode(tokens),
    reward: scored.rewards[i] ?? null,
    reason: scored.reasons[i] ?? '',
    group: item,
    source,
    advantage: null,
    finishReason: completion?.finishReason ?? 'demonstration',
    tokens: [...tokens],
    ...(completion ? { logProbs: [...completion.logProbs] } : {}),
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
