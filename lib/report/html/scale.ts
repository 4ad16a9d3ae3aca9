// Axes: round ticks, positions, and numbers as people write them.

export interface Scale {
  min: number
  max: number
  ticks: readonly number[]
  at(value: number): number
}

/** A linear scale whose ticks are 1, 2 or 5 times a power of ten. `tight`: ends at the data, not at ticks. */
export function linearScale(
  data: readonly [number, number],
  pixels: readonly [number, number],
  options: { count?: number; tight?: boolean; whole?: boolean } = {},
): Scale {
  let [low, high] = data
  // Also where the distance of the two is beyond a double.
  if (!Number.isFinite(high - low)) [low, high] = [0, 1]
  if (high - low <= Math.abs(high) * 1e-12) {
    // A constant: room on both sides of it.
    const room = Math.abs(high) * 0.1 || 0.5
    low -= room
    high += room
  }
  const step = tickStep(high - low, options.count ?? 4, options.whole ?? false)
  const first = options.tight ? Math.ceil(low / step - 1e-9) : Math.floor(low / step + 1e-9)
  const last = options.tight ? Math.floor(high / step + 1e-9) : Math.ceil(high / step - 1e-9)
  const ticks = Array.from({ length: Math.max(0, last - first) + 1 }, (_, i) =>
    rounded((first + i) * step, step),
  )
  const min = options.tight ? low : (ticks[0] as number)
  const max = options.tight ? high : (ticks[ticks.length - 1] as number)
  const [from, to] = pixels
  return { min, max, ticks, at: value => from + ((value - min) / (max - min)) * (to - from) }
}

function tickStep(range: number, count: number, whole: boolean): number {
  const rough = range / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(factor => factor * power).find(each => each >= rough * 0.999) as number
  return whole ? Math.max(1, Math.round(step)) : step
}

/** Removes what floating point adds: 0.30000000000000004 of a step of 0.1, 1e-17 in place of 0. */
function rounded(value: number, step: number): number {
  return Math.abs(value) < step / 2 ? 0 : Number(value.toPrecision(12))
}

const UNITS = [
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
] as const

/** `0.25`, `1.5k`, `3M`; exponents where neither helps. */
export function shortNumber(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return '-'
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 1e15 || size < 1e-4) return value.toExponential(1).replace('e+', 'e')
  const unit = UNITS.find(([from]) => size >= from && (from > 1e3 || size >= 1e4))
  if (unit) return `${trimmed(value / unit[0], digits)}${unit[1]}`
  return trimmed(value, size >= 1000 ? 4 : digits)
}

function trimmed(value: number, digits: number): string {
  return String(Number(value.toPrecision(digits)))
}

/** `97.5 %`. */
export function percent(share: number): string {
  return Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : '-'
}

/** `25%`: short, for axes. */
export function percentTick(share: number): string {
  return `${Number((100 * share).toPrecision(3))}%`
}
