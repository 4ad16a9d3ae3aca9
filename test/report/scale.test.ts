// Axes, numbers and points of the pictures.
import test from 'ava'
import { fewerPoints, meanCurve, type Point, standardError } from '../../lib/report/html/curves.js'
import { linearScale, percentTick, shortNumber } from '../../lib/report/html/scale.js'

test('ticks are round and cover the data', t => {
  t.deepEqual(linearScale([0, 1], [0, 100]).ticks, [0, 0.5, 1])
  t.deepEqual(linearScale([0.02, 0.31], [0, 100]).ticks, [0, 0.1, 0.2, 0.3, 0.4])
  t.deepEqual(linearScale([-3, 8], [0, 1]).ticks, [-5, 0, 5, 10])
  t.deepEqual(linearScale([1, 99], [0, 1], { tight: true, count: 5 }).ticks, [20, 40, 60, 80])
  t.deepEqual(linearScale([1, 3], [0, 1], { tight: true, whole: true }).ticks, [1, 2, 3])
  for (const [low, high] of [
    [5, 5],
    [0, 0],
    [Number.NaN, 1],
    [1e-30, 2e-30],
    [-1e300, 1e300],
    [-1.7e308, 1.7e308],
  ] as const) {
    const scale = linearScale([low, high], [0, 100])
    t.true(scale.ticks.length >= 2 && scale.ticks.length <= 12, `${low} ${high}: ${scale.ticks}`)
    t.true(Number.isFinite(scale.at(scale.min)) && scale.max > scale.min)
  }
  const scale = linearScale([0, 1], [190, 12])
  t.deepEqual([scale.at(0), scale.at(1), scale.at(0.5)], [190, 12, 101])
})

test('numbers are short', t => {
  t.deepEqual(
    [0, 0.25, 1500, 12_000, 3.4e6, -2e9, 1e-7, 1e20, Number.NaN].map(value => shortNumber(value)),
    ['0', '0.25', '1500', '12k', '3.4M', '-2G', '1.0e-7', '1.0e20', '-'],
  )
  t.deepEqual([0, 0.5, 1, 0.004].map(percentTick), ['0%', '50%', '100%', '0.4%'])
})

test('fewer points keep the extremes, the ends and the gaps', t => {
  const points = Array.from(
    { length: 10_000 },
    (_, x): Point => [x, x >= 5000 && x < 6000 ? Number.NaN : Math.sin(x)],
  )
  points[1234] = [1234, 9]
  points[8765] = [8765, -9]
  const fewer = fewerPoints(points, 400)
  t.true(fewer.length <= 402)
  t.deepEqual([fewer[0], fewer.at(-1)], [points[0], points.at(-1)])
  for (const extreme of [1234, 8765]) t.true(fewer.some(([x]) => x === extreme))
  t.true(fewer.some(([x, y]) => x >= 5000 && x < 6000 && Number.isNaN(y)))
  t.deepEqual(
    fewer.map(([x]) => x),
    [...fewer.map(([x]) => x)].sort((a, b) => a - b),
  )
})

test('the mean and the range over runs at each step; the standard error', t => {
  const curve = meanCurve([
    [
      [1, 1],
      [2, Number.NaN],
      [3, 4],
    ],
    [
      [1, 3],
      [2, 5],
    ],
  ])
  t.deepEqual(curve.points, [
    [1, 2],
    [2, 5],
    [3, 4],
  ])
  t.deepEqual(curve.band, [
    [1, 1, 3],
    [2, 5, 5],
    [3, 4, 4],
  ])
  t.is(standardError([1]), undefined)
  t.is(standardError([1, 3]), 1) // deviation sqrt(2), over sqrt(2)
})
