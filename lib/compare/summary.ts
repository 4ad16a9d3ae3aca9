// Means with standard errors over seeds, and how fast a method gets to an accuracy.
import { meanAndError } from '../evaluation/statistics.js'
import type { RunRecord } from './run-record.js'

export interface Estimate {
  mean: number
  /** Of the mean over runs; undefined for one run. */
  standardError: number | undefined
  /** Of the runs that have one. */
  runs: number
}

/** Mean and standard error; undefined of nothing. */
export function estimate(values: readonly number[]): Estimate | undefined {
  if (values.length === 0) return undefined
  const { mean, standardError } = meanAndError(values)
  return { mean, standardError: values.length > 1 ? standardError : undefined, runs: values.length }
}

/** Mean accuracy over some sets at a step (the last by default); undefined where they were not evaluated there. */
export function accuracyAt(record: RunRecord, sets: readonly string[], step?: number): number | undefined {
  const { evaluations } = record
  const found = step === undefined ? evaluations.at(-1) : evaluations.find(each => each.step === step)
  const values = sets.map(set => found?.accuracy[set])
  if (values.length === 0 || values.some(value => value === undefined)) return undefined
  return (values as number[]).reduce((sum, value) => sum + value, 0) / values.length
}

/**
 * Steps after which the mean accuracy over some sets is at least `level` for the first time, on the line between the
 * evaluations before and after; undefined where it never is.
 */
export function stepsTo(record: RunRecord, sets: readonly string[], level: number): number | undefined {
  let before: { step: number; accuracy: number } | undefined
  for (const { step } of record.evaluations) {
    const accuracy = accuracyAt(record, sets, step)
    if (accuracy === undefined) continue
    if (accuracy >= level) {
      if (before === undefined) return step
      return before.step + ((level - before.accuracy) / (accuracy - before.accuracy)) * (step - before.step)
    }
    before = { step, accuracy }
  }
  return undefined
}

export interface MethodSummary {
  label: string
  runs: number
  /** Runs that failed. */
  failed: number
  /** Accuracy at the end, by column. */
  columns: Record<string, Estimate | undefined>
  trainedTokens: Estimate | undefined
  sampledTokens: Estimate | undefined
  seconds: Estimate | undefined
  stepsTo?: { estimate: Estimate | undefined; reached: number }
  atSteps?: Record<number, Estimate | undefined>
}

export interface SummaryOptions {
  columns: Record<string, readonly string[]>
  speed?: { column: string; accuracy: number; atSteps: readonly number[] } | undefined
}

/** One summary per label, in the order of the labels. */
export function summarize(
  labels: readonly string[],
  records: readonly RunRecord[],
  failed: readonly { label: string }[],
  options: SummaryOptions,
): MethodSummary[] {
  return labels.map(label => {
    const own = records.filter(record => record.label === label)
    const over = (value: (record: RunRecord) => number | undefined) =>
      estimate(own.map(value).filter(each => each !== undefined))
    const { speed } = options
    const sets = speed === undefined ? [] : (options.columns[speed.column] ?? [])
    return {
      label,
      runs: own.length,
      failed: failed.filter(each => each.label === label).length,
      columns: Object.fromEntries(
        Object.entries(options.columns).map(([name, of]) => [name, over(record => accuracyAt(record, of))]),
      ),
      trainedTokens: over(record => record.trainedTokens),
      sampledTokens: over(record => record.sampledTokens),
      seconds: over(record => record.seconds),
      ...(speed === undefined
        ? {}
        : {
            stepsTo: {
              estimate: over(record => stepsTo(record, sets, speed.accuracy)),
              reached: own.filter(record => stepsTo(record, sets, speed.accuracy) !== undefined).length,
            },
            atSteps: Object.fromEntries(
              speed.atSteps.map(step => [step, over(record => accuracyAt(record, sets, step))]),
            ),
          }),
    }
  })
}

/** The accuracy before training, where the runs were evaluated at step 0: the base's. */
export function baseSummary(
  records: readonly RunRecord[],
  columns: Record<string, readonly string[]>,
): Record<string, Estimate | undefined> {
  // The methods share the base: one run per seed says it.
  const bySeed = new Map(records.map(record => [record.seed, record]))
  return Object.fromEntries(
    Object.entries(columns).map(([name, sets]) => [
      name,
      estimate([...bySeed.values()].map(r => accuracyAt(r, sets, 0)).filter(each => each !== undefined)),
    ]),
  )
}
