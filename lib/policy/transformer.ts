// The transformer of Qwen2, Qwen3 and Llama, op by op: pre-norm blocks of grouped-query attention and SwiGLU.
// One layer serves training, prefilling and decoding: they differ in how a layer attends, which the caller gives.
import type { Tape } from '../autograd/tape.js'
import { recompute } from '../autograd/tape.js'
import { attention } from '../ops/attention.js'
import { embedding } from '../ops/embedding.js'
import { gatherRows } from '../ops/gather-rows.js'
import { linear, linearSwiglu } from '../ops/linear.js'
import { rmsNorm } from '../ops/rms-norm.js'
import { type RopeTable, rope } from '../ops/rope.js'
import { swiglu } from '../ops/swiglu.js'
import type { Tensor } from '../tensor/tensor.js'
import type { PolicyConfig } from './config.js'
import type { LayerWeights, PolicyWeights } from './weights.js'

/** Weights in the order in which the product reads them, for passes over few rows. */
export interface PackedLayer {
  qkv: Tensor
  output: Tensor
  gateUp: Tensor
  down: Tensor
}

/** How layer `layer` attends: q [T, H*D], k and v [T, K*D], rotated; returns [T, H*D]. */
export type Attend = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor

/** Packed sequences on the device (lib/policy/packing.ts). */
export interface PackedBatch {
  /** [T] int32 */
  tokens: Tensor
  positions: Tensor
  /** [S, 4] int32, see native/ops/attention.h */
  sequences: Tensor
  /** [R] int32: the positions whose next token is asked for. */
  rows: Tensor
}

export interface ForwardOptions {
  tape?: Tape | undefined
  packed?: PackedLayer[] | undefined
  /** Recompute each layer in the backward pass instead of keeping its activations. */
  recompute?: boolean | undefined
}

/** The residual stream between two blocks: `stream + branch`, not yet added. */
interface State {
  branch: Tensor
  stream: Tensor | undefined
}

/** Final hidden states [R, C] (normalised) of the batch's rows. */
export function forwardBatch(
  config: PolicyConfig,
  weights: PolicyWeights,
  table: RopeTable,
  batch: PackedBatch,
  options: ForwardOptions = {},
): Tensor {
  const { heads, headDim } = config
  const { sequences } = batch
  const scale = 1 / Math.sqrt(headDim)
  options.tape?.borrow(sequences)
  const attendWith =
    (tape: Tape | undefined): Attend =>
    (_, q, k, v) =>
      attention(tape, { q, k, v, sequences, scale, heads })
  return forwardRows(config, weights, table, batch, attendWith, options)
}

/** As forwardBatch, with attention given by the caller. */
export function forwardRows(
  config: PolicyConfig,
  weights: PolicyWeights,
  table: RopeTable,
  batch: Omit<PackedBatch, 'sequences'>,
  attendWith: (tape: Tape | undefined) => Attend,
  options: ForwardOptions = {},
): Tensor {
  const { tape } = options
  const { device } = batch.tokens
  tape?.borrow(batch.tokens, batch.positions, batch.rows)
  return device.scope(() => {
    let state: State = { branch: embedding(tape, batch.tokens, weights.embedding), stream: undefined }
    weights.layers.forEach((layer, index) => {
      const run = (inner: Tape | undefined, input: State) =>
        block(inner, config, layer, options.packed?.[index], table, batch.positions, input, (q, k, v) =>
          attendWith(inner)(index, q, k, v),
        )
      const before = state
      state = device.scope(() => {
        if (!options.recompute) return run(tape, before)
        const inputs = before.stream ? [before.branch, before.stream] : [before.branch]
        const [branch, stream] = recompute(tape, inputs, inner => {
          const after = run(inner, before)
          return [after.branch, after.stream as Tensor]
        })
        return { branch: branch as Tensor, stream }
      })
      discard(tape, before)
    })
    const branch = gatherRows(tape, state.branch, batch.rows)
    const stream = state.stream ? gatherRows(tape, state.stream, batch.rows) : undefined
    discard(tape, state)
    return rmsNorm(tape, branch, stream, weights.finalNorm, config.rmsNormEps).out
  })
}

function block(
  tape: Tape | undefined,
  config: PolicyConfig,
  weights: LayerWeights,
  packed: PackedLayer | undefined,
  table: RopeTable,
  positions: Tensor,
  input: State,
  attend: (q: Tensor, k: Tensor, v: Tensor) => Tensor,
): State {
  const eps = config.rmsNormEps
  const first = rmsNorm(tape, input.branch, input.stream, weights.inputNorm, eps)
  const qkv = linear(tape, first.out, weights.qkv, weights.qkvBias, packed?.qkv)
  const { q, k, v } = rotatedHeads(tape, config, weights, qkv, positions, table)
  const attended = linear(tape, attend(q, k, v), weights.output, undefined, packed?.output)
  const second = rmsNorm(tape, attended, first.sum, weights.postAttentionNorm, eps)
  const inner = tape
    ? swiglu(tape, linear(tape, second.out, weights.gateUp, undefined, packed?.gateUp))
    : linearSwiglu(second.out, weights.gateUp, packed?.gateUp)
  const branch = linear(tape, inner, weights.down, undefined, packed?.down)
  return { branch, stream: second.sum }
}

/** Queries, keys and values of the fused projection: normalised per head (Qwen3), then rotated, in place. */
function rotatedHeads(
  tape: Tape | undefined,
  config: PolicyConfig,
  weights: LayerWeights,
  qkv: Tensor,
  positions: Tensor,
  table: RopeTable,
): { q: Tensor; k: Tensor; v: Tensor } {
  const { heads, kvHeads, headDim, rmsNormEps } = config
  const keys = heads * headDim
  const values = keys + kvHeads * headDim
  const columns = (start: number, end: number) => (tape ? tape.slice(qkv, start, end) : qkv.slice(start, end))
  const v = columns(values, values + kvHeads * headDim)
  const { qNorm, kNorm } = weights
  if (qNorm && kNorm) {
    const q = rmsNorm(tape, columns(0, keys), undefined, qNorm, rmsNormEps).out
    const k = rmsNorm(tape, columns(keys, values), undefined, kNorm, rmsNormEps).out
    return { q: rope(tape, q, positions, table), k: rope(tape, k, positions, table), v }
  }
  rope(tape, columns(0, values), positions, table)
  return { q: columns(0, keys), k: columns(keys, values), v }
}

/** Frees what the next block has read, unless the backward pass will need it. */
function discard(tape: Tape | undefined, state: State): void {
  for (const tensor of [state.branch, state.stream]) {
    if (tensor !== undefined && !tape?.needs(tensor)) tensor.dispose()
  }
}
