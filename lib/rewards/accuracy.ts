// Accuracy on held-out prompts: sample, score, take the mean.

import { checkObject, checkOptions, describeValue } from '../options.js'
import type { SampleProgress } from '../sampler/options.js'
import { Policy } from '../sampler/policy.js'
import { failureNotice, scoreCompletions } from './reward.js'
import { checkEvaluationSet, checkTask, type EvaluationSet, type Task } from './task.js'

export interface AccuracyOptions {
  /** Most new tokens. */
  maxTokens: number
  /** Default 0.6. */
  temperature?: number
  /** Default 1. */
  samplesPerPrompt?: number
  seed: number
  signal?: AbortSignal | undefined
  onProgress?: ((progress: SampleProgress) => unknown) | undefined
}

const accuracyOptions = [
  'maxTokens',
  'temperature',
  'samplesPerPrompt',
  'seed',
  'signal',
  'onProgress',
] as const

export interface Accuracy {
  /**
   * Mean over prompts of the mean reward of their samples. A sample without a judgement (null) counts as 0; one on which
   * the reward failed is left out, and so is a prompt without any other.
   */
  mean: number
  /** Standard error of the mean over prompts. */
  standardError: number
  prompts: number
  /** Samples on which the reward threw or gave no number. */
  failed: number
  /** What there is to say about those. */
  notice: string | undefined
  /** Share of samples cut at the length limit. */
  truncated: number
}

/** Accuracy of a policy on one set of a task. Throws RewardError where the reward failed on all samples. */
export async function measureAccuracy(
  policy: Policy,
  task: Task,
  set: EvaluationSet,
  options: AccuracyOptions,
): Promise<Accuracy> {
  if (!(policy instanceof Policy)) {
    throw new TypeError(`policy: expected a Policy, got ${describeValue(policy)}`)
  }
  checkTask(task)
  checkEvaluationSet(set, 'set')
  checkObject(options, 'measureAccuracy', 'an options object')
  checkOptions(options, 'measureAccuracy', accuracyOptions)
  const { maxTokens, temperature = 0.6, samplesPerPrompt = 1, seed, signal, onProgress } = options
  const completions = await policy.sample(
    set.items.map(item => task.tokenizer.encode(item.prompt)),
    {
      maxTokens,
      temperature,
      samplesPerPrompt,
      seed,
      stopTokens: task.tokenizer.endIds,
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    },
  )
  const scored = await scoreCompletions(
    task.reward,
    completions.map(({ promptIndex, tokens }) => {
      const row = set.items[promptIndex] as EvaluationSet['items'][number]
      const completion = task.tokenizer.decode(tokens)
      return { promptIndex, prompt: row.prompt, completion, tokens, answer: row.answer, row }
    }),
    signal,
  )
  const notice = failureNotice(scored)
  const byPrompt = set.items.flatMap((_, i) => {
    const own = scored.rewards
      .slice(i * samplesPerPrompt, (i + 1) * samplesPerPrompt)
      .filter((_, j) => !scored.failures[i * samplesPerPrompt + j])
    return own.length === 0 ? [] : own.reduce((sum: number, reward) => sum + (reward ?? 0), 0) / own.length
  })
  const mean = byPrompt.reduce((sum, x) => sum + x, 0) / Math.max(1, byPrompt.length)
  const variance = byPrompt.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, byPrompt.length - 1)
  return {
    mean,
    standardError: Math.sqrt(variance / Math.max(1, byPrompt.length)),
    prompts: byPrompt.length,
    failed: scored.failedCount,
    notice,
    truncated: completions.filter(c => c.finishReason === 'length').length / Math.max(1, completions.length),
  }
}
