// Runs by method, as the figures take them.
import { type Curve, meanCurve } from './curves.js'
import type { RunData } from './read-run.js'
import type { MethodAccuracy } from './report-data.js'

/** Runs that differ in their seed only. */
export interface Method {
  name: string
  /** Its place: decides colour and mark. */
  series: number
  runs: readonly RunData[]
}

export interface ReportModel {
  methods: readonly Method[]
  accuracies: readonly MethodAccuracy[]
  accuracyNote: string | undefined
}

/** The last step of any run: where the x axes end. */
export function lastStep(methods: readonly Method[]): number {
  return Math.max(1, ...methods.flatMap(method => method.runs.map(run => run.steps)))
}

/** Runs of one name are seeds of a method, unless two have the same seed: then they are named by their folders too. */
export function byMethod(runs: readonly RunData[], also: readonly string[] = []): Method[] {
  const groups = new Map<string, RunData[]>(also.map(name => [name, []]))
  for (const run of runs) groups.set(run.method, [...(groups.get(run.method) ?? []), run])
  // In the order of the runs; methods that only the table of accuracies knows come last.
  const names = [...new Set([...runs.map(run => run.method), ...groups.keys()])]
  const named = names.flatMap(name => {
    const members = groups.get(name) ?? []
    const seeds = new Set(members.map(run => run.seed))
    if (members.length < 2 || seeds.size === members.length) return [{ name, runs: members }]
    return members.map(run => ({ name: `${name} ${run.name}`, runs: [run] }))
  })
  return named.map((method, series) => ({ ...method, series }))
}

/** A metric of a method over steps: the mean over its runs. */
export function curveOf(method: Method, metric: string): Curve {
  return meanCurve(method.runs.map(run => run.columns.get(metric) ?? []))
}

/** Whether any run has a finite value of a metric, beside 0 where `nonZero`. */
export function hasMetric(methods: readonly Method[], metric: string, nonZero = false): boolean {
  return methods.some(method =>
    method.runs.some(run =>
      (run.columns.get(metric) ?? []).some(([, y]) => Number.isFinite(y) && (!nonZero || y !== 0)),
    ),
  )
}

/** Evaluation sets in the order in which they were logged, the one that picks the best checkpoint first. */
export function evaluationSets(methods: readonly Method[]): string[] {
  const runs = methods.flatMap(method => method.runs)
  const sets = runs.flatMap(run =>
    [...run.columns.keys()].filter(name => name.startsWith(prefix)).map(name => name.slice(prefix.length)),
  )
  const best = runs.flatMap(run =>
    run.bestBy !== undefined && sets.includes(run.bestBy) ? [run.bestBy] : [],
  )
  return [...new Set([...best, ...sets])]
}

const prefix = 'eval_accuracy/'

export function accuracyMetric(set: string): string {
  return prefix + set
}
