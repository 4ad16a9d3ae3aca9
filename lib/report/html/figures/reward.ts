// Mean reward of the policy's own samples: demonstrations would fake progress.
import { lineChart } from '../line-chart.js'
import { lastStep, type ReportModel } from '../model.js'
import { type Figure, methodLines, seedNote } from './figure.js'

export function rewardFigure({ methods }: ReportModel): Figure {
  return {
    id: 'reward',
    title: 'Reward',
    note: `Mean over the step's own samples, without demonstrations.${seedNote(methods, 'reward')}`,
    panels: [
      {
        id: 'reward',
        title: 'Reward of samples',
        chart: lineChart(methodLines(methods, 'reward'), {
          lastStep: lastStep(methods),
          description: 'reward over steps',
          include: [0, 1],
        }),
      },
    ],
  }
}
