// logits-policy-loss in place against scaling an array of that size in place, both counted as 8 bytes a logit.
import { cast } from '../../lib/ops/cast.js'
import { logitsPolicyLossKernel } from '../../lib/ops/logits-policy-loss.js'
import { createMetricSums } from '../../lib/ops/policy-loss.js'
import {
  nativeObjective,
  type Objective,
  resolveObjective,
  TokenKind,
} from '../../lib/ops/policy-objective.js'
import type { Tensor } from '../../lib/tensor/tensor.js'
import { type Bench, type BenchCase, inTurns, type Row, rowOf } from '../bench.js'
import { randomTokens } from '../policies.js'
import { randomFloats } from '../roofs.js'

interface LossCase {
  rows: number
  vocabSize: number
  objective: Objective
  title: string
  target?: { floor: number; aim: number }
}

const target = { floor: 0.35, aim: 0.6 }
const cases: readonly LossCase[] = [
  { rows: 512, vocabSize: 32000, objective: {}, title: '', target },
  { rows: 128, vocabSize: 151936, objective: {}, title: '', target },
  { rows: 512, vocabSize: 32000, objective: { entropyCoef: 0.01 }, title: ', entropy bonus' },
]

/** Calls of one sample, each on logits of its own: the gradient takes their place. The roof's array is as large as all. */
const copies = 4

export const lossCases: readonly BenchCase[] = cases.map(given => ({
  name: `logits-policy-loss ${given.rows}x${given.vocabSize}${given.title}`,
  run: async bench => [await loss(bench, given)],
}))

async function loss(bench: Bench, { rows, vocabSize, objective, title, target }: LossCase): Promise<Row> {
  const { device } = bench
  const made: Tensor[] = []
  const own = (tensor: Tensor) => {
    made.push(tensor)
    return device.keep(tensor)
  }
  const logits = own(device.float32(randomFloats(rows * vocabSize, 8), [rows, vocabSize]))
  const tokens = own(device.int32(randomTokens(rows, vocabSize, 1)))
  const targets = {
    oldLogProbs: own(device.float32(new Float32Array(rows).fill(-Math.log(vocabSize)))),
    advantages: own(device.float32(randomFloats(rows))),
    weights: own(device.float32(new Float32Array(rows).fill(1 / rows))),
    kinds: own(
      device.uint8(
        Uint8Array.from({ length: rows }, (_, r) => (r % 8 === 7 ? TokenKind.offPolicy : TokenKind.onPolicy)),
      ),
    ),
  }
  const native = nativeObjective(resolveObjective(objective), rows)
  const metrics = own(createMetricSums(device))
  const sample = async () => {
    const fresh = Array.from({ length: copies }, () => device.keep(cast(logits, 'float32')))
    await device.synchronize()
    const start = performance.now()
    device.scope(() => {
      for (const copy of fresh) logitsPolicyLossKernel(copy, tokens, 1, targets, native, metrics)
    })
    await device.synchronize()
    const seconds = (performance.now() - start) / 1000
    for (const copy of fresh) copy.dispose()
    return seconds / copies
  }
  const bytes = 4 * rows * vocabSize
  const paired = await inTurns(bench, sample, () => bench.roofs.scaleBandwidth(copies * bytes))
  for (const tensor of made) tensor.dispose()
  const name = `logits-policy-loss [${rows}, ${vocabSize}]${title}`
  return rowOf('loss', name, paired, 2 * bytes, 'GB/s', 'scaling in place', target)
}
