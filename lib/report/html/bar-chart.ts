// One bar a method, with its standard error and where it began.
import { type Chart, chartWidth, emptyChart, mark, round, shortened, textWidth } from './chart.js'
import { escapeMarkup } from './markup.js'
import { seriesClass } from './palette.js'
import { linearScale } from './scale.js'

export interface Bar {
  name: string
  series: number
  value: number
  /** Half of the whisker. */
  error?: number | undefined
  /** A tick on the bar: the value before training. */
  before?: number | undefined
}

const rowHeight = 24

/** Bars from 0 to 1, as percentages. */
export function barChart(bars: readonly Bar[], description: string): Chart {
  const drawn = bars.filter(bar => Number.isFinite(bar.value))
  if (drawn.length === 0) return emptyChart('nothing recorded')
  const left = 26 + Math.max(...drawn.map(bar => textWidth(shortened(bar.name))))
  const right = chartWidth - 92
  const bottom = 6 + drawn.length * rowHeight
  const x = linearScale([0, 1], [left, right])
  const grid = x.ticks.map((tick, i) => {
    const at = round(x.at(tick))
    const unit = i === x.ticks.length - 1 ? ' %' : ''
    return `<line class="grid" x1="${at}" x2="${at}" y1="4" y2="${bottom}"/><text x="${at}" y="${bottom + 15}" text-anchor="middle">${Math.round(100 * tick)}${unit}</text>`
  })
  return {
    width: chartWidth,
    height: bottom + 22,
    description,
    body: [...grid, ...drawn.map((bar, i) => row(bar, 6 + i * rowHeight, x.at, left))].join(''),
  }
}

function row(bar: Bar, top: number, at: (value: number) => number, left: number): string {
  const { name, value, error, before } = bar
  const i = seriesClass(bar.series)
  const middle = top + rowHeight / 2
  const text = `${(100 * value).toFixed(1)}${error === undefined ? '' : ` ± ${(100 * error).toFixed(1)}`}`
  const title = `${name}: ${text} %${before === undefined ? '' : `, before training ${(100 * before).toFixed(1)} %`}`
  const parts = [
    mark(bar.series, `s${i} f${i}`, 10, middle),
    `<text class="name" x="20" y="${middle + 4}">${escapeMarkup(shortened(name))}</text>`,
    `<rect class="f${i}" x="${left}" y="${top + 5}" width="${round(Math.max(0.8, at(value) - left))}" height="${rowHeight - 10}"><title>${escapeMarkup(title)}</title></rect>`,
  ]
  if (before !== undefined && Number.isFinite(before)) {
    parts.push(
      `<path class="whisker" stroke-dasharray="2 2" d="M${round(at(before))} ${top + 2}v${rowHeight - 4}"/>`,
    )
  }
  if (error !== undefined && error > 0) {
    const [from, to] = [round(at(Math.max(0, value - error))), round(at(Math.min(1, value + error)))]
    parts.push(
      `<path class="whisker" d="M${from} ${middle}H${to}M${from} ${middle - 4}v8M${to} ${middle - 4}v8"/>`,
    )
  }
  parts.push(`<text class="name" x="${chartWidth - 4}" y="${middle + 4}" text-anchor="end">${text}</text>`)
  return parts.join('')
}
