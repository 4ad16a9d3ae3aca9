// Length of the policy's own responses, and how many are cut at the limit.
import { lineChart } from '../line-chart.js'
import { hasMetric, lastStep, type ReportModel } from '../model.js'
import { percentTick } from '../scale.js'
import { type Figure, methodLines, seedNote } from './figure.js'

export function lengthFigure({ methods }: ReportModel): Figure {
  const cut = hasMetric(methods, 'completions/clipped_ratio', true)
  return {
    id: 'length',
    title: 'Response length',
    note: `Mean over the step's samples, in tokens${cut ? '; and the share that is cut at the limit' : ''}.${seedNote(methods, 'completions/mean_length')}`,
    panels: [
      {
        id: 'length',
        title: 'Response length, tokens',
        chart: lineChart(methodLines(methods, 'completions/mean_length'), {
          lastStep: lastStep(methods),
          description: 'response length over steps',
          include: [0],
        }),
      },
      ...(cut
        ? [
            {
              id: 'cut-responses',
              title: 'Responses cut at the limit',
              chart: lineChart(methodLines(methods, 'completions/clipped_ratio'), {
                lastStep: lastStep(methods),
                description: 'share of responses cut at the limit over steps',
                include: [0],
                yText: percentTick,
              }),
            },
          ]
        : []),
    ],
  }
}
