// `luffy train`: a run as a configuration says, with its progress on stderr and where it ended on stdout.
import { join } from 'node:path'
import { AbortedError, CheckpointError } from '../errors.js'
import { resolveMethod } from '../methods/index.js'
import { Progress } from '../report/progress.js'
import { formatTable } from '../report/table.js'
import { printable } from '../report/text.js'
import { trainingProgress } from '../report/training-progress.js'
import { type CompletionRow, checkpointSteps } from '../training/run-folder.js'
import { type TrainEvent, train } from '../training/train.js'
import type { ResolvedTrainConfig } from '../training/train-config.js'
import { runDryRun } from './dry-run.js'
import { fetchModel } from './fetch-model.js'
import { loadTrainConfig } from './run-config.js'
import { catchStopSignals } from './stop-signals.js'
import { note, outliveReader, print } from './terminal.js'

export interface TrainCommandOptions {
  /** `key=value` overrides. */
  set: readonly string[]
  /** Demand a checkpoint to go on from. */
  resume: boolean
  /** Steps between two tables of completions; 0 = none. */
  showEvery: number
  /** Say what would happen, and write nothing. */
  dryRun: boolean
  /** Seconds after Ctrl-C or SIGTERM within which the run has to be saved. */
  grace: number
}

/** Runs to the end and returns the exit code: 0, or 130 or 143 after a signal. Throws what `train` throws. */
export async function runTrain(path: string, options: TrainCommandOptions): Promise<number> {
  const { config, notices } = await loadTrainConfig(
    path,
    options.resume ? [...options.set, 'resume=auto'] : options.set,
  )
  for (const notice of notices) note(notice)
  if (options.resume) await checkResume(config)
  if (options.dryRun) return runDryRun(config)
  // A run that goes on has its weights in its checkpoint.
  const resumes = (await checkpointSteps(join(config.outputDir, config.runName))).length > 0
  if (!resumes) await fetchModel(config.model)
  outliveReader()
  const progress = new Progress()
  let begun = false
  const stop = catchStopSignals(options.grace, name => {
    // Before the first step there is nothing to wait for: the line that says so is the only one.
    if (begun) progress.log(`${name}: stopping and saving; the same signal again ends at once`)
  })
  const report = trainingProgress(progress, resolveMethod(config.method).name)
  try {
    const result = await train(config, {
      signal: stop.signal,
      onEvent: event => {
        begun ||= event.type === 'step' || (event.type === 'start' && event.step > 0)
        report(event)
        logMore(progress, event, options.showEvery)
      },
    })
    progress.close()
    const accuracy = Object.entries(result.accuracy).map(
      ([set, mean]) => `${set} ${(100 * mean).toFixed(1)} %`,
    )
    if (accuracy.length > 0) print(`accuracy on held-out prompts: ${accuracy.join(', ')}`)
    const troubles = ['timed out', 'worker failed'].flatMap(reason => {
      const count = result.rewardReasons[reason] ?? 0
      return count === 0 ? [] : `${count} ${reason}`
    })
    if (troubles.length > 0)
      print(`answers that could not be checked and count as wrong: ${troubles.join(', ')}`)
    if (result.step > config.maxSteps) {
      print(printable(`nothing done: already at step ${result.step}, see ${result.checkpoint}`))
      return 0
    }
    print(printable(`step ${result.step} of ${config.maxSteps} done, saved ${result.checkpoint}`))
    return 0
  } catch (error) {
    progress.close()
    if (stop.exitCode === undefined || !AbortedError.isInstance(error)) throw error
    throw stopped(error, stop.exitCode)
  } finally {
    stop.release()
  }
}

/** The AbortedError of a run, with the exit code of the signal that stopped it. */
function stopped(error: AbortedError, exitCode: number): AbortedError {
  const message =
    error.details?.checkpoint === undefined ? 'stopped before the first step, nothing to save' : error.message
  const result = new AbortedError(message, {
    cause: error,
    ...(error.details ? { details: error.details } : {}),
  })
  return Object.defineProperty(result, 'exitCode', { value: exitCode })
}

async function checkResume(config: ResolvedTrainConfig): Promise<void> {
  const folder = join(config.outputDir, config.runName)
  if ((await checkpointSteps(folder)).length > 0) return
  throw new CheckpointError(`${folder}: no checkpoint to resume from`, {
    hint: 'leave out --resume to start the run',
    path: folder,
  })
}

function logMore(progress: Progress, event: TrainEvent, showEvery: number): void {
  if (event.type === 'start') progress.log(printable(`run folder ${event.runFolder}`))
  if (event.type === 'checkpoint') progress.log(printable(`step ${event.step}: saved ${event.folder}`))
  if (event.type === 'step' && showEvery > 0 && event.step % showEvery === 0 && event.samples.length > 0) {
    progress.log(completionsTable(event.samples, progress.style.unicode))
  }
}

/** The best and the worst of a step's samples (of its demonstrations where nothing was sampled). */
export function completionsTable(rows: readonly CompletionRow[], unicode: boolean): string {
  const sampled = rows.filter(row => row.source === 'on')
  const ranked = [...(sampled.length > 0 ? sampled : rows)].sort(
    (a, b) => (b.reward ?? -Infinity) - (a.reward ?? -Infinity),
  )
  const shown = ranked.length > 1 ? [ranked[0], ranked.at(-1)] : ranked
  const own = ownPart(rows.map(row => row.prompt))
  return formatTable(
    ['prompt', { header: 'completion', align: 'left' }, 'reward', { header: 'reason', align: 'left' }],
    (shown as CompletionRow[]).map(row => [
      printable(own(row.prompt), 60),
      printable(row.completion, 100),
      row.reward === null ? '-' : String(row.reward),
      printable(row.reason ?? '', 40),
    ]),
    { style: unicode ? 'unicode' : 'ascii' },
  )
}

/** Text that all prompts share at one end is shown only where it is no longer than this. */
const sharedShown = 12

// A template puts the same system prompt and the same ending around every question, and only the question tells them apart.
function ownPart(prompts: readonly string[]): (prompt: string) => string {
  const [first = '', ...others] = new Set(prompts)
  if (others.length === 0) return prompt => prompt
  const shared = (at: (text: string, i: number) => string | undefined) => {
    let length = 0
    while (length < first.length && others.every(other => at(other, length) === at(first, length)))
      length += 1
    return length
  }
  const start = shared((text, i) => text[i])
  const end = shared((text, i) => text[text.length - 1 - i])
  const head = start > sharedShown ? start : 0
  const tail = end > sharedShown ? end : 0
  return prompt => {
    const middle = prompt.slice(head, Math.max(head, prompt.length - tail))
    if (middle === '') return prompt
    return `${head > 0 ? '...' : ''}${middle}${tail > 0 ? '...' : ''}`
  }
}
