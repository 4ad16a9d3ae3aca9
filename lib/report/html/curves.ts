// Values over steps: means and ranges over runs, and fewer points that keep the extremes.

/** A value at a step; NaN is a gap. */
export type Point = readonly [x: number, y: number]

export interface Curve {
  points: readonly Point[]
  /** Least and greatest run at each step, where there are several. */
  band?: readonly (readonly [x: number, low: number, high: number])[] | undefined
}

/** The mean over runs at each step that any of them has, and the range over the runs. */
export function meanCurve(runs: readonly (readonly Point[])[]): Curve {
  const filled = runs.filter(points => points.length > 0)
  if (filled.length === 0) return { points: [] }
  if (filled.length === 1) return { points: filled[0] as readonly Point[] }
  const byStep = new Map<number, number[]>()
  for (const [x, y] of filled.flat()) {
    const values = byStep.get(x)
    if (values) values.push(y)
    else byStep.set(x, [y])
  }
  const steps = [...byStep.entries()].sort((a, b) => a[0] - b[0])
  const finite = steps.map(([x, values]) => [x, values.filter(Number.isFinite)] as const)
  return {
    points: finite.map(([x, values]) => [x, mean(values)]),
    band: finite.map(([x, values]) => [x, Math.min(...values), Math.max(...values)]),
  }
}

export function mean(values: readonly number[]): number {
  return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Standard error of the mean; undefined for fewer than two values. */
export function standardError(values: readonly number[]): number | undefined {
  if (values.length < 2) return undefined
  const center = mean(values)
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0)
  return Math.sqrt(squares / (values.length - 1) / values.length)
}

/** At most about `most` points: of each bucket the smallest and the largest value, in their order, and gaps. */
export function fewerPoints(points: readonly Point[], most = 400): readonly Point[] {
  if (points.length <= most) return points
  const kept = new Set<Point>([points[0] as Point, points[points.length - 1] as Point])
  for (const bucket of buckets(points, Math.floor(most / 2))) {
    let low: Point | undefined
    let high: Point | undefined
    for (const point of bucket) {
      if (!Number.isFinite(point[1])) continue
      if (low === undefined || point[1] < low[1]) low = point
      if (high === undefined || point[1] > high[1]) high = point
    }
    // A bucket of gaps is a gap.
    if (low === undefined || high === undefined) kept.add(bucket[0] as Point)
    else kept.add(low).add(high)
  }
  return [...kept].sort((a, b) => a[0] - b[0])
}

/** The same for a band: the least and the greatest of each bucket. */
export function fewerBands(band: NonNullable<Curve['band']>, most = 200): NonNullable<Curve['band']> {
  if (band.length <= most) return band
  return buckets(band, most).map(bucket => {
    const finite = bucket.filter(([, low]) => Number.isFinite(low))
    const x = bucket[Math.floor(bucket.length / 2)]?.[0] as number
    return [x, Math.min(...finite.map(each => each[1])), Math.max(...finite.map(each => each[2]))] as const
  })
}

/** Means of `most` buckets, for areas, whose extremes are not looked for. */
export function averaged(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points
  return buckets(points, most).map(bucket => [
    bucket[Math.floor(bucket.length / 2)]?.[0] as number,
    mean(bucket.map(([, y]) => y).filter(Number.isFinite)),
  ])
}

function buckets<T>(items: readonly T[], count: number): T[][] {
  return Array.from({ length: count }, (_, i) =>
    items.slice(Math.floor((i * items.length) / count), Math.floor(((i + 1) * items.length) / count)),
  ).filter(bucket => bucket.length > 0)
}
