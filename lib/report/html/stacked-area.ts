// Shares over steps, stacked, each named at the right.
import { axes, type Chart, chartWidth, emptyChart, endLabels, labelRoom, type Plot, round } from './chart.js'
import { averaged, type Point } from './curves.js'
import { extent } from './line-chart.js'
import { escapeMarkup } from './markup.js'
import { linearScale, type Scale } from './scale.js'

export interface Area {
  name: string
  /** Class of its fill. */
  fill: string
  points: readonly Point[]
}

const height = 230

/** From the bottom up. Steps at which an area has no value are left out. */
export function stackedArea(
  areas: readonly Area[],
  description: string,
  yText: (value: number) => string,
  lastStep: number,
): Chart {
  const columns = stacks(areas.map(area => averaged(area.points, 120)))
  if (columns.length === 0) return emptyChart('nothing recorded')
  const plot: Plot = {
    left: 48,
    right: chartWidth - labelRoom(areas.map(area => area.name)),
    top: 12,
    bottom: height - 40,
  }
  const x = linearScale(extent([...columns.map(([step]) => step), 0, lastStep]), [plot.left, plot.right], {
    count: 5,
    tight: true,
    whole: true,
  })
  const y = linearScale(
    [0, Math.max(...columns.map(([, tops]) => tops[tops.length - 1] as number))],
    [plot.bottom, plot.top],
  )
  const last = columns[columns.length - 1] as Column
  const labels = areas.map((area, i) => {
    const share = (last[1][i + 1] as number) - (last[1][i] as number)
    return {
      y: y.at(((last[1][i] as number) + (last[1][i + 1] as number)) / 2),
      text: area.name,
      sign: (at: number, middle: number) =>
        `<rect class="${area.fill}" x="${at - 5}" y="${middle - 5}" width="10" height="10"><title>${escapeMarkup(`${area.name}, last: ${yText(share)}`)}</title></rect>`,
    }
  })
  return {
    width: chartWidth,
    height,
    description,
    body: [
      axes(x, y, plot, yText),
      ...areas.map((area, i) => areaOf(columns, i, area, x, y)),
      endLabels(labels.reverse(), plot.right, plot),
    ].join(''),
  }
}

/** A step, and the sums up to each area: one more than areas. */
type Column = readonly [x: number, tops: readonly number[]]

function stacks(areas: readonly (readonly Point[])[]): Column[] {
  const maps = areas.map(points => new Map(points))
  return (areas[0] ?? []).flatMap(([step]) => {
    const values = maps.map(map => map.get(step) ?? Number.NaN)
    if (!values.every(Number.isFinite)) return []
    let sum = 0
    return [[step, [0, ...values.map(value => (sum += value))]] as const]
  })
}

function areaOf(columns: readonly Column[], i: number, area: Area, x: Scale, y: Scale): string {
  const edge = (k: number) =>
    columns.map(([step, tops]) => `${round(x.at(step))} ${round(y.at(tops[k] as number))}`)
  const single = columns.length === 1
  // One step: a column, since an area has no width there.
  const [low, high] = [edge(i), edge(i + 1)]
  const path = single
    ? `M${x.at(x.min)} ${low[0]?.split(' ')[1]}H${x.at(x.max)}V${high[0]?.split(' ')[1]}H${x.at(x.min)}z`
    : `M${[...high, ...low.reverse()].join('L')}z`
  return `<path class="cut ${area.fill}" d="${path}"><title>${escapeMarkup(area.name)}</title></path>`
}
