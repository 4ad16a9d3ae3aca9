// Where each parameter of a policy lies in its one flat float32 buffer (gradients and moments have the same layout).
// Query, key and value projections stand next to each other and so form one matrix [(H + 2K) * D, C]; so do the gate
// and the up projection, [2F, C]. Each group starts at a multiple of 16 floats (64 bytes); the gaps stay zero.
import { fillNormal } from '../random.js'
import type { PolicyConfig } from './config.js'

/** A range of the flat buffer, seen as an array of the given shape. */
export interface View {
  readonly offset: number
  readonly shape: readonly number[]
  readonly size: number
}

/** A parameter as checkpoints name it. */
export interface Parameter extends View {
  readonly name: string
}

export interface LayerViews {
  readonly inputNorm: View
  /** [(H + 2K) * D, C] */
  readonly qkvWeight: View
  /** [(H + 2K) * D], Qwen2 alone */
  readonly qkvBias: View | null
  /** [D], Qwen3 alone */
  readonly qNorm: View | null
  readonly kNorm: View | null
  /** [C, H * D] */
  readonly outputWeight: View
  readonly postAttentionNorm: View
  /** [2F, C]: gate, then up */
  readonly gateUpWeight: View
  /** [C, F] */
  readonly downWeight: View
}

/** Takes values for the flat buffer from `start` on; they are the giver's again once it has returned, or resolved. */
export type FlatSink = (start: number, values: Float32Array) => void | Promise<void>

export interface ParameterLayout {
  /** In the order of the flat buffer. */
  readonly parameters: readonly Parameter[]
  readonly byName: ReadonlyMap<string, Parameter>
  /** [V, C] */
  readonly embedding: View
  readonly layers: readonly LayerViews[]
  readonly finalNorm: View
  /** [V, C]; the embedding itself where it is tied */
  readonly output: View
  /** Floats in the flat buffer, gaps included. */
  readonly size: number
  /** Parameters, gaps left out. */
  readonly parameterCount: number
}

const alignment = 16

/** The layout of a policy's parameters. */
export function parameterLayout(config: PolicyConfig): ParameterLayout {
  const { vocabSize, hiddenSize, intermediateSize, heads, kvHeads, headDim } = config
  const parameters: Parameter[] = []
  let end = 0

  // Adjacent parameters that together are one view: rows add up, the other dimensions are equal.
  const group = (members: readonly (readonly [name: string, ...shape: number[]])[]): View => {
    const offset = Math.ceil(end / alignment) * alignment
    end = offset
    let rows = 0
    for (const [name, ...shape] of members) {
      const size = shape.reduce((product, dimension) => product * dimension, 1)
      parameters.push(Object.freeze({ name, offset: end, shape: Object.freeze(shape), size }))
      end += size
      rows += shape[0]!
    }
    return Object.freeze({
      offset,
      shape: Object.freeze([rows, ...members[0]!.slice(2)] as number[]),
      size: end - offset,
    })
  }

  const embedding = group([['model.embed_tokens.weight', vocabSize, hiddenSize]])
  const layers: LayerViews[] = []
  for (let layer = 0; layer < config.layers; ++layer) {
    const prefix = `model.layers.${layer}`
    const attention = `${prefix}.self_attn`
    layers.push({
      inputNorm: group([[`${prefix}.input_layernorm.weight`, hiddenSize]]),
      qkvWeight: group([
        [`${attention}.q_proj.weight`, heads * headDim, hiddenSize],
        [`${attention}.k_proj.weight`, kvHeads * headDim, hiddenSize],
        [`${attention}.v_proj.weight`, kvHeads * headDim, hiddenSize],
      ]),
      qkvBias: config.qkvBias
        ? group([
            [`${attention}.q_proj.bias`, heads * headDim],
            [`${attention}.k_proj.bias`, kvHeads * headDim],
            [`${attention}.v_proj.bias`, kvHeads * headDim],
          ])
        : null,
      qNorm: config.qkNorm ? group([[`${attention}.q_norm.weight`, headDim]]) : null,
      kNorm: config.qkNorm ? group([[`${attention}.k_norm.weight`, headDim]]) : null,
      outputWeight: group([[`${attention}.o_proj.weight`, hiddenSize, heads * headDim]]),
      postAttentionNorm: group([[`${prefix}.post_attention_layernorm.weight`, hiddenSize]]),
      gateUpWeight: group([
        [`${prefix}.mlp.gate_proj.weight`, intermediateSize, hiddenSize],
        [`${prefix}.mlp.up_proj.weight`, intermediateSize, hiddenSize],
      ]),
      downWeight: group([[`${prefix}.mlp.down_proj.weight`, hiddenSize, intermediateSize]]),
    })
  }
  const finalNorm = group([['model.norm.weight', hiddenSize]])
  const output = config.tieWordEmbeddings ? embedding : group([['lm_head.weight', vocabSize, hiddenSize]])

  return {
    parameters,
    byName: new Map(parameters.map(parameter => [parameter.name, parameter])),
    embedding,
    layers,
    finalNorm,
    output,
    size: Math.ceil(end / alignment) * alignment,
    parameterCount: parameters.reduce((sum, parameter) => sum + parameter.size, 0),
  }
}

// The last word of the counter, so that no other use of the seed draws the same numbers.
const initialization = 0x696e6974

// Elements drawn between two turns of the event loop: a few milliseconds.
const drawnAtOnce = 1 << 16

/**
 * Initial values from a seed: norms 1, biases 0, matrices normal with deviation `initializerRange`; the two that
 * write to the residual stream are scaled by 1 / sqrt(2 * layers), so that its variance does not grow with depth.
 * A seed gives the same bytes on every machine. They come in pieces, in the order of the flat buffer, which holds zeros
 * before: biases and gaps are left out.
 */
export async function initializeParameters(
  config: PolicyConfig,
  layout: ParameterLayout,
  seed: number,
  sink: FlatSink,
): Promise<void> {
  const residual = config.initializerRange / Math.sqrt(2 * config.layers)
  const piece = new Float32Array(drawnAtOnce)
  for (const [stream, { name, offset, size, shape }] of layout.parameters.entries()) {
    if (shape.length === 1) {
      if (name.endsWith('.weight')) await sink(offset, new Float32Array(size).fill(1))
      continue
    }
    const isResidual = name.endsWith('.o_proj.weight') || name.endsWith('.down_proj.weight')
    const deviation = isResidual ? residual : config.initializerRange
    for (let start = 0; start < size; start += drawnAtOnce) {
      const part = piece.subarray(0, Math.min(drawnAtOnce, size - start))
      fillNormal(part, deviation, { seed, stream, purpose: initialization, start })
      await sink(offset + start, part)
      await new Promise(resolve => setImmediate(resolve))
    }
  }
}
