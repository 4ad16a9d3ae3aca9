// Entropy of the policy: its collapse or explosion comes before everything else that goes wrong.
import { lineChart } from '../line-chart.js'
import { lastStep, type ReportModel } from '../model.js'
import { type Figure, methodLines, seedNote } from './figure.js'

export function entropyFigure({ methods }: ReportModel): Figure {
  return {
    id: 'entropy',
    title: 'Entropy',
    note: `Mean over trained tokens, in nats.${seedNote(methods, 'entropy')}`,
    panels: [
      {
        id: 'entropy',
        title: 'Entropy, nats per token',
        chart: lineChart(methodLines(methods, 'entropy'), {
          lastStep: lastStep(methods),
          description: 'entropy over steps',
          include: [0],
        }),
      },
    ],
  }
}
