// The parameters of a policy as tensors: views of one flat buffer, named as the transformer uses them.
import type { Parameter } from '../autograd/tape.js'
import type { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'
import { sizeOf } from '../tensor/tensor.js'
import type { ParameterLayout, View } from './parameters.js'

export interface LayerWeights {
  inputNorm: Parameter
  qkv: Parameter
  qkvBias: Parameter | undefined
  qNorm: Parameter | undefined
  kNorm: Parameter | undefined
  output: Parameter
  postAttentionNorm: Parameter
  gateUp: Parameter
  down: Parameter
}

export interface PolicyWeights {
  embedding: Parameter
  layers: LayerWeights[]
  finalNorm: Parameter
  /** [V, C]; the embedding itself where it is tied. */
  output: Parameter
}

/**
 * Views of `values` and, for training, of `gradients` (both [layout.size]). Without gradients a parameter's gradient
 * is not there, and asking for it is an error of the caller.
 */
export function createWeights(
  device: Device,
  layout: ParameterLayout,
  values: Tensor,
  gradients?: Tensor,
): PolicyWeights {
  const made = new Map<View, Parameter>()
  const part = (flat: Tensor, view: View) =>
    device.keep(device.view(flat, view.offset, view.shape, sizeOf(view.shape.slice(1))))
  const parameter = (view: View): Parameter => {
    let found = made.get(view)
    if (found === undefined) {
      found = gradients
        ? { value: part(values, view), gradient: part(gradients, view) }
        : new FrozenParameter(part(values, view))
      made.set(view, found)
    }
    return found
  }
  const optional = (view: View | null) => (view === null ? undefined : parameter(view))
  return {
    embedding: parameter(layout.embedding),
    layers: layout.layers.map(layer => ({
      inputNorm: parameter(layer.inputNorm),
      qkv: parameter(layer.qkvWeight),
      qkvBias: optional(layer.qkvBias),
      qNorm: optional(layer.qNorm),
      kNorm: optional(layer.kNorm),
      output: parameter(layer.outputWeight),
      postAttentionNorm: parameter(layer.postAttentionNorm),
      gateUp: parameter(layer.gateUpWeight),
      down: parameter(layer.downWeight),
    })),
    finalNorm: parameter(layout.finalNorm),
    output: parameter(layout.output),
  }
}

/** Frees the views (not the flat buffers). */
export function disposeWeights(weights: PolicyWeights): void {
  const parameters = [
    weights.embedding,
    weights.finalNorm,
    weights.output,
    ...weights.layers.flatMap(layer => Object.values(layer) as (Parameter | undefined)[]),
  ]
  for (const parameter of parameters) {
    if (parameter === undefined) continue
    parameter.value.dispose()
    if (!(parameter instanceof FrozenParameter)) parameter.gradient.dispose()
  }
}

class FrozenParameter implements Parameter {
  readonly value: Tensor
  constructor(value: Tensor) {
    this.value = value
  }
  get gradient(): Tensor {
    throw new Error('weights: these parameters were made without gradients')
  }
}
