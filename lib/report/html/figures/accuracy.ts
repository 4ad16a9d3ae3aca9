// Accuracy by method on every evaluation set, with the standard error over runs.
import { barChart } from '../bar-chart.js'
import { mean } from '../curves.js'
import { accuracyMetric, evaluationSets, type Method, type ReportModel } from '../model.js'
import { type Figure, fileWord } from './figure.js'

export function accuracyFigure(model: ReportModel): Figure {
  const sets = [
    ...new Set([...evaluationSets(model.methods), ...model.accuracies.map(({ set }) => set)]),
  ].filter(set => model.accuracies.some(accuracy => accuracy.set === set))
  const errors = model.accuracies.some(({ standardError }) => standardError !== undefined)
  const before = model.methods.some(method => sets.some(set => valueBefore(method, set) !== undefined))
  return {
    id: 'accuracy',
    title: 'Accuracy by method',
    note: [
      model.accuracyNote ?? 'The last evaluation of each run, in percent of held-out prompts.',
      errors ? 'Whiskers: standard error of the mean over runs.' : '',
      before ? 'Dotted tick: before training.' : '',
    ]
      .filter(part => part !== '')
      .join(' '),
    panels: sets.map(set => ({ id: `accuracy-${fileWord(set)}`, title: set, chart: panel(model, set) })),
  }
}

function panel(model: ReportModel, set: string) {
  const bars = model.methods.flatMap(method => {
    const found = model.accuracies.find(each => each.set === set && each.method === method.name)
    if (found === undefined) return []
    return [
      {
        name: method.name,
        series: method.series,
        value: found.mean,
        error: found.standardError,
        before: valueBefore(method, set),
      },
    ]
  })
  return barChart(bars, `accuracy on ${set} by method`)
}

/** Accuracy at step 0, where a run was evaluated before it began. */
export function valueBefore(method: Method, set: string): number | undefined {
  const values = method.runs.flatMap(run => {
    const first = run.columns.get(accuracyMetric(set))?.[0]
    return first?.[0] === 0 && Number.isFinite(first[1]) ? [first[1]] : []
  })
  return values.length === 0 ? undefined : mean(values)
}
