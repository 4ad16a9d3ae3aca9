// Small plots for the terminal: a line of bars, and curves over steps.

const BARS = { unicode: '▁▂▃▄▅▆▇█', ascii: '_.-=+*#@' } as const

export interface PlotOptions {
  unicode: boolean
  /** Columns (60). */
  width?: number
}

/**
 * One character per value, low to high, between the smallest and the largest value or the given bounds. More values
 * than columns are averaged. Values that are not finite are blanks.
 */
export function sparkline(
  values: readonly number[],
  options: PlotOptions & { min?: number; max?: number },
): string {
  const bars = options.unicode ? BARS.unicode : BARS.ascii
  const points = resample(values, Math.min(options.width ?? 60, values.length))
  const finite = points.filter(Number.isFinite)
  const low = options.min ?? Math.min(...finite)
  const high = options.max ?? Math.max(...finite)
  return points
    .map(value => {
      if (!Number.isFinite(value)) return ' '
      const share = high > low ? (value - low) / (high - low) : 0.5
      return bars[Math.max(0, Math.min(bars.length - 1, Math.floor(share * bars.length)))]
    })
    .join('')
}

export interface Curve {
  name: string
  /** One character that draws the curve. */
  mark: string
  /** Values at equal distances from the first step to the last. */
  values: readonly number[]
}

/**
 * Curves over steps as lines of text, with the scale on the left and the steps below; where curves meet, the later one
 * is seen. `min` and `max` bound the scale (by default the data do).
 */
export function plotCurves(
  curves: readonly Curve[],
  options: PlotOptions & { height?: number; min?: number; max?: number; firstStep: number; lastStep: number },
): string {
  const width = options.width ?? 60
  const height = options.height ?? 10
  const finite = curves.flatMap(curve => curve.values.filter(Number.isFinite))
  if (finite.length === 0) return ''
  const low = options.min ?? Math.min(...finite)
  const high = Math.max(options.max ?? Math.max(...finite), low + Number.EPSILON)
  const grid = Array.from({ length: height }, () => new Array<string>(width).fill(' '))
  for (const curve of curves) {
    for (const [column, value] of resample(curve.values, width).entries()) {
      if (!Number.isFinite(value)) continue
      const share = Math.max(0, Math.min(1, (value - low) / (high - low)))
      const row = grid[height - 1 - Math.round(share * (height - 1))] as string[]
      row[column] = curve.mark
    }
  }
  const labels = grid.map((_, row) => {
    const isLabelled = row === 0 || row === height - 1 || row === Math.floor((height - 1) / 2)
    return isLabelled ? (high - ((high - low) * row) / (height - 1)).toFixed(2) : ''
  })
  const labelWidth = Math.max(...labels.map(label => label.length))
  const bar = options.unicode ? '┤' : '|'
  const lines = grid.map((row, r) =>
    `${(labels[r] as string).padStart(labelWidth)} ${bar}${row.join('')}`.trimEnd(),
  )
  const first = String(options.firstStep)
  const last = String(options.lastStep)
  const indent = ' '.repeat(labelWidth + 2)
  lines.push(`${indent}${first}${last.padStart(width - first.length)}`)
  if (curves.length > 1)
    lines.push(`${indent}${curves.map(curve => `${curve.mark} ${curve.name}`).join('   ')}`)
  return lines.join('\n')
}

/** Values at `count` equal distances: means of the values that fall together, the nearest one where there are fewer. */
function resample(values: readonly number[], count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const start = Math.floor((i * values.length) / count)
    const end = Math.max(start + 1, Math.floor(((i + 1) * values.length) / count))
    const finite = values.slice(start, end).filter(Number.isFinite)
    return finite.length === 0 ? Number.NaN : finite.reduce((sum, value) => sum + value, 0) / finite.length
  })
}
