// Where the time of a run went.
import { mean } from '../curves.js'
import type { Method, ReportModel } from '../model.js'
import type { RunData } from '../read-run.js'
import { stackedBars } from '../stacked-bars.js'
import type { Figure } from './figure.js'

const phases = [
  ['perf/rollout_s', 'sampling'],
  ['perf/reward_s', 'rewards'],
  ['perf/update_s', 'updates'],
  ['perf/save_s', 'saving'],
  ['perf/evaluation_s', 'evaluation'],
] as const

export function phasesFigure({ methods }: ReportModel): Figure {
  const names = [...phases.map(([, name]) => name), 'other']
  const bars = methods.map(method => ({ name: method.name, values: secondsOf(method) }))
  return {
    id: 'phases',
    title: 'Time per phase',
    note: 'Mean seconds per run. Other: what a step takes beside sampling, rewards and updates.',
    panels: [
      {
        id: 'phases',
        title: 'Time per phase',
        chart: stackedBars(bars, names, 'seconds', 'seconds per phase and method'),
      },
    ],
  }
}

function secondsOf(method: Method): number[] {
  const sums = method.runs.map(run => {
    const parts = phases.map(([metric]) => total(run, metric))
    const inSteps = parts.slice(0, 3).reduce((sum, seconds) => sum + seconds, 0)
    return [...parts, Math.max(0, total(run, 'step_time') - inSteps)]
  })
  return [...phases, 'other'].map((_, k) =>
    sums.length === 0 ? 0 : mean(sums.map(parts => parts[k] as number)),
  )
}

function total(run: RunData, metric: string): number {
  return (run.columns.get(metric) ?? []).reduce((sum, [, y]) => sum + (Number.isFinite(y) ? y : 0), 0)
}
