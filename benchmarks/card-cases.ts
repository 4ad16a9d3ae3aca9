// Writes what luffy_kernel_bench times on a card: `node dist/benchmarks/card-cases.js FOLDER [STEM...]`. The ops at sizes of
// practice, with what a card should reach, recorded for the CUDA backend (through the emulated device; nothing is run, and
// of a large tensor only a sample is made). card_peers.py times PyTorch on cases of the same names.
import { join } from 'node:path'
import { Device } from '../lib/tensor/device.js'
import { adamwCase } from '../test/_cases/adamw.js'
import { byRows, decodeCase } from '../test/_cases/attention-decode.js'
import { bfloat16Case } from '../test/_cases/bfloat16.js'
import { normal, sizeOf } from '../test/_cases/case.js'
import { castCase } from '../test/_cases/cast.js'
import * as embedding from '../test/_cases/embedding.js'
import { gradientNormCase } from '../test/_cases/gradient-norm.js'
import * as linear from '../test/_cases/linear.js'
import { linearLossCase } from '../test/_cases/linear-policy-loss.js'
import { logitsLossCase } from '../test/_cases/logits-policy-loss.js'
import * as rmsNorm from '../test/_cases/rms-norm.js'
import { ropeCase } from '../test/_cases/rope.js'
import { samplingCase } from '../test/_cases/sample-tokens.js'
import * as swiglu from '../test/_cases/swiglu.js'
import * as tokenLogProb from '../test/_cases/token-log-prob.js'
import { type CardCase, exportBenchmark, type Goal } from '../test/_helpers/case-export.js'
import { attention } from './ops/attention.js'
import { QuickRandom, type TimedOp } from './time-op.js'

/** A row of the largest vocabulary. */
class SampleRandom extends QuickRandom {
  readonly sample = 2 ** 18
}

const loss = { objective: { shaping: 1, logRatioClamp: 20 }, name: 'regularized', targets: { masked: false } }
const rows = { rows: 8192, c: 4096 }
const product = { t: 8192, n: 4096, k: 4096 }

/** The case in bfloat16, its bytes counted as the tensors' sizes change. */
function half(oneCase: TimedOp, names: readonly string[]): TimedOp {
  const inBfloat16 = bfloat16Case({ ...oneCase, reference: () => ({}) }, names)
  return { ...inBfloat16, bytes: (oneCase.bytes * bytesOf(inBfloat16)) / bytesOf(oneCase) }
}

/** Of every argument and result. */
function bytesOf(oneCase: TimedOp): number {
  const inputs = Object.values(oneCase.make(new SampleRandom(1, 'sizes')))
  const outputs = Object.values(oneCase.outputs).map(({ dtype = 'float32', shape }) => ({ dtype, shape }))
  return [...inputs, ...outputs].reduce(
    (sum, { dtype, shape }) => sum + sizeOf(shape) * (dtype === 'bfloat16' ? 2 : 4),
    0,
  )
}

const reaching =
  (of: Goal['of'], share: number) =>
  (oneCase: TimedOp): CardCase => ({ ...oneCase, goal: { of, share } })
/** Bound by memory: a share of what a copy reads and writes in a second. */
const asCopy = reaching('copy', 0.9)
const asPeer = reaching('peer', 0.9)

const stems: Readonly<Record<string, () => readonly CardCase[]>> = {
  'logits-policy-loss': () => {
    const size = { rows: 1024, v: 151_936, ...loss }
    // Each logit is read once and its gradient written once: 4 bytes in bfloat16.
    return [
      logitsLossCase(size),
      { ...half(logitsLossCase(size), ['logits']), bytes: 4 * size.rows * size.v },
    ].map(asCopy)
  },
  'linear-policy-loss': () => {
    const size = { rows: 8192, c: 4096, v: 131_072, ...loss }
    return [half(linearLossCase(size), ['hidden', 'weight', 'gradHidden'])].map(reaching('cublas', 0.88))
  },
  linear: () => [
    half(linear.forwardCase(product), ['x', 'weight', 'bias', 'out']),
    half(linear.backwardInputCase(product), ['gradOut', 'weight', 'gradX']),
    half(linear.backwardWeightCase(product), ['gradOut', 'x']),
    half(linear.forwardCase({ ...product, t: 16 }), ['x', 'weight', 'bias', 'out']),
    linear.forwardCase({ t: 4096, n: 1024, k: 1024 }),
  ],
  attention: () => {
    const size = { sequences: 8, length: 2048, heads: 32, kvHeads: 8, d: 128 }
    const names = ['q', 'k', 'v', 'gradOut', 'out', 'gradQ', 'gradK', 'gradV']
    return [
      ...[false, true].map(backward => asPeer(half(attention(size, backward), names))),
      attention(size, false),
    ]
  },
  'attention-decode': () => {
    const size = { h: 32, k: 8, d: 128, lengths: new Array<number>(64).fill(2048) }
    return [half(decodeCase(size, byRows), ['q', 'keyCache', 'valueCache', 'out'])]
  },
  'rms-norm': () =>
    [
      rmsNorm.forwardCase({ ...rows, residual: true }),
      half(rmsNorm.forwardCase({ ...rows, residual: true }), ['x', 'weight', 'residual', 'out', 'sum']),
      half(rmsNorm.backwardCase({ ...rows, gradSum: true }), ['gradOut', 's', 'weight', 'gradSum', 'gradX']),
    ].map(asCopy),
  swiglu: () => {
    const size = { rows: 8192, f: 8192 }
    return [
      swiglu.forwardCase(size),
      half(swiglu.forwardCase(size), ['gateUp', 'out']),
      half(swiglu.backwardCase(size), ['gradOut', 'gateUp', 'gradGateUp']),
    ].map(asCopy)
  },
  rope: () => [half(ropeCase({ rows: 8192, heads: 32, d: 128, positions: 4096 }), ['x'])].map(asCopy),
  embedding: () =>
    [half(embedding.forwardCase({ tokens: 8192, vocabulary: 32_768, c: 4096 }), ['table', 'out'])].map(
      asCopy,
    ),
  'token-log-prob': () =>
    [half(tokenLogProb.forwardCase({ rows: 1024, v: 151_936 }), ['logits'])].map(asCopy),
  adamw: () => [adamwCase(64_000_000)].map(asCopy),
  'gradient-norm': () => [gradientNormCase(64_000_000, 1)],
  cast: () => {
    const oneCase = castCase('float32', 'bfloat16', 64_000_000)
    return [{ ...oneCase, make: random => ({ input: normal(random, [64_000_000]) }) }]
  },
  'sample-tokens': () => [samplingCase({ rows: 256, v: 151_936, options: { topK: 50, topP: 0.95 } })],
}

const [folder, ...chosen] = process.argv.slice(2)
if (folder === undefined) throw new Error('usage: node dist/benchmarks/card-cases.js FOLDER [STEM...]')
const unknown = chosen.find(stem => !(stem in stems))
if (unknown !== undefined)
  throw new Error(`no cases of '${unknown}': expected ${Object.keys(stems).join(', ')}`)
await using device = await Device.open('emulated')
for (const [stem, cases] of Object.entries(stems)) {
  if (chosen.length > 0 && !chosen.includes(stem)) continue
  const all = cases()
  exportBenchmark(join(folder, `${stem}.bench`), stem, device, all, () => new SampleRandom(1, 'benchmark'))
  for (const { name, goal } of all) console.log([stem, name, goal?.of ?? '-'].join('\t'))
}
