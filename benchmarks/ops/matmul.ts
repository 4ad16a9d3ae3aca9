// matmul against oneDNN: the shapes of training and decoding, each side transposed or not.
import { matmul } from '../../lib/ops/matmul.js'
import { type Bench, type BenchCase, callsFor, inTurns, type Row, rowOf, timeOps } from '../bench.js'
import type { ProductShape } from '../peer.js'
import { flopsOf, nameOf, operandsOf } from '../roofs.js'
import { mean, quantile } from '../statistics.js'

const sizes = [
  [4096, 384, 1024],
  [4096, 384, 384],
  [384, 4096, 1024],
  [64, 384, 1024],
  [16, 384, 1024],
] as const

const transposes = [
  { transposeA: false, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: false },
  { transposeA: true, transposeB: true },
]

const target = { floor: 0.8, aim: 1 }
const secondsPerSample = 0.05

export const productCases: readonly BenchCase[] = sizes.map(([m, n, k]) => ({
  name: `matmul ${m}x${n}x${k}`,
  run: async bench => {
    const rows: Row[] = []
    for (const transpose of transposes) rows.push(await product(bench, { m, n, k, ...transpose }))
    return rows
  },
}))

async function product(bench: Bench, shape: ProductShape): Promise<Row> {
  const { device, peer } = bench
  const { a, b } = operandsOf(device, shape)
  const run = () => matmul(a, b, shape)
  const calls = await callsFor(device, secondsPerSample, run)
  const paired = await inTurns(
    bench,
    () => timeOps(device, calls, run),
    async () => (peer?.onednn ? flopsOf(shape) / mean(await peer.product(shape, calls)) : Number.NaN),
  )
  a.dispose()
  b.dispose()
  return rowOf('product', `matmul ${nameOf(shape)}`, paired, flopsOf(shape), 'GFLOP/s', 'oneDNN', target)
}

/** The lowest ratio of all products: what the target speaks of. */
export function lowestProduct(rows: readonly Row[]): Row[] {
  const results = rows.flatMap(({ group, result }) => (group === 'product' && result ? [result] : []))
  if (results.length < 2) return []
  const value = quantile(
    results.map(result => result.value),
    0,
  )
  const best = quantile(
    results.map(result => result.best ?? result.value),
    0,
  )
  return [
    {
      group: 'product',
      name: `lowest of ${results.length} products`,
      result: { value, best, unit: 'share' },
      target,
    },
  ]
}
