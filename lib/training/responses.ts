// The responses of a step before they are scored: samples, demonstrations whole or as prefixes that the policy continues,
// replayed successes.
import type { StepPrompts } from '../methods/memory.js'
import type { RatedMember } from '../methods/method.js'
import type { Task, TaskItem } from '../rewards/task.js'
import type { Completion, SampleProgress } from '../sampler/options.js'
import type { Policy } from '../sampler/policy.js'
import type { Moment } from './moment.js'
import { prefixShare } from './prefix.js'
import type { ResolvedTrainConfig } from './train-config.js'

export interface Response {
  /** Index of its prompt. */
  item: number
  tokens: Int32Array
  source: RatedMember['source']
  /** Of samples, and of what follows a prefix. */
  completion: Completion | undefined
  /** Leading tokens that the policy did not sample now. */
  given: number
  /** Of a replayed success, under the policy that sampled it. */
  pastLogProbs?: Float32Array
}

/** What a step needs besides its prompts. */
export interface StepContext {
  policy: Policy
  task: Task
  config: ResolvedTrainConfig
  moment: Moment
  /** Of the random numbers: that of the run, unless prompts are sampled in several rounds. */
  samplingStep: number
  signal?: AbortSignal | undefined
  onProgress?: ((progress: SampleProgress) => void) | undefined
}

/** Responses in the order of their prompts: samples first; and how many demonstrations were dropped as too long. */
export async function respond(
  context: StepContext,
  steps: readonly StepPrompts<TaskItem>[],
  prompts: readonly Int32Array[],
): Promise<{ responses: Response[]; dropped: number }> {
  const { whole, prefixes, dropped } = demonstrations(context, steps)
  const replayed = steps.flatMap(({ replay }, item): Response[] => {
    if (replay === undefined) return []
    const { tokens, logProbs } = replay
    return [
      { item, tokens, source: 'replay', completion: undefined, given: tokens.length, pastLogProbs: logProbs },
    ]
  })
  const sampled = await sample(context, steps, prompts, prefixes)
  return { responses: [...sampled, ...whole, ...replayed].sort((a, b) => a.item - b.item), dropped }
}

/** A prompt with what follows it already, and the numbers of the samples to draw. */
interface Request {
  item: number
  given: Int32Array
  numbers: number[]
}

async function sample(
  { policy, task, config, moment, samplingStep, signal, onProgress }: StepContext,
  steps: readonly StepPrompts[],
  prompts: readonly Int32Array[],
  prefixes: ReadonlyMap<number, Int32Array>,
): Promise<Response[]> {
  const { method } = moment
  const shown = method.demonstrations ? config.demonstrationsPerPrompt : 0
  const none = new Int32Array(0)
  const requests = steps.flatMap(({ replay }, item): Request[] => {
    const samples = method.onPolicy ? config.numGenerations - shown - (replay === undefined ? 0 : 1) : 0
    const prefix = prefixes.get(item)
    return [
      { item, given: none, numbers: Array.from({ length: Math.max(0, samples) }, (_, i) => i) },
      // No sample of the group has the number of its last member.
      ...(prefix === undefined ? [] : [{ item, given: prefix, numbers: [config.numGenerations - 1] }]),
    ].filter(({ numbers }) => numbers.length > 0)
  })
  if (requests.length === 0) return []
  const completions = await policy.sample(
    requests.map(({ item, given }) => joined(prompts[item] as Int32Array, given)),
    {
      maxTokens: config.maxCompletionLength,
      temperature: config.temperature,
      topK: config.topK,
      topP: config.topP,
      minP: config.minP,
      promptNumbers: requests.map(({ item }) => item),
      sampleNumbers: requests.map(({ numbers }) => numbers),
      stopTokens: task.tokenizer.endIds,
      seed: config.seed,
      step: samplingStep,
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    },
  )
  return completions.map(completion => {
    const { item, given } = requests[completion.promptIndex] as Request
    const own = within(completion, config.maxCompletionLength - given.length)
    return {
      item,
      tokens: joined(given, own.tokens),
      source: given.length > 0 ? 'prefix' : 'sample',
      completion: own,
      given: given.length,
    }
  })
}

/** The same completion as if it had been sampled under a lower limit. */
function within(completion: Completion, limit: number): Completion {
  if (completion.tokens.length <= limit) return completion
  return {
    ...completion,
    tokens: completion.tokens.slice(0, limit),
    logProbs: completion.logProbs.slice(0, limit),
    drawnLogProbs: completion.drawnLogProbs.slice(0, limit),
    finishReason: 'length',
  }
}

export function joined(first: Int32Array, second: Int32Array): Int32Array {
  const tokens = new Int32Array(first.length + second.length)
  tokens.set(first)
  tokens.set(second, first.length)
  return tokens
}

/** Demonstrations as responses, or their prefixes; those longer than the limit are dropped and counted, or cut. */
function demonstrations(
  { task, config, moment, samplingStep }: StepContext,
  steps: readonly StepPrompts<TaskItem>[],
): { whole: Response[]; prefixes: Map<number, Int32Array>; dropped: number } {
  const whole: Response[] = []
  const prefixes = new Map<number, Int32Array>()
  let dropped = 0
  if (!moment.method.demonstrations || config.demonstrationsPerPrompt === 0)
    return { whole, prefixes, dropped }
  for (const [item, { item: row }] of steps.entries()) {
    if (row.demonstration === undefined) continue
    const all = task.tokenizer.encode(row.demonstration)
    if (all.length > config.maxCompletionLength && !config.truncateDemonstrations) {
      dropped += 1
      continue
    }
    const tokens = all.slice(0, config.maxCompletionLength)
    const share = prefixShare(config.prefix, moment, { seed: config.seed, step: samplingStep, place: item })
    const given = share === undefined ? tokens.length : Math.round(share * tokens.length)
    if (given < tokens.length) prefixes.set(item, tokens.slice(0, given))
    else whole.push({ item, tokens, source: 'demonstration', completion: undefined, given: tokens.length })
  }
  return { whole, prefixes, dropped }
}
