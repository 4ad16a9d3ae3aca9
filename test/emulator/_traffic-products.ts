// Kernel traffic of matrix products and of what is built on them.

import { normal } from '../_cases/case.js'
import * as linear from '../_cases/linear.js'
import { linearLogProbCase, linearLossCase } from '../_cases/linear-policy-loss.js'
import { type MatmulSizes, matmulCase } from '../_cases/matmul.js'
import type { Bound, TrafficCase } from './_traffic.js'
import { logitsLoss, logProbs, metricSums } from './_traffic-losses.js'
import { inBoth, type Width } from './_traffic-rows.js'

type Tile = readonly [rows: number, columns: number]

interface ProductSizes {
  m: number
  n: number
  k: number
  /** Of out that one block of threads makes. */
  tile: Tile
  /** Bytes of an element of the factors, and of out. */
  bytes: Width
  out?: Width
  /** Out is read and added to. */
  accumulate?: boolean
  /** Blocks of k that are made side by side, each with sums of its own. */
  splits?: number
}

/** Every tile of out brings its rows of A and columns of B to shared memory once. */
function product(sizes: ProductSizes): Bound {
  const { m, n, k, tile, bytes, out = bytes, accumulate = false, splits } = sizes
  const [down, across] = [Math.ceil(m / tile[0]), Math.ceil(n / tile[1])]
  return {
    reads: bytes * (m * k + k * n) + (accumulate ? out * m * n : 0),
    writes: (splits === undefined ? out : 4 * splits) * m * n,
    flops: 2 * m * n * k,
    again: {
      reads: bytes * (m * k * (across - 1) + k * n * (down - 1)),
      why: 'A with every column of tiles, B with every row of them, from the cache',
    },
  }
}

/** The sums of blocks of k, added up. */
const combined = (m: number, n: number, splits: number, out: Width): Bound => ({
  reads: 4 * splits * m * n,
  writes: out * m * n,
  flops: splits * m * n,
})

const together = (...bounds: readonly Bound[]): Bound =>
  bounds.reduce((a, b) => ({
    reads: a.reads + b.reads,
    writes: a.writes + b.writes,
    flops: a.flops + b.flops,
    again: {
      reads: (a.again?.reads ?? 0) + (b.again?.reads ?? 0),
      why: a.again?.why ?? b.again?.why ?? '',
    },
  }))

/** Names of the kernels by the bytes of the factors. */
const names = (bytes: Width) =>
  bytes === 4
    ? (['matmul_kernel', 'matmul_combine_kernel'] as const)
    : (['matmul_bf16_kernel', 'matmul_bf16_sum_kernel'] as const)

const matmul = (sizes: MatmulSizes, tile: Tile, splits?: number) =>
  inBoth('matmul', matmulCase(sizes), ['a', 'b', 'out'], bytes => {
    const { m, n, k, accumulate } = sizes
    const [kernel, combine] = names(bytes)
    return {
      [kernel]: product({ m, n, k, tile, bytes, accumulate, splits }),
      ...(splits === undefined ? {} : { [combine]: combined(m, n, splits, bytes) }),
    }
  })

const large: Tile = [128, 128]
const middle: Tile = [64, 64]

const linearForward = (size: number) =>
  inBoth(
    'linear',
    linear.forwardCase({ t: size, n: size, k: size, bias: true, residual: true }),
    ['x', 'weight', 'bias', 'residual', 'out'],
    (bytes): Record<string, Bound> => {
      const elements = size * size
      const plain = product({ m: size, n: size, k: size, tile: large, bytes })
      // In bfloat16 the residual is added where the sums are; in float32 by a kernel of its own. A warp has 4 rows, or 64.
      const bias = bytes === 4 ? elements : (bytes * elements) / 64
      const biased: Bound = {
        ...plain,
        reads: plain.reads + bytes * size + (bytes === 2 ? bytes * elements : 0),
        again: {
          reads: (plain.again?.reads ?? 0) + bias - bytes * size,
          why: `${plain.again?.why}; the bias with every warp's rows`,
        },
      }
      return bytes === 2
        ? {
            matmul_bf16_kernel: {
              ...biased,
              sectors: { loads: 0.98, why: 'a lane reads the bias of its columns' },
            },
          }
        : {
            matmul_kernel: biased,
            add_rows_kernel: { reads: 8 * elements, writes: 4 * elements, flops: elements },
          }
    },
  )
const linearInput = (size: number) =>
  inBoth(
    'linear',
    linear.backwardInputCase({ t: size, n: size, k: size }),
    ['gradOut', 'weight', 'gradX'],
    bytes => ({ [names(bytes)[0]]: product({ m: size, n: size, k: size, tile: large, bytes }) }),
  )
/** Gradients of weights are float32, whatever the activations. */
const linearWeight = (size: number) =>
  inBoth(
    'linear',
    linear.backwardWeightCase({ t: size, n: size, k: size, bias: true }),
    ['gradOut', 'x'],
    bytes => {
      const chunks = Math.ceil(size / 256)
      return {
        [names(bytes)[0]]: product({
          m: size,
          n: size,
          k: size,
          tile: large,
          bytes,
          out: 4,
          accumulate: true,
        }),
        column_sums_kernel: { reads: bytes * size * size, writes: 4 * chunks * size, flops: size * size },
        add_column_sums_kernel: { reads: 4 * (chunks + 1) * size, writes: 4 * size, flops: chunks * size },
      }
    },
  )

/** linear, then swiglu: in bfloat16 the product writes the activation alone. `tile`, `splits`: as of the product. */
const linearSwiglu = (t: number, f: number, k: number, tile: Tile, splits?: number) =>
  inBoth('linear', linear.swigluCase({ t, f, k }), ['x', 'weight', 'out'], (bytes): Record<string, Bound> => {
    const plain = product({ m: t, n: 2 * f, k, tile, bytes, splits })
    const activation = bytes * t * f
    if (bytes === 2) {
      if (splits === undefined) return { matmul_bf16_kernel: { ...plain, writes: activation } }
      return {
        matmul_bf16_kernel: plain,
        matmul_bf16_gated_sum_kernel: { ...combined(t, 2 * f, splits, bytes), writes: activation },
      }
    }
    return {
      matmul_kernel: plain,
      ...(splits === undefined ? {} : { matmul_combine_kernel: combined(t, 2 * f, splits, bytes) }),
      swiglu_forward_kernel: { reads: 2 * activation, writes: activation, flops: 5 * t * f },
    }
  })

const pack = (n: number, k: number): TrafficCase => {
  const packed = Math.ceil(k / 4) * 4
  return {
    stem: 'linear',
    op: {
      name: `pack ${n}x${k}`,
      flops: 0,
      bytes: 4 * n * (k + packed),
      make: random => ({ weight: normal(random, [n, k]) }),
      outputs: { packed: { shape: [n * packed] } },
      enqueue: ({ ops, handle }, { weight, packed }) =>
        ops.linearPack(handle, weight!.handle, packed!.handle),
    },
    kernels: {
      linear_pack_kernel: {
        reads: 4 * n * k,
        writes: 4 * n * packed,
        flops: 0,
        sectors: { loads: 0.75, why: 'rows begin within sectors: that is what packing ends' },
      },
    },
  }
}

/** Logits of all rows fit into one chunk; tiles of 64 x 64. Two of the products walk over the vocabulary. */
const linearLoss = (rows: number, c: number, v: number, splits: number) =>
  inBoth('linear-policy-loss', linearLossCase({ rows, c, v }), ['hidden', 'weight', 'gradHidden'], bytes => {
    const [kernel, combine] = names(bytes)
    return {
      [kernel]: together(
        product({ m: rows, n: v, k: c, tile: middle, bytes }),
        product({ m: rows, n: c, k: v, tile: middle, bytes, splits }),
        product({ m: v, n: c, k: rows, tile: middle, bytes, out: 4, accumulate: true }),
      ),
      [combine]: combined(rows, c, splits, bytes),
      logits_policy_loss_staged_kernel: logitsLoss(rows, v, bytes),
      policy_metrics_kernel: metricSums(rows),
    }
  })
const linearLogProb = (rows: number, c: number, v: number) =>
  inBoth('linear-policy-loss', linearLogProbCase({ rows, c, v }), ['hidden', 'weight'], bytes => ({
    [names(bytes)[0]]: product({ m: rows, n: v, k: c, tile: middle, bytes }),
    token_log_prob_forward_kernel: logProbs(rows, v, bytes),
  }))

export const productCases: readonly TrafficCase[] = [
  ...matmul({ m: 256, n: 256, k: 256 }, large),
  ...matmul({ m: 256, n: 256, k: 256, transposeB: true }, large),
  ...matmul({ m: 256, n: 256, k: 256, transposeA: true, accumulate: true }, large),
  ...matmul({ m: 16, n: 256, k: 256, transposeB: true }, [16, 64]),
  ...matmul({ m: 64, n: 256, k: 256, transposeB: true }, middle),
  // Too few tiles for the device: blocks of k side by side.
  ...matmul({ m: 64, n: 64, k: 2048, transposeB: true }, middle, 4),
  ...linearForward(256),
  ...linearInput(256),
  ...linearWeight(256),
  ...linearSwiglu(256, 128, 256, large),
  ...linearSwiglu(64, 32, 2048, middle, 4),
  pack(64, 253),
  ...linearLoss(64, 64, 2048, 4),
  ...linearLogProb(64, 64, 2048),
]
