// Writes what luffy_kernel_bench times on a card: `node dist/benchmarks/card-cases.js FOLDER`. The ops at sizes of practice,
// recorded for the CUDA backend (through the emulated device; nothing is run here).
import { join } from 'node:path'
import { Device } from '../lib/tensor/device.js'
import { adamwCase } from '../test/_cases/adamw.js'
import { decodeCase } from '../test/_cases/attention-decode.js'
import { bfloat16Case } from '../test/_cases/bfloat16.js'
import { type OpCase, sizeOf } from '../test/_cases/case.js'
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
import { exportBenchmark } from '../test/_helpers/case-export.js'
import { attention } from './ops/attention.js'
import { QuickRandom, type TimedOp } from './time-op.js'

const objective = { shaping: 1, logRatioClamp: 20 }
const name = 'regularized'
const rows = { rows: 8192, c: 4096 }
const product = { t: 8192, n: 4096, k: 4096 }

/** The case in bfloat16, its bytes counted as the tensors' sizes change. */
function half(oneCase: OpCase, names: readonly string[]): TimedOp {
  const inBfloat16 = bfloat16Case(oneCase, names)
  return { ...inBfloat16, bytes: (oneCase.bytes * bytesOf(inBfloat16)) / bytesOf(oneCase) }
}

/** Of every argument and result. */
function bytesOf(oneCase: OpCase): number {
  const inputs = Object.values(oneCase.make(new QuickRandom(1, 'sizes')))
  const outputs = Object.values(oneCase.outputs).map(({ dtype = 'float32', shape }) => ({ dtype, shape }))
  return [...inputs, ...outputs].reduce(
    (sum, { dtype, shape }) => sum + sizeOf(shape) * (dtype === 'bfloat16' ? 2 : 4),
    0,
  )
}

const stems: Readonly<Record<string, () => readonly TimedOp[]>> = {
  'logits-policy-loss': () => {
    const size = { rows: 1024, v: 151_936, objective, name }
    return [logitsLossCase(size), half(logitsLossCase(size), ['logits'])]
  },
  'linear-policy-loss': () => {
    const size = { rows: 8192, c: 2048, v: 32_768, objective, name }
    return [half(linearLossCase(size), ['hidden', 'weight', 'gradHidden'])]
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
    return [attention(size, false), attention(size, true)]
  },
  'attention-decode': () => [decodeCase({ h: 32, k: 8, d: 128, lengths: new Array<number>(64).fill(2048) })],
  'rms-norm': () => [
    rmsNorm.forwardCase({ ...rows, residual: true }),
    rmsNorm.backwardCase({ ...rows, gradSum: true }),
    half(rmsNorm.forwardCase({ ...rows, residual: true }), ['x', 'weight', 'residual', 'out', 'sum']),
  ],
  swiglu: () => {
    const size = { rows: 8192, f: 8192 }
    return [
      swiglu.forwardCase(size),
      half(swiglu.forwardCase(size), ['gateUp', 'out']),
      half(swiglu.backwardCase(size), ['gradOut', 'gateUp', 'gradGateUp']),
    ]
  },
  rope: () => [half(ropeCase({ rows: 8192, heads: 32, d: 128, positions: 4096 }), ['x'])],
  embedding: () => [
    half(embedding.forwardCase({ tokens: 8192, vocabulary: 32_768, c: 4096 }), ['table', 'out']),
  ],
  'token-log-prob': () => [half(tokenLogProb.forwardCase({ rows: 1024, v: 151_936 }), ['logits'])],
  adamw: () => [adamwCase(64_000_000)],
  'gradient-norm': () => [gradientNormCase(64_000_000, 1)],
  cast: () => [castCase('float32', 'bfloat16', 64_000_000)],
  'sample-tokens': () => [samplingCase({ rows: 256, v: 151_936, options: { topK: 50, topP: 0.95 } })],
}

const [folder, ...chosen] = process.argv.slice(2)
if (folder === undefined) throw new Error('usage: node dist/benchmarks/card-cases.js FOLDER [STEM...]')
await using device = await Device.open('emulated')
for (const [stem, cases] of Object.entries(stems)) {
  if (chosen.length > 0 && !chosen.includes(stem)) continue
  // A call at a time: the inputs of a case take gigabytes.
  exportBenchmark(join(folder, `${stem}.bench`), stem, device, cases(), () => new QuickRandom(1, 'benchmark'))
  console.log(stem)
}
