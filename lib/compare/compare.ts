// A comparison: its base, its runs side by side, and what came out of them.
import { mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { AbortedError } from '../errors.js'
import { writeFileDurable } from '../io/atomic.js'
import { readJsonFile } from '../training/small-files.js'
import { type Base, prepareBase } from './base.js'
import { labelOf, type ResolvedCompareConfig, resolveCompareConfig } from './compare-config.js'
import { type PlannedRun, planRuns } from './plan.js'
import { type RunEvent, type RunOutcome, runAll } from './run-pool.js'
import { type RunRecord, readRunRecord } from './run-record.js'
import { baseSummary, type Estimate, type MethodSummary, summarize } from './summary.js'
import { mainTable, speedTable } from './tables.js'

export type CompareEvent =
  | { type: 'base'; step: number; steps: number; loss: number | undefined }
  | { type: 'plan'; base: Base; runs: PlannedRun[]; finished: number; jobs: number; notices: string[] }
  | RunEvent

export interface CompareOptions {
  /** Stops every run with a checkpoint; a later call goes on. */
  signal?: AbortSignal | undefined
  onEvent?: ((event: CompareEvent) => void) | undefined
}

export interface FailedRun {
  label: string
  seed: number
  message: string
  exitCode: number
}

export interface CompareResult {
  name: string
  /** Folder of compare.json and compare.md. */
  folder: string
  seeds: number[]
  /** Evaluation sets by column. */
  columns: Record<string, string[]>
  methods: MethodSummary[]
  /** Accuracy of the base, by column, where the runs were evaluated before their first step. */
  before: Record<string, Estimate | undefined>
  records: RunRecord[]
  failed: FailedRun[]
  /** Folders of the finished runs, in the order of the records. */
  folders: string[]
  /** Seconds of this call, and of making the base in it. */
  seconds: number
  baseSeconds: number | undefined
}

/**
 * Trains every method with every seed and sums up. Runs that are finished are not repeated, runs that were stopped go on.
 *
 * @param config a `CompareConfig`, or what was read from a file: it is checked (docs/compare.md)
 * @throws {ConfigError} listing what is wrong with the configuration
 * @throws {AbortedError} after the signal fired and the runs were saved
 */
export async function compare(config: unknown, options: CompareOptions = {}): Promise<CompareResult> {
  const { signal, onEvent = () => {} } = options
  const started = performance.now()
  const resolved = resolveCompareConfig(config)
  const base = await prepareBase(resolved, {
    signal,
    onStep: (step, steps, loss) => onEvent({ type: 'base', step, steps, loss }),
  })
  const cores = availableParallelism()
  const jobs = resolved.jobs ?? cores
  const { runs, notices, columns } = await planRuns(resolved, base, cores)
  const unique = [...new Map(runs.map(run => [run.folder, run])).values()]
  const saved = await Promise.all(unique.map(savedRecord))
  const waiting = unique.filter((_, i) => saved[i] === undefined)
  onEvent({ type: 'plan', base, runs: unique, finished: unique.length - waiting.length, jobs, notices })
  const outcomes = await runAll(waiting, { jobs, signal, onEvent })
  await Promise.all(waiting.map((run, i) => (outcomes[i]?.kind === 'done' ? saveRecord(run) : undefined)))
  if (signal?.aborted && outcomes.some(({ kind }) => kind === 'stopped')) {
    const left = outcomes.filter(({ kind }) => kind === 'stopped').length
    throw new AbortedError(`stopped with ${left} of ${unique.length} runs unfinished`, {
      cause: signal.reason,
      hint: 'the same command goes on',
    })
  }
  const result = await resultOf(
    resolved,
    runs,
    columns,
    new Map(waiting.map((run, i) => [run.folder, outcomes[i]])),
  )
  result.seconds = (performance.now() - started) / 1000
  result.baseSeconds = base.seconds
  await writeResult(result, resolved)
  return result
}

const recordFile = 'result.json'

/** The record of a run that is finished: its hash is that of the run's name, so nothing of it has changed. */
async function savedRecord({ folder, hash }: PlannedRun): Promise<RunRecord | undefined> {
  const saved = (await readJsonFile(join(folder, recordFile)).catch(() => undefined)) as RunRecord | undefined
  return saved?.hash === hash ? saved : undefined
}

async function saveRecord({ folder, label, seed, hash }: PlannedRun): Promise<void> {
  const record = await readRunRecord(folder, { label, seed, hash })
  await writeFileDurable(join(folder, recordFile), `${JSON.stringify(record)}\n`)
}

async function resultOf(
  config: ResolvedCompareConfig,
  runs: readonly PlannedRun[],
  columns: Record<string, string[]>,
  outcomes: ReadonlyMap<string, RunOutcome | undefined>,
): Promise<CompareResult> {
  const records: RunRecord[] = []
  const folders: string[] = []
  const failed: FailedRun[] = []
  for (const run of runs) {
    const { label, seed } = run
    const record = await savedRecord(run)
    if (record !== undefined) {
      // Another comparison may have called the same run by another name.
      records.push({ ...record, label })
      folders.push(run.folder)
      continue
    }
    const outcome = outcomes.get(run.folder)
    if (outcome?.kind === 'failed') {
      failed.push({ label, seed, message: outcome.message, exitCode: outcome.exitCode })
    }
  }
  const labels = config.methods.map(labelOf)
  return {
    name: config.name,
    folder: join(config.outputDir, config.name),
    seeds: config.seeds,
    columns,
    methods: summarize(labels, records, failed, { columns, speed: config.speed }),
    before: baseSummary(records, columns),
    records,
    failed,
    folders,
    seconds: 0,
    baseSeconds: undefined,
  }
}

/** The tables of a result, with a line or two on what they show. */
export function resultText(
  result: CompareResult,
  speed: ResolvedCompareConfig['speed'],
  style: 'unicode' | 'ascii' | 'markdown',
): string {
  const parts = [mainTable(result.methods, result.before, style)]
  if (speed !== undefined) {
    const sets = (result.columns[speed.column] ?? []).join(', ')
    parts.push(`${speed.column} (${sets}) over steps, in percent:`, speedTable(result.methods, speed, style))
  }
  return parts.join('\n\n')
}

async function writeResult(result: CompareResult, config: ResolvedCompareConfig): Promise<void> {
  await mkdir(result.folder, { recursive: true })
  await writeFileDurable(join(result.folder, 'compare.json'), `${JSON.stringify(result, null, 1)}\n`)
  const columns = Object.entries(result.columns).map(([name, sets]) => `${name}: ${sets.join(', ')}`)
  const markdown = [
    `# ${result.name}`,
    `Accuracy in percent on held-out prompts after the last step, mean ± standard error over seeds ${result.seeds.join(', ')}. ` +
      `Columns: ${columns.join('; ')}. Tokens and time per run, evaluations not counted.`,
    resultText(result, config.speed, 'markdown'),
    ...result.failed.map(({ label, seed, message }) => `- failed: ${label}, seed ${seed}: ${message}`),
  ].join('\n\n')
  await writeFileDurable(join(result.folder, 'compare.md'), `${markdown}\n`)
}
