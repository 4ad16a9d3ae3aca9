// What all pictures share: their size, axes, labels and marks, as SVG text. Everything foreign goes through escapeMarkup.
import { escapeMarkup } from './markup.js'
import { chartCss, paletteCss } from './palette.js'
import { type Scale, shortNumber } from './scale.js'

export interface Chart {
  width: number
  height: number
  /** Elements of the picture. */
  body: string
  /** For readers who do not see it. */
  description: string
}

export const chartWidth = 400

/** Where data are drawn, in the coordinates of the picture. */
export interface Plot {
  left: number
  right: number
  top: number
  bottom: number
}

/** A picture as part of a page, whose style it takes. */
export function inlineSvg(chart: Chart): string {
  const { width, height, body, description } = chart
  return `<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeMarkup(description)}">${body}</svg>`
}

const titleHeight = 28

/** A picture as a file of its own: with its title, background and colours. */
export function standaloneSvg(chart: Chart, title: string): string {
  const { width, height, body, description } = chart
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="${width}" height="${height + titleHeight}" viewBox="0 ${-titleHeight} ${width} ${height + titleHeight}" role="img" aria-label="${escapeMarkup(description)}">`,
    `<style>${paletteCss('svg')}${chartCss}</style>`,
    `<rect class="back" x="0" y="${-titleHeight}" width="${width}" height="${height + titleHeight}"/>`,
    `<text class="title" x="8" y="-8">${escapeMarkup(shortened(title, 52))}</text>`,
    body,
    '</svg>\n',
  ].join('')
}

/** Grid lines and numbers of both axes; x is the step. */
export function axes(x: Scale, y: Scale, plot: Plot, yText: (value: number) => string = shortNumber): string {
  const { left, right, top, bottom } = plot
  const parts: string[] = []
  for (const tick of y.ticks) {
    const at = round(y.at(tick))
    parts.push(`<line class="grid" x1="${left}" x2="${right}" y1="${at}" y2="${at}"/>`)
    parts.push(`<text x="${left - 8}" y="${at + 4}" text-anchor="end">${escapeMarkup(yText(tick))}</text>`)
  }
  for (const tick of x.ticks) {
    const at = round(x.at(tick))
    parts.push(`<line class="axis" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 4}"/>`)
    parts.push(
      `<text x="${at}" y="${bottom + 17}" text-anchor="middle">${escapeMarkup(shortNumber(tick))}</text>`,
    )
  }
  parts.push(`<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`)
  parts.push(`<text x="${(left + right) / 2}" y="${bottom + 33}" text-anchor="middle">step</text>`)
  if (top < bottom && y.min < 0 && y.max > 0) {
    parts.push(
      `<line class="axis" x1="${left}" x2="${right}" y1="${round(y.at(0))}" y2="${round(y.at(0))}"/>`,
    )
  }
  return parts.join('')
}

/** A name at the right of a plot, with the sign that its line carries. */
export interface EndLabel {
  y: number
  text: string
  sign: (x: number, y: number) => string
}

const labelGap = 15

/** Names beside the ends of lines, moved apart so that none covers another; none where they do not all fit. */
export function endLabels(labels: readonly EndLabel[], x: number, plot: Plot): string {
  const room = plot.bottom - plot.top
  if (labels.length * labelGap > room + labelGap) return ''
  const sorted = [...labels].sort((a, b) => a.y - b.y)
  const places = sorted.map(label => Math.max(plot.top, Math.min(plot.bottom, label.y)))
  for (let i = 1; i < places.length; i++) {
    places[i] = Math.max(places[i] as number, (places[i - 1] as number) + labelGap)
  }
  for (let i = places.length - 1; i >= 0; i--) {
    const most = plot.bottom - (places.length - 1 - i) * labelGap
    places[i] = Math.min(places[i] as number, most)
  }
  return sorted
    .map((label, i) => {
      const y = round(places[i] as number)
      const title = shortened(label.text) === label.text ? '' : `<title>${escapeMarkup(label.text)}</title>`
      return `${label.sign(x + 8, y)}<text class="name" x="${x + 18}" y="${y + 4}">${title}${escapeMarkup(shortened(label.text))}</text>`
    })
    .join('')
}

const mostLabel = 17

/** Room at the right for names, in units of the picture. */
export function labelRoom(texts: readonly string[]): number {
  return texts.length === 0 ? 12 : 20 + Math.max(...texts.map(text => textWidth(shortened(text))))
}

export function shortened(text: string, most = mostLabel): string {
  const characters = [...text]
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join('')}…`
}

/** About how wide a text of 12 px is. */
export function textWidth(text: string): number {
  return [...text].reduce(
    (sum, c) => sum + ((c.codePointAt(0) as number) > 0x2e7f ? 12.5 : /[mwMW%@]/.test(c) ? 10.5 : 7),
    0,
  )
}

/** The sign of the i-th method: shape beside colour. */
export function mark(i: number, className: string, x: number, y: number, title = ''): string {
  const path = MARKS[i % MARKS.length] as string
  const open = path.includes('z') ? '' : ' fill="none"'
  const inner = title === '' ? '' : `<title>${escapeMarkup(title)}</title>`
  return `<path class="mark ${className}"${open} transform="translate(${round(x)} ${round(y)})" d="${path}">${inner}</path>`
}

// Circle, square, triangle, diamond, cross, plus, triangle down, bar.
const MARKS = [
  'M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z',
  'M-3.2 -3.2h6.4v6.4h-6.4z',
  'M0 -4.2L4 3.2H-4z',
  'M0 -4.5L4 0L0 4.5L-4 0z',
  'M-3.5 -3.5L3.5 3.5M-3.5 3.5L3.5 -3.5',
  'M0 -4.5V4.5M-4.5 0H4.5',
  'M0 4.2L4 -3.2H-4z',
  'M-4.5 -1.5h9v3h-9z',
]

export function round(value: number): number {
  return Math.round(value * 10) / 10
}

/** In place of a picture without data. */
export function emptyChart(text: string): Chart {
  return {
    width: chartWidth,
    height: 80,
    body: `<text x="${chartWidth / 2}" y="44" text-anchor="middle">${escapeMarkup(text)}</text>`,
    description: text,
  }
}
