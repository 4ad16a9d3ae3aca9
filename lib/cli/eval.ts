// `luffy eval`: a checkpoint on the benchmarks of the paper, with a progress line, one table, a JSON and a Markdown file.
import { join } from 'node:path'
import { AbortedError } from '../errors.js'
import { type EvaluationReport, evaluate } from '../evaluation/evaluate.js'
import { type SuiteName, suiteNames } from '../evaluation/suites.js'
import { writeFileDurable } from '../io/atomic.js'
import { unknownNameError } from '../options.js'
import { type Phase, Progress } from '../report/progress.js'
import { formatTable, type TableOptions } from '../report/table.js'
import { printable } from '../report/text.js'
import { Policy } from '../sampler/policy.js'
import type { ComputeDtype } from '../tensor/compute-dtype.js'
import { Device } from '../tensor/device.js'
import { checkpointIn } from './sample.js'
import { catchStopSignals } from './stop-signals.js'
import { print, tableStyle } from './terminal.js'

export interface EvalCommandOptions {
  data: readonly string[]
  suite: string
  out?: string
  template: string
  temperature: number
  topP: number
  maxTokens: number
  samples?: number
  limit?: number
  seed: number
  keepOrder: boolean
  keepSystem: boolean
  ropeTheta?: number
  maxPositions?: number
  device: string
  deterministic: boolean
  dtype: ComputeDtype
  allowNonfinite: boolean
  json: boolean
}

const graceSeconds = 10

export async function runEval(path: string, options: EvalCommandOptions): Promise<number> {
  const { out, samples, limit, ropeTheta, maxPositions } = options
  if (!Object.hasOwn(Object.fromEntries(suiteNames.map(name => [name, true])), options.suite)) {
    throw unknownNameError(options.suite, '--suite', suiteNames)
  }
  const folder = await checkpointIn(path)
  const progress = new Progress()
  let phase: Phase | undefined
  const stop = catchStopSignals(graceSeconds, name => {
    progress.log(`${name}: stopping; what is finished is kept, and the same command goes on`)
  })
  try {
    await using device = await Device.open(options.device, { deterministic: options.deterministic })
    await using policy = await Policy.load(folder, {
      device,
      dtype: options.dtype,
      allowNonFinite: options.allowNonfinite,
      signal: stop.signal,
      ...(ropeTheta === undefined ? {} : { ropeTheta }),
      ...(maxPositions === undefined ? {} : { maxPositions }),
    })
    const report = await evaluate(policy, {
      suite: options.suite as SuiteName,
      data: options.data,
      template: options.template,
      temperature: options.temperature,
      topP: options.topP,
      maxTokens: options.maxTokens,
      seed: options.seed,
      shuffleOptions: !options.keepOrder,
      keepSystem: options.keepSystem,
      ...(out === undefined ? {} : { folder: out }),
      ...(samples === undefined ? {} : { samplesPerPrompt: samples }),
      ...(limit === undefined ? {} : { limit }),
      signal: stop.signal,
      onProgress: at => {
        phase ??= progress.phase(options.suite, { total: at.total, unit: 'sample', start: at.resumed })
        phase.update(at.done, {
          benchmark: at.benchmark,
          right: `${(100 * at.correct).toFixed(1)}%`,
          'tok/s': Math.round(at.tokensPerSecond),
        })
      },
    })
    progress.close()
    const markdown = join(report.folder, 'results.md')
    await writeFileDurable(markdown, `${reportAsMarkdown(report)}\n`)
    for (const notice of report.notices) progress.log(printable(notice))
    if (report.resumedSamples > 0) progress.log(`${report.resumedSamples} samples were there already`)
    print(options.json ? JSON.stringify(report) : tableOf(report, tableStyle()))
    progress.log(`results: ${printable(join(report.folder, 'results.json'))}, ${printable(markdown)}`)
    return 0
  } catch (error) {
    progress.close()
    if (stop.exitCode === undefined || !AbortedError.isInstance(error)) throw error
    throw Object.defineProperty(
      new AbortedError('stopped; the same command goes on', { cause: error }),
      'exitCode',
      {
        value: stop.exitCode,
      },
    )
  } finally {
    stop.release()
  }
}

const percent = (share: number) => (100 * share).toFixed(1)

/** The figures as a table, in percent. */
export function tableOf({ benchmarks, average }: EvaluationReport, style: TableOptions['style']): string {
  const rows = benchmarks.map(each => [
    each.title,
    String(each.prompts),
    String(each.samplesPerPrompt),
    percent(each.mean),
    percent(each.standardError),
    each.samplesPerPrompt > 1 ? `${percent(each.passAtK[each.samplesPerPrompt] as number)}` : '-',
    percent(each.truncated),
    String(Math.round(each.meanTokens)),
    String(Math.round(each.tokensPerSecond)),
  ])
  const header = ['benchmark', 'prompts', 'n', 'pass@1 %', 'error', 'pass@n %', 'cut %', 'tokens', 'tok/s']
  return formatTable(
    header,
    [...rows, ['average', '', '', percent(average.mean), percent(average.standardError)]],
    { style, linesBefore: [rows.length] },
  )
}

function reportAsMarkdown(report: EvaluationReport): string {
  const { suite, checkpoint, temperature, topP, maxTokens, seed, template, notices } = report
  const passes = report.benchmarks
    .filter(({ samplesPerPrompt }) => samplesPerPrompt > 1)
    .map(({ title, passAtK }) => {
      const all = Object.entries(passAtK).map(([k, share]) => `@${k} ${percent(share)}`)
      return `- ${title}, pass: ${all.join(', ')}`
    })
  const settings = `temperature ${temperature}, top-p ${topP}, up to ${maxTokens} tokens, seed ${seed}, template ${escaped(template)}`
  return [
    `# ${suite}: ${escaped(checkpoint)}`,
    `${settings}. pass@1: mean over n samples and the prompts, with its standard error over prompts; in percent.`,
    tableOf(report, 'markdown'),
    ...(passes.length > 0 ? [passes.join('\n')] : []),
    ...(notices.length > 0 ? [notices.map(notice => `- ${escaped(notice)}`).join('\n')] : []),
  ].join('\n\n')
}

function escaped(text: string): string {
  return printable(text).replace(/[\\`*_<>[\]|#]/g, '\\$&')
}
