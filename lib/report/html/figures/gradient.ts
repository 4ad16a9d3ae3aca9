// The norm of the gradient before clipping.
import { lineChart } from '../line-chart.js'
import { lastStep, type ReportModel } from '../model.js'
import { type Figure, methodLines, seedNote } from './figure.js'

export function gradientFigure({ methods }: ReportModel): Figure {
  return {
    id: 'gradient',
    title: 'Gradient norm',
    note: `Before clipping, mean over the updates of a step.${seedNote(methods, 'grad_norm')}`,
    panels: [
      {
        id: 'gradient',
        title: 'Gradient norm',
        chart: lineChart(methodLines(methods, 'grad_norm'), {
          lastStep: lastStep(methods),
          description: 'gradient norm over steps',
          include: [0],
        }),
      },
    ],
  }
}
