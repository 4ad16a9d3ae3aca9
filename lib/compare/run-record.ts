// What a comparison takes from a finished run: accuracies over steps, tokens and time, from the run's metrics.jsonl.
import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import { metricName } from '../training/metrics.js'
import { readTextFile } from '../training/small-files.js'

export interface RunEvaluation {
  step: number
  /** By evaluation set. */
  accuracy: Record<string, number>
}

/** Means over the steps since the evaluation before. */
export interface RunInterval {
  step: number
  reward?: number
  entropy?: number
  /** Share of groups of which no sample was right. */
  solvedNone?: number
  /** Mean probability of the demonstrations' tokens. */
  demonstrationProbability?: number
}

export interface RunRecord {
  label: string
  seed: number
  hash: string
  evaluations: RunEvaluation[]
  intervals: RunInterval[]
  /** Tokens that went through updates, and tokens that were sampled for training. */
  trainedTokens: number
  sampledTokens: number
  /** Of the steps, without evaluations and saving. */
  seconds: number
}

type Row = Record<string, number | null>

const intervalMetrics = {
  reward: metricName('reward'),
  entropy: metricName('entropy'),
  solvedNone: metricName('groupsSolvedNone'),
  demonstrationProbability: metricName('offPolicyProbability'),
} as const

/** Reads a run's record from its folder. Throws CheckpointError where its metrics are missing or no JSON lines. */
export async function readRunRecord(
  folder: string,
  of: Pick<RunRecord, 'label' | 'seed' | 'hash'>,
): Promise<RunRecord> {
  const path = join(folder, 'metrics.jsonl')
  const text = await readTextFile(path)
  if (text === undefined) throw new CheckpointError(`${path}: is not there`, { path })
  const rows = text
    .split('\n')
    .filter(line => line !== '')
    .map((line, i) => parseRow(line, `${path}:${i + 1}`))
  return { ...of, ...recordOf(rows) }
}

function parseRow(line: string, where: string): Row {
  try {
    const row: unknown = JSON.parse(line)
    if (typeof row === 'object' && row !== null && typeof (row as Row).step === 'number') return row as Row
  } catch {
    // said below
  }
  throw new CheckpointError(`${where}: expected a row of metrics with its step`)
}

/** The record of rows of metrics.jsonl, in their order. */
export function recordOf(rows: readonly Row[]): Omit<RunRecord, 'label' | 'seed' | 'hash'> {
  const evaluations: RunEvaluation[] = []
  const intervals: RunInterval[] = []
  let since: Row[] = []
  let trainedTokens = 0
  let sampledTokens = 0
  let seconds = 0
  for (const row of rows) {
    const accuracy = accuracyOf(row)
    if (accuracy !== undefined) {
      evaluations.push({ step: row.step as number, accuracy })
      if (since.length > 0) intervals.push(intervalOf(row.step as number, since))
      since = []
      continue
    }
    since.push(row)
    trainedTokens = Math.max(trainedTokens, row[metricName('numTokens')] ?? 0)
    sampledTokens +=
      (row[metricName('sampledTokensPerSecond')] ?? 0) * (row[metricName('rolloutSeconds')] ?? 0)
    seconds += row[metricName('stepSeconds')] ?? 0
  }
  return { evaluations, intervals, trainedTokens, sampledTokens: Math.round(sampledTokens), seconds }
}

const prefix = 'eval_accuracy/'

function accuracyOf(row: Row): Record<string, number> | undefined {
  const entries = Object.entries(row).flatMap(([name, value]) =>
    name.startsWith(prefix) && value !== null ? [[name.slice(prefix.length), value] as const] : [],
  )
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}

function intervalOf(step: number, rows: readonly Row[]): RunInterval {
  const interval: RunInterval = { step }
  for (const [name, logged] of Object.entries(intervalMetrics)) {
    const values = rows.map(row => row[logged]).filter(value => typeof value === 'number')
    if (values.length === 0) continue
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    interval[name as keyof RunInterval] = Number(mean.toPrecision(6))
  }
  return interval
}
