// One bar a method, cut into parts, with a legend below.
import { type Chart, chartWidth, emptyChart, round, shortened, textWidth } from './chart.js'
import { escapeMarkup } from './markup.js'
import { seriesClass } from './palette.js'
import { linearScale, shortNumber } from './scale.js'

export interface StackedBar {
  name: string
  /** By part; parts that are not there are 0. */
  values: readonly number[]
}

const rowHeight = 30

export function stackedBars(
  bars: readonly StackedBar[],
  parts: readonly string[],
  unit: string,
  description: string,
): Chart {
  const drawn = bars.filter(({ values }) => values.some(value => value > 0))
  if (drawn.length === 0) return emptyChart('nothing recorded')
  const left = 14 + Math.max(...drawn.map(bar => textWidth(shortened(bar.name))))
  const totals = drawn.map(({ values }) => values.reduce((sum, value) => sum + value, 0))
  const bottom = 4 + drawn.length * rowHeight
  const x = linearScale([0, Math.max(...totals)], [left, chartWidth - 26])
  const grid = x.ticks.map(tick => {
    const at = round(x.at(tick))
    return `<line class="grid" x1="${at}" x2="${at}" y1="4" y2="${bottom}"/><text x="${at}" y="${bottom + 15}" text-anchor="middle">${escapeMarkup(shortNumber(tick))}</text>`
  })
  const used = parts.map((_, k) => drawn.some(({ values }) => (values[k] ?? 0) > 0))
  return {
    width: chartWidth,
    height: bottom + 34 + legendHeight(parts.filter((_, k) => used[k])),
    description,
    body: [
      ...grid,
      `<text x="${(left + chartWidth - 26) / 2}" y="${bottom + 31}" text-anchor="middle">${escapeMarkup(unit)}</text>`,
      ...drawn.map((bar, i) => row(bar, parts, 4 + i * rowHeight, x.at, unit)),
      legend(parts, used, bottom + 48),
    ].join(''),
  }
}

function row(
  bar: StackedBar,
  parts: readonly string[],
  top: number,
  at: (value: number) => number,
  unit: string,
): string {
  let sum = 0
  const pieces = bar.values.map((value, k) => {
    if (!(value > 0)) return ''
    const from = round(at(sum))
    sum += value
    const width = round(at(sum) - from)
    const title = `${bar.name}, ${parts[k]}: ${shortNumber(value)} ${unit}`
    return `<rect class="cut f${seriesClass(k)}" x="${from}" y="${top + 4}" width="${width}" height="${rowHeight - 8}"><title>${escapeMarkup(title)}</title></rect>`
  })
  return `<text class="name" x="4" y="${top + rowHeight / 2 + 4}">${escapeMarkup(shortened(bar.name))}</text>${pieces.join('')}`
}

const lineHeight = 18

function legendHeight(names: readonly string[]): number {
  return (Math.max(...places(names).map(place => place.row)) + 1) * lineHeight
}

function legend(parts: readonly string[], used: readonly boolean[], top: number): string {
  const shown = parts.flatMap((name, k) => (used[k] ? [{ name, k }] : []))
  return places(shown.map(({ name }) => name))
    .map(({ x, row }, i) => {
      const { name, k } = shown[i] as { name: string; k: number }
      const y = top + row * lineHeight
      return `<rect class="f${seriesClass(k)}" x="${x}" y="${y - 9}" width="10" height="10"/><text class="name" x="${x + 15}" y="${y}">${escapeMarkup(name)}</text>`
    })
    .join('')
}

/** Names one after the other, in rows. */
function places(names: readonly string[]): { x: number; row: number }[] {
  let x = 4
  let row = 0
  return names.map(name => {
    const width = 28 + textWidth(name)
    if (x + width > chartWidth && x > 4) {
      x = 4
      row += 1
    }
    x += width
    return { x: x - width, row }
  })
}
