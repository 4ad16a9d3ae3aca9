// The regularized importance ratio p / (p + gamma) of demonstration tokens, as a histogram over training.
import { type Histogram, heatMap } from '../heat-map.js'
import { lastStep, type Method, type ReportModel } from '../model.js'
import { type Figure, fileWord } from './figure.js'

export function weightsFigure({ methods }: ReportModel): Figure {
  const having = methods.filter(method => method.runs.some(run => run.weights.length > 0))
  const gammas = [...new Set(having.flatMap(method => method.runs.map(run => run.gamma)))]
  return {
    id: 'weights',
    title: 'How far demonstrations are absorbed: p/(p+γ)',
    note: `Demonstration tokens by p/(p+γ), γ = ${gammas.join(', ') || '0.1'}; the higher, the likelier the policy finds them. Dashed: mean. Steps without an update have no column.`,
    panels: having.map(method => ({
      id: `weights-${fileWord(method.name)}`,
      title: method.name,
      chart: heatMap(
        summed(method),
        `histogram of p/(p+gamma) over steps of ${method.name}`,
        lastStep(methods),
      ),
    })),
  }
}

/** Counts of all runs of a method, step by step. */
function summed(method: Method): Histogram[] {
  const steps = new Map<number, readonly number[]>()
  for (const { step, counts } of method.runs.flatMap(run => run.weights)) {
    const sum = steps.get(step)
    steps.set(
      step,
      sum?.length === counts.length ? counts.map((count, i) => count + (sum[i] as number)) : counts,
    )
  }
  return [...steps].sort((a, b) => a[0] - b[0]).map(([step, counts]) => ({ step, counts }))
}
