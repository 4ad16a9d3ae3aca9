// A figure of the page: a heading, what it shows in words, and one picture or several small ones.
import type { Chart } from '../chart.js'
import type { Line } from '../line-chart.js'
import { curveOf, hasMetric, type Method } from '../model.js'

export interface Panel {
  /** Of its file: `reward`, `groups-luffy`. */
  id: string
  title: string
  chart: Chart
}

export interface Figure {
  id: string
  title: string
  /** One or two sentences below the heading. */
  note: string
  panels: readonly Panel[]
}

/** One line a method. */
export function methodLines(methods: readonly Method[], metric: string): Line[] {
  return methods.map(method => ({ name: method.name, series: method.series, ...curveOf(method, metric) }))
}

/** A part of a file's name: letters, digits, dots and dashes of a foreign text. */
export function fileWord(text: string): string {
  return (
    text
      .replace(/[^A-Za-z0-9.-]+/g, '-')
      .replace(/^[.-]+|-+$/g, '')
      .slice(0, 60) || 'x'
  )
}

/** What a line or a band is, and which methods have none, for the notes. */
export function seedNote(methods: readonly Method[], metric: string): string {
  const seeds = methods.some(method => method.runs.length > 1)
  const without = methods.filter(method => !hasMetric([method], metric)).map(method => method.name)
  const missing = without.length > 0 && without.length < methods.length
  return [
    seeds ? ' Line: mean over seeds; band: least to greatest seed.' : '',
    missing ? ` Not recorded: ${without.join(', ')}.` : '',
  ].join('')
}
