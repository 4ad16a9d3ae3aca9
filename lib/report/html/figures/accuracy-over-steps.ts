// Accuracy on the evaluation sets while a run goes on.
import { lineChart } from '../line-chart.js'
import { accuracyMetric, evaluationSets, hasMetric, lastStep, type ReportModel } from '../model.js'
import { percentTick } from '../scale.js'
import { type Figure, fileWord, methodLines, seedNote } from './figure.js'

const mostSets = 6

export function accuracyOverStepsFigure({ methods }: ReportModel): Figure {
  const sets = evaluationSets(methods).filter(set => hasMetric(methods, accuracyMetric(set)))
  const rest = sets.length > mostSets ? ` The first ${mostSets} of ${sets.length} sets.` : ''
  return {
    id: 'accuracy-over-steps',
    title: 'Accuracy during training',
    note: `Share of held-out prompts solved.${seedNote(methods, accuracyMetric(sets[0] ?? ''))}${rest}`,
    panels: sets.slice(0, mostSets).map(set => ({
      id: `accuracy-over-steps-${fileWord(set)}`,
      title: set,
      chart: lineChart(methodLines(methods, accuracyMetric(set)), {
        lastStep: lastStep(methods),
        description: `accuracy on ${set} over steps`,
        include: [0, 1],
        yText: percentTick,
      }),
    })),
  }
}
