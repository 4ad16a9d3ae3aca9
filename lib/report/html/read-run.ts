// A run folder as the report sees it. Anything may stand in its files: what cannot be read is left out and said.
import { stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { parse } from 'yaml'
import { CheckpointError, LuffyError } from '../../errors.js'
import { openRegularFile, readRegularFile } from '../../io/regular-file.js'
import { weightsName } from '../../training/metrics.js'
import type { Point } from './curves.js'
import type { Histogram } from './heat-map.js'
import { countOf, type Lines, readLines } from './read-lines.js'
import type { ReportRun } from './report-data.js'

export interface RunData {
  folder: string
  name: string
  method: string
  seed: number | undefined
  /** Steps done: the last one in the log. */
  steps: number
  /** Metrics by their logged names, in the order of the steps; NaN where null was logged. */
  columns: ReadonlyMap<string, readonly Point[]>
  weights: readonly Histogram[]
  /** The constant of p / (p + gamma). */
  gamma: number
  /** The evaluation set that decides which checkpoint is the best. */
  bestBy: string | undefined
  notices: string[]
}

const mostLogBytes = 2 ** 28
const mostColumns = 200
const mostRows = 500_000
const mostValue = 1e300

/** Throws CheckpointError where there is no such folder, or one that holds nothing of a run. */
export async function readRun(run: ReportRun): Promise<RunData> {
  const { folder } = run
  const status = await stat(folder).catch(() => undefined)
  if (!status?.isDirectory()) {
    const hint = 'give run folders, such as runs/luffy'
    throw new CheckpointError(`${folder}: ${status ? 'is no folder' : 'no such folder'}`, {
      path: folder,
      hint,
    })
  }
  const notices: string[] = []
  const config = await readConfig(folder, notices)
  const lines = await logLines(folder, notices)
  if (config === undefined && lines === undefined) {
    throw new CheckpointError(
      `${folder}: expected a run folder, found neither config.yaml nor metrics.jsonl`,
      {
        path: folder,
        hint: 'give run folders, such as runs/luffy, or the folder of a comparison',
      },
    )
  }
  const log = columnsOf(lines?.values ?? [])
  if (log.foreign > 0)
    notices.push(`${folder}: ${countOf(log.foreign, 'line')} of metrics.jsonl left out: no step`)
  const method = text(config?.method)
  const gamma = number(member(member(config?.objective, 'shaping'), 'gamma'))
  return {
    folder,
    name: text(config?.runName) ?? basename(resolve(folder)),
    method: run.method ?? method ?? basename(resolve(folder)),
    seed: run.seed ?? number(config?.seed),
    gamma: gamma !== undefined && gamma > 0 ? gamma : 0.1,
    bestBy: text(config?.bestBy),
    notices,
    ...log,
  }
}

async function readConfig(folder: string, notices: string[]): Promise<Record<string, unknown> | undefined> {
  const path = join(folder, 'config.yaml')
  try {
    const bytes = await readRegularFile(path, 2 ** 20, { error: CheckpointError })
    const value: unknown = parse(bytes.toString('utf8'), { logLevel: 'silent' })
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
    notices.push(`${path}: left out: expected a mapping`)
  } catch (error) {
    if (isMissing(error)) return undefined
    notices.push(`${path}: left out: ${error instanceof Error ? error.message : String(error)}`)
  }
  return {}
}

async function logLines(folder: string, notices: string[]): Promise<Lines | undefined> {
  const path = join(folder, 'metrics.jsonl')
  try {
    const { handle, size } = await openRegularFile(path, { error: CheckpointError })
    await using lines = { handle, [Symbol.asyncDispose]: () => handle.close() }
    const read = await readLines(lines.handle, Math.min(size, mostLogBytes), { mostLines: mostRows })
    if (size > mostLogBytes || read.stopped)
      notices.push(`${path}: only its first ${countOf(read.values.length, 'line')} read`)
    if (read.bad > 0)
      notices.push(`${path}: ${countOf(read.bad, 'line')} left out: no JSON, torn or too long`)
    return read
  } catch (error) {
    if (!isMissing(error))
      notices.push(`${path}: left out: ${error instanceof Error ? error.message : String(error)}`)
    return isMissing(error) ? undefined : { values: [], bad: 0, stopped: false }
  }
}

/** Rows by step; of two rows of a step the later one counts. */
function columnsOf(
  rows: readonly unknown[],
): Pick<RunData, 'columns' | 'weights' | 'steps'> & { foreign: number } {
  const columns = new Map<string, Map<number, number>>()
  const weights = new Map<number, readonly number[]>()
  let foreign = 0
  let steps = 0
  for (const row of rows) {
    const step = number(member(row, 'step'))
    if (step === undefined || !Number.isSafeInteger(step) || step < 0) {
      foreign += 1
      continue
    }
    steps = Math.max(steps, step)
    for (const [name, value] of Object.entries(row as object)) {
      if (name === weightsName && isHistogram(value)) weights.set(step, value)
      if (name === 'step' || (typeof value !== 'number' && value !== null)) continue
      let column = columns.get(name)
      if (column === undefined) {
        if (columns.size >= mostColumns) continue
        column = new Map()
        columns.set(name, column)
      }
      // null was NaN, 1e999 is read as Infinity, and sums and distances of the largest numbers are infinite as well.
      column.set(step, value === null || !(Math.abs(value) < mostValue) ? Number.NaN : value)
    }
  }
  const inOrder = <T>(map: Map<number, T>) => [...map].sort((a, b) => a[0] - b[0])
  return {
    columns: new Map([...columns].map(([name, column]) => [name, inOrder(column)])),
    weights: inOrder(weights).map(([step, counts]) => ({ step, counts })),
    steps,
    foreign,
  }
}

function isHistogram(value: unknown): value is readonly number[] {
  return (
    Array.isArray(value) &&
    value.length >= 2 &&
    value.length <= 100 &&
    value.every(count => typeof count === 'number' && count >= 0 && Number.isFinite(count))
  )
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, 200) : undefined
}

export function isMissing(error: unknown): boolean {
  return LuffyError.isInstance(error) && error.details?.errno === 'ENOENT'
}
