// Lines over steps, with a band where a line is the mean of several runs.
import {
  axes,
  type Chart,
  chartWidth,
  type EndLabel,
  emptyChart,
  endLabels,
  labelRoom,
  mark,
  type Plot,
  round,
} from './chart.js'
import { type Curve, fewerBands, fewerPoints, type Point } from './curves.js'
import { escapeMarkup } from './markup.js'
import { seriesClass } from './palette.js'
import { linearScale, type Scale, shortNumber } from './scale.js'

export interface Line extends Curve {
  name: string
  /** Number of the method: colour and mark. */
  series: number
  dashed?: boolean
}

export interface LineChartOptions {
  description: string
  /** Where the x axis ends, so that all pictures of a page have the same. */
  lastStep: number
  /** Values that the y axis shows in any case. */
  include?: readonly number[]
  yText?: (value: number) => string
}

const height = 230
const mostMarks = 7
const mostHits = 40

export function lineChart(lines: readonly Line[], options: LineChartOptions): Chart {
  const drawn = lines
    .map(line => ({ ...line, points: fewerPoints(line.points), band: line.band && fewerBands(line.band) }))
    .filter(line => line.points.some(([, y]) => Number.isFinite(y)))
  if (drawn.length === 0) return emptyChart('nothing recorded')
  const names = drawn.length > 1 ? drawn.map(line => line.name) : []
  const plot: Plot = { left: 48, right: chartWidth - labelRoom(names), top: 12, bottom: height - 40 }
  const steps = drawn.flatMap(line => line.points.map(([step]) => step))
  const x = linearScale(extent([...steps, 0, options.lastStep]), [plot.left, plot.right], {
    tight: true,
    whole: true,
    count: 5,
  })
  const values = drawn.flatMap(line => [
    ...line.points.map(([, y]) => y),
    ...(line.band ?? []).flatMap(([, low, high]) => [low, high]),
  ])
  const y = linearScale(extent([...values, ...(options.include ?? [])]), [plot.bottom, plot.top])
  const yText = options.yText ?? shortNumber
  const labels: EndLabel[] = names.length === 0 ? [] : drawn.map(line => endOf(line, y))
  return {
    width: chartWidth,
    height,
    description: options.description,
    body: [
      axes(x, y, plot, yText),
      ...drawn.map(line => bandOf(line, x, y)),
      ...drawn.map(line => lineOf(line, x, y)),
      ...drawn.map((line, i) => marksOf(line, x, y, i, yText, names.length > 0)),
      endLabels(labels, plot.right, plot),
    ].join(''),
  }
}

/** Least and greatest of the finite values. */
export function extent(values: readonly number[]): [number, number] {
  let low = Number.POSITIVE_INFINITY
  let high = Number.NEGATIVE_INFINITY
  for (const value of values) {
    if (!Number.isFinite(value)) continue
    if (value < low) low = value
    if (value > high) high = value
  }
  return [low, high]
}

function bandOf({ band, series }: Line, x: Scale, y: Scale): string {
  let path = ''
  let stretch: NonNullable<Curve['band']>[number][] = []
  const close = () => {
    const over = stretch.map(([step, , high]) => `${round(x.at(step))} ${round(y.at(high))}`)
    const under = stretch.map(([step, low]) => `${round(x.at(step))} ${round(y.at(low))}`).reverse()
    if (stretch.some(([, low, high]) => high > low)) path += `M${[...over, ...under].join('L')}z`
    stretch = []
  }
  for (const at of band ?? []) {
    if (Number.isFinite(at[1])) stretch.push(at)
    else close()
  }
  close()
  return path === '' ? '' : `<path class="band f${seriesClass(series)}" d="${path}"/>`
}

function lineOf({ points, series, dashed }: Line, x: Scale, y: Scale): string {
  let path = ''
  let open = false
  for (const [step, value] of points) {
    if (Number.isFinite(value)) path += `${open ? 'L' : 'M'}${round(x.at(step))} ${round(y.at(value))}`
    open = Number.isFinite(value)
  }
  return `<path class="line${dashed ? ' dash' : ''} s${seriesClass(series)}" d="${path}"/>`
}

/** Marks at a few points (other ones for every line, so that they do not cover each other), and values to point at. */
function marksOf(
  line: Line,
  x: Scale,
  y: Scale,
  turn: number,
  yText: (value: number) => string,
  named: boolean,
): string {
  const finite = line.points.filter(([, value]) => Number.isFinite(value))
  const title = ([step, value]: Point) => `${named ? `${line.name}, ` : ''}step ${step}: ${yText(value)}`
  const shape = (at: Point, i: number) =>
    mark(line.series, `s${i} f${i}`, x.at(at[0]), y.at(at[1]), title(at))
  const hits = evenly(finite, mostHits, 0).map(
    at =>
      `<circle class="hit" cx="${round(x.at(at[0]))}" cy="${round(y.at(at[1]))}" r="6"><title>${escapeMarkup(title(at))}</title></circle>`,
  )
  const marked = named || finite.length === 1 ? evenly(finite, mostMarks, (turn % 5) / 5) : []
  return [...marked.map(at => shape(at, seriesClass(line.series))), ...hits].join('')
}

/** About `count` of the items at even distances; `shift` of a distance later. */
function evenly<T>(items: readonly T[], count: number, shift: number): T[] {
  if (items.length <= count) return [...items]
  return Array.from(
    { length: count },
    (_, i) => items[Math.min(items.length - 1, Math.round(((i + shift) * items.length) / count))] as T,
  )
}

function endOf(line: Line, y: Scale): EndLabel {
  const last = line.points.findLast(([, value]) => Number.isFinite(value)) as Point
  const i = seriesClass(line.series)
  return {
    y: y.at(last[1]),
    text: line.name,
    sign: (at, middle) =>
      `<path class="line${line.dashed ? ' dash' : ''} s${i}" d="M${round(at - 7)} ${middle}h14"/>${mark(line.series, `s${i} f${i}`, at, middle)}`,
  }
}
