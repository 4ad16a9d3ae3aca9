// `luffy compare`: several methods from one base policy over several seeds, and one table.
import { dirname, join, resolve } from 'node:path'
import { type CompareEvent, type CompareResult, compare, resultText } from '../compare/compare.js'
import { merged, type ResolvedCompareConfig, resolveCompareConfig } from '../compare/compare-config.js'
import { AbortedError, ConfigError } from '../errors.js'
import { readRegularFile } from '../io/regular-file.js'
import { comparisonReport } from '../report/html/comparison.js'
import { writeReport } from '../report/html/write-report.js'
import { type Phase, Progress } from '../report/progress.js'
import { formatSeconds, printable } from '../report/text.js'
import { parseConfig } from './run-config.js'
import { catchStopSignals } from './stop-signals.js'
import { outliveReader, print, tableStyle } from './terminal.js'

export interface CompareCommandOptions {
  jobs?: number
  seeds?: readonly number[]
  json: boolean
  /** Seconds after Ctrl-C or SIGTERM within which the runs have to be saved. */
  grace: number
}

const mostBytes = 2 ** 20

/**
 * Reads the configuration of a comparison, with what the command line has in its place. `extends` names another file
 * whose options stand under this one's: defaults and perMethod option by option, the others as a whole. That file and
 * the module are relative to the file in which they stand.
 */
export async function loadCompareConfig(
  path: string,
  options: Pick<CompareCommandOptions, 'jobs' | 'seeds'> = {},
): Promise<ResolvedCompareConfig> {
  const { jobs, seeds } = options
  return resolveCompareConfig({
    ...(await readCompareFile(path)),
    ...(jobs === undefined ? {} : { jobs }),
    ...(seeds === undefined ? {} : { seeds: [...seeds] }),
  })
}

/** The options of a file over those of the one that it extends. */
export async function readCompareFile(path: string, depth = 0): Promise<Record<string, unknown>> {
  const text = (await readRegularFile(path, mostBytes, { error: ConfigError })).toString('utf8')
  const { extends: under, ...own } = parseConfig(text, path)
  if (typeof own.module === 'string') own.module = resolve(dirname(path), own.module)
  if (under === undefined) return own
  if (typeof under !== 'string') throw new ConfigError(`${path}: extends: expected a file`, { path })
  if (depth === 8) throw new ConfigError(`${path}: extends: more than ${depth} files deep`, { path })
  const other = await readCompareFile(resolve(dirname(path), under), depth + 1)
  const result = { ...other, ...own }
  for (const name of ['defaults', 'perMethod']) {
    const both = [other[name], own[name]]
    if (both.every(each => typeof each === 'object' && each !== null && !Array.isArray(each))) {
      result[name] = merged(both[0] as Record<string, unknown>, both[1] as Record<string, unknown>)
    }
  }
  return result
}

/** Returns the exit code: 0, that of the first run that failed, or 130 or 143 after a signal. */
export async function runCompare(path: string, options: CompareCommandOptions): Promise<number> {
  const config = await loadCompareConfig(path, options)
  outliveReader()
  const progress = new Progress()
  const stop = catchStopSignals(options.grace, name => {
    progress.log(`${name}: stopping and saving every run; the same signal again ends at once`)
  })
  try {
    const result = await compare(config, { signal: stop.signal, onEvent: compareProgress(progress) })
    progress.close()
    print(options.json ? JSON.stringify(result) : resultText(result, config.speed, tableStyle()))
    if (result.records.length > 0) await writePage(result, progress)
    progress.log(printable(`results: ${result.folder}`))
    return reportFailures(result, progress)
  } catch (error) {
    progress.close()
    if (stop.exitCode === undefined || !AbortedError.isInstance(error)) throw error
    throw Object.defineProperty(new AbortedError(error.message, { cause: error }), 'exitCode', {
      value: stop.exitCode,
    })
  } finally {
    stop.release()
  }
}

/** report.html beside the tables: curves over seeds and the accuracies of the table. */
async function writePage(result: CompareResult, progress: Progress): Promise<void> {
  const { notices } = await writeReport({
    ...comparisonReport(result),
    out: join(result.folder, 'report.html'),
  })
  for (const notice of notices) progress.log(printable(notice))
}

function reportFailures({ failed }: CompareResult, progress: Progress): number {
  for (const { label, seed, message } of failed) {
    progress.log(printable(`luffy: ${label}, seed ${seed}, failed: ${message}`))
  }
  return failed[0]?.exitCode ?? 0
}

/** One line for all runs that go on side by side, and a line when one ends. */
export function compareProgress(progress: Progress): (event: CompareEvent) => void {
  let phase: Phase | undefined
  const running = new Map<string, { name: string; text: string; step: number; began: number }>()
  let stepsDone = 0
  let runsDone = 0
  let runs = 0
  const show = () => {
    const steps = [...running.values()].reduce((sum, { step }) => sum + step, 0)
    phase?.update(stepsDone + steps, {
      runs: `${runsDone}/${runs}`,
      ...Object.fromEntries([...running.values()].map(({ name, text }) => [name, text])),
    })
  }
  return event => {
    switch (event.type) {
      case 'base':
        if (event.step === 1) phase = progress.phase('base', { total: event.steps, unit: 'step' })
        phase?.update(event.step, { loss: (event.loss ?? 0).toFixed(3) })
        if (event.step === event.steps) phase?.end()
        break
      case 'plan': {
        for (const notice of event.notices) progress.log(printable(notice))
        runs = event.runs.length - event.finished
        const steps = event.runs.reduce((sum, { config }) => sum + config.maxSteps, 0)
        if (event.finished > 0)
          progress.log(`${event.finished} of ${event.runs.length} runs are finished already`)
        const share = runs / Math.max(1, event.runs.length)
        if (runs > 0) phase = progress.phase('compare', { total: Math.round(share * steps), unit: 'step' })
        break
      }
      case 'start':
        running.set(event.run.folder, {
          name: `${event.run.label}·${event.run.seed}`,
          text: 'starts',
          step: 0,
          began: performance.now(),
        })
        show()
        break
      case 'step': {
        const own = running.get(event.run.folder)
        if (own === undefined) break
        own.step = event.step
        own.text = `${event.step}/${event.maxSteps}${event.reward === undefined ? '' : ` r ${event.reward.toFixed(2)}`}`
        show()
        break
      }
      case 'notice':
        progress.log(printable(`${event.run.label}, seed ${event.run.seed}: ${event.text}`))
        break
      case 'end': {
        const own = running.get(event.run.folder)
        running.delete(event.run.folder)
        stepsDone += own?.step ?? 0
        if (event.outcome.kind !== 'stopped') runsDone += 1
        const seconds = formatSeconds((performance.now() - (own?.began ?? 0)) / 1000)
        const { outcome } = event
        const what = outcome.kind === 'failed' ? `failed: ${outcome.message}` : outcome.kind
        progress.log(printable(`${event.run.label}, seed ${event.run.seed}: ${what} after ${seconds}`))
        show()
        break
      }
    }
  }
}
