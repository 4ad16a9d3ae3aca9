// The evaluation of the paper: every prompt of a suite, sampled and judged as the authors do, and the figures.
import { join } from 'node:path'
import { throwIfAborted } from '../errors.js'
import { writeFileDurable } from '../io/atomic.js'
import { checkTokenizerFits } from '../policy/tokenizer-load.js'
import type { Policy } from '../sampler/policy.js'
import { promptFormat } from '../training/data-task.js'
import { checkEvaluateOptions, type EvaluateOptions } from './evaluate-options.js'
import { type EvaluationPrompts, readEvaluationData } from './evaluation-data.js'
import { EvaluationRun } from './evaluation-run.js'
import { type Figures, figuresOf } from './report.js'
import { checkpointIdentity, SampleLog } from './sample-log.js'
import { type Benchmark, type SuiteName, suites } from './suites.js'

export interface EvaluationReport extends Figures {
  suite: SuiteName
  checkpoint: string
  folder: string
  temperature: number
  topP: number
  maxTokens: number
  seed: number
  template: string
  /** Samples that were there already. */
  resumedSamples: number
  notices: string[]
}

/**
 * Evaluates a policy that was loaded from a folder. Samples are written as they come; a call with the same folder goes
 * on where an earlier one was stopped and gives the same figures. Writes results.json.
 *
 * @throws {DataError} for files that cannot be read or hold nothing of the suite
 * @throws {CheckpointError} where the folder holds an evaluation with other settings
 * @throws {AbortedError} when the signal fires; the finished samples are kept
 */
export async function evaluate(policy: Policy, options: EvaluateOptions): Promise<EvaluationReport> {
  const given = checkEvaluateOptions(policy.source, options)
  const { suite, source, signal } = given
  const format = await promptFormat(source, given.template)
  checkTokenizerFits(format.tokenizer, policy.config.vocabSize, source)
  const benchmarks: readonly Benchmark[] = suites[suite]
  const data = await readEvaluationData(given.data, { ...given, benchmarks, format })
  const log = await SampleLog.open(given.folder, {
    checkpoint: await checkpointIdentity(source),
    temperature: given.temperature,
    topP: given.topP,
    maxTokens: given.maxTokens,
    seed: given.seed,
    ropeTheta: policy.config.ropeTheta,
    maxPositions: policy.config.maxPositions,
  })
  try {
    const run = new EvaluationRun(policy, format.tokenizer, data.items, log, given)
    await run.complete()
    const figures = figuresOf(data, benchmarks, item => run.recordsOf(item))
    const report: EvaluationReport = {
      suite,
      checkpoint: source,
      folder: given.folder,
      temperature: given.temperature,
      topP: given.topP,
      maxTokens: given.maxTokens,
      seed: given.seed,
      template: given.template,
      resumedSamples: run.resumed,
      ...figures,
      notices: [...noticesOf(data, benchmarks), ...run.notices],
    }
    throwIfAborted(signal, 'evaluating')
    await writeFileDurable(join(given.folder, 'results.json'), `${JSON.stringify(report, undefined, 2)}\n`)
    return report
  } finally {
    await log.close()
  }
}

function noticesOf(data: EvaluationPrompts, benchmarks: readonly Benchmark[]): string[] {
  const notices: string[] = []
  const missing = benchmarks.filter(({ name }) => data.items.every(item => item.benchmark !== name))
  if (missing.length > 0) notices.push(`not in the data: ${missing.map(({ title }) => title).join(', ')}`)
  if (data.otherRows > 0) notices.push(`${data.otherRows} rows are of other sources`)
  for (const { name, title } of benchmarks) {
    const { unanswered = 0, notShuffled = 0 } = data.counts[name] ?? {}
    if (unanswered > 0) notices.push(`${title}: ${unanswered} rows have no answer and are left out`)
    if (notShuffled > 0) notices.push(`${title}: ${notShuffled} questions keep their order of options`)
  }
  return notices
}
