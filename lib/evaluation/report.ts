// The figures of an evaluation, from its samples.
import type { EvaluationItem, EvaluationPrompts } from './evaluation-data.js'
import type { SampleRecord } from './sample-log.js'
import { meanAndError, passAtK, powersUpTo } from './statistics.js'
import type { Benchmark } from './suites.js'

export interface BenchmarkReport {
  name: string
  title: string
  prompts: number
  samplesPerPrompt: number
  /** Mean share of right samples over prompts: pass@1. */
  mean: number
  /** Of the mean, over prompts. */
  standardError: number
  /** By k: 1, 2, 4 and so on up to the samples per prompt. */
  passAtK: Record<string, number>
  /** Share of samples that were cut at the length limit. */
  truncated: number
  meanTokens: number
  tokensPerSecond: number
  /** How often each verdict was given. */
  reasons: Record<string, number>
  /** Rows: repeated, unanswered, notShuffled. */
  rows: Record<string, number>
}

export interface Figures {
  benchmarks: BenchmarkReport[]
  /** The mean of the benchmarks' means, and its standard error. */
  average: { mean: number; standardError: number }
}

/** `samplesOf` gives the samples of a prompt, all of them. */
export function figuresOf(
  data: EvaluationPrompts,
  benchmarks: readonly Benchmark[],
  samplesOf: (item: EvaluationItem) => readonly SampleRecord[],
): Figures {
  const reports = benchmarks.flatMap(benchmark => {
    const prompts = data.items.filter(item => item.benchmark === benchmark.name).map(samplesOf)
    return prompts.length === 0 ? [] : [reportOf(benchmark, prompts, data.counts[benchmark.name] ?? {})]
  })
  const n = Math.max(1, reports.length)
  const mean = reports.reduce((sum, report) => sum + report.mean, 0) / n
  const variance = reports.reduce((sum, { standardError }) => sum + standardError ** 2, 0)
  return { benchmarks: reports, average: { mean, standardError: Math.sqrt(variance) / n } }
}

function reportOf(
  { name, title }: Benchmark,
  prompts: readonly (readonly SampleRecord[])[],
  rows: Record<string, number>,
): BenchmarkReport {
  const samplesPerPrompt = prompts[0]?.length ?? 0
  const right = prompts.map(samples => samples.filter(({ correct }) => correct).length)
  const all = prompts.flat()
  const tokens = all.reduce((sum, sample) => sum + sample.tokens, 0)
  const seconds = all.reduce((sum, sample) => sum + sample.seconds, 0)
  const reasons: Record<string, number> = {}
  for (const { reason } of all) reasons[reason] = (reasons[reason] ?? 0) + 1
  const passes = powersUpTo(samplesPerPrompt).map(k => [
    String(k),
    meanAndError(right.map(c => passAtK(samplesPerPrompt, c, k))).mean,
  ])
  return {
    name,
    title,
    prompts: prompts.length,
    samplesPerPrompt,
    ...meanAndError(right.map(c => c / samplesPerPrompt)),
    passAtK: Object.fromEntries(passes),
    truncated: all.filter(({ finishReason }) => finishReason === 'length').length / all.length,
    meanTokens: tokens / all.length,
    tokensPerSecond: seconds > 0 ? tokens / seconds : 0,
    reasons,
    rows,
  }
}
