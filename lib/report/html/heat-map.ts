// A histogram over steps: each column is one step (or a few), darker where more of its counts are.
import { axes, type Chart, chartWidth, emptyChart, type Plot, round } from './chart.js'
import { linearScale } from './scale.js'

/** Counts in equal bins of [0, 1] at a step. */
export interface Histogram {
  step: number
  counts: readonly number[]
}

const height = 256
const mostColumns = 60
/** Upper ends of the shades, as shares of a column. */
const shades = [0.02, 0.05, 0.1, 0.2, 0.4, 1] as const

/** With the mean of each column as a line. */
export function heatMap(histograms: readonly Histogram[], description: string, lastStep: number): Chart {
  const columns = columnsOf(histograms)
  const bins = columns[0]?.shares.length ?? 0
  if (bins === 0) return emptyChart('nothing recorded')
  const plot: Plot = { left: 48, right: chartWidth - 12, top: 12, bottom: height - 66 }
  const first = columns[0] as Column
  const last = columns[columns.length - 1] as Column
  const x = linearScale([Math.min(0, first.from), Math.max(last.to, lastStep)], [plot.left, plot.right], {
    count: 5,
    tight: true,
    whole: true,
  })
  const y = linearScale([0, 1], [plot.bottom, plot.top])
  const paths = shades.map(() => '')
  for (const column of columns) {
    const left = round(x.at(column.from))
    const right = round(x.at(column.to))
    column.shares.forEach((share, bin) => {
      if (share <= 0) return
      const shade = shades.findIndex(most => share <= most + 1e-9)
      const top = round(y.at((bin + 1) / bins))
      paths[shade] += `M${left} ${top}H${right}V${round(y.at(bin / bins))}H${left}z`
    })
  }
  const means = columns.map(column => {
    const center = column.shares.reduce((sum, share, bin) => sum + share * ((bin + 0.5) / bins), 0)
    return `${round((x.at(column.from) + x.at(column.to)) / 2)} ${round(y.at(center))}`
  })
  return {
    width: chartWidth,
    height,
    description,
    body: [
      ...paths.map((d, i) => (d === '' ? '' : `<path class="heat" fill-opacity="${opacity(i)}" d="${d}"/>`)),
      axes(x, y, plot),
      `<path class="line cut" stroke-width="4" d="M${means.join('L')}"/><path class="line dash s1" d="M${means.join('L')}"><title>mean</title></path>`,
      legend(plot),
    ].join(''),
  }
}

interface Column {
  from: number
  to: number
  shares: readonly number[]
}

function columnsOf(histograms: readonly Histogram[]): Column[] {
  const bins = histograms[0]?.counts.length ?? 0
  const sorted = histograms.filter(({ counts }) => counts.length === bins).sort((a, b) => a.step - b.step)
  const low = sorted[0]?.step ?? 0
  const high = (sorted[sorted.length - 1]?.step ?? 0) + 1
  const width = Math.max(1, Math.ceil((high - low) / mostColumns))
  const sums = new Map<number, number[]>()
  for (const { step, counts } of sorted) {
    const column = Math.floor((step - low) / width)
    const sum = sums.get(column) ?? new Array<number>(bins).fill(0)
    counts.forEach((count, bin) => {
      sum[bin] = (sum[bin] as number) + count
    })
    sums.set(column, sum)
  }
  return [...sums].flatMap(([column, counts]) => {
    const total = counts.reduce((sum, count) => sum + count, 0)
    if (!(total > 0) || !Number.isFinite(total)) return []
    const from = low + column * width
    return [{ from, to: Math.min(high, from + width), shares: counts.map(count => count / total) }]
  })
}

function opacity(shade: number): number {
  return round(((shade + 1) / shades.length) ** 1.2 * 10) / 10
}

function legend(plot: Plot): string {
  const y = plot.bottom + 46
  const cells = shades.map((most, i) => {
    const x = plot.left + 100 + i * 38
    const last = i === shades.length - 1 ? ' %' : ''
    return `<rect class="heat" fill-opacity="${opacity(i)}" x="${x}" y="${y}" width="11" height="11"/><text x="${x + 15}" y="${y + 10}">${Math.round(100 * most)}${last}</text>`
  })
  return `<text x="${plot.left - 36}" y="${y + 10}">share of tokens, up to</text>${cells.join('')}`
}
