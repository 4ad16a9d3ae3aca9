// Tokens per second: trained on, of the whole step, and sampled, of the sampling.
import { lineChart } from '../line-chart.js'
import { hasMetric, lastStep, type ReportModel } from '../model.js'
import { type Figure, methodLines, seedNote } from './figure.js'

export function speedFigure({ methods }: ReportModel): Figure {
  const panels = [
    ['speed', 'Tokens trained on per second of a step', 'perf/tokens_per_second'],
    ['sampling-speed', 'Tokens sampled per second of sampling', 'perf/sampled_tokens_per_second'],
  ] as const
  return {
    id: 'speed',
    title: 'Tokens per second',
    note: `On the machine of each run.${seedNote(methods, 'perf/tokens_per_second')}`,
    panels: panels
      .filter(([id, , metric]) => id === 'speed' || hasMetric(methods, metric, true))
      .map(([id, title, metric]) => ({
        id,
        title,
        chart: lineChart(
          methodLines(methods, metric).filter((_, i) =>
            hasMetric([methods[i] as (typeof methods)[number]], metric, true),
          ),
          { lastStep: lastStep(methods), description: `${title} over steps`, include: [0] },
        ),
      })),
  }
}
