// PolicyModel: the weights of a policy on a device, and the passes over them. `Policy` (lib/sampler/policy.ts) is the
// handle that users hold; training attaches gradients here.
import { cast } from '../ops/cast.js'
import { linearLogProb } from '../ops/linear-policy-loss.js'
import type { RopeTable } from '../ops/rope.js'
import type { ComputeDtype } from '../tensor/compute-dtype.js'
import type { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'
import type { PolicyConfig } from './config.js'
import { type PackedGroup, packedLength, packGroups, type TokenSequence, uploadPacked } from './packing.js'
import { type ParameterLayout, parameterLayout } from './parameters.js'
import { createRopeTable } from './rope-table.js'
import { forwardBatch } from './transformer.js'
import { createWeights, disposeWeights, type PolicyWeights } from './weights.js'

/** Rows of a pass without gradients: enough to keep the products large, few enough to stay in the cache. */
const rowsPerPass = 8192

const smallestRopeTable = 256

export interface SequenceLogProbs {
  /** Of the tokens after the prompt, under softmax(logits / temperature). */
  logProbs: Float32Array
  /** Entropy of each of those distributions, nats. */
  entropy: Float32Array
}

export class PolicyModel {
  readonly device: Device
  readonly config: PolicyConfig
  readonly layout: ParameterLayout
  readonly dtype: ComputeDtype
  /** All parameters, [layout.size] float32. */
  readonly values: Tensor
  /** The same rounded to bfloat16, where the policy computes in it; an update writes both. */
  readonly half: Tensor | undefined
  #gradients: Tensor | undefined
  #weights: PolicyWeights
  #rope: { table: RopeTable; positions: number } | undefined

  /** `values`: [layout.size], which the model owns from here on. */
  constructor(device: Device, config: PolicyConfig, values: Tensor, dtype: ComputeDtype = 'float32') {
    this.device = device
    this.config = config
    this.layout = parameterLayout(config)
    this.dtype = dtype
    this.values = device.keep(values)
    this.half = dtype === 'bfloat16' ? device.keep(cast(this.values, 'bfloat16')) : undefined
    this.#weights = createWeights(device, this.layout, this.half ?? this.values)
  }

  get weights(): PolicyWeights {
    return this.#weights
  }

  /** The flat gradient, [layout.size]; made on first use. */
  attachGradients(): Tensor {
    if (this.#gradients === undefined) {
      this.#gradients = this.device.keep(this.device.zeros([this.layout.size]))
      disposeWeights(this.#weights)
      this.#weights = createWeights(this.device, this.layout, this.half ?? this.values, this.#gradients)
    }
    return this.#gradients
  }

  /** Cosines and sines for at least `positions` positions; grows by doubling. */
  rope(positions: number): RopeTable {
    if (this.#rope === undefined || this.#rope.positions < positions) {
      const size = Math.min(
        this.config.maxPositions,
        2 ** Math.ceil(Math.log2(Math.max(positions, smallestRopeTable))),
      )
      this.#rope?.table.cosine.dispose()
      this.#rope?.table.sine.dispose()
      this.#rope = {
        table: createRopeTable(this.device, this.config, Math.max(size, positions)),
        positions: size,
      }
    }
    return this.#rope.table
  }

  /** Log-probabilities and entropies of the tokens after each prompt, in order. */
  async logProbs(
    sequences: readonly TokenSequence[],
    temperature: number,
    betweenPasses: () => void = () => {},
  ): Promise<SequenceLogProbs[]> {
    const passes: { tensors: { logProbs: Tensor; entropy: Tensor } | undefined; members: TokenSequence[] }[] =
      []
    for (const members of chunks(sequences)) {
      betweenPasses()
      passes.push({ tensors: this.#pass(members, temperature), members })
      await new Promise(resolve => setImmediate(resolve))
    }
    const results: SequenceLogProbs[] = []
    for (const { tensors, members } of passes) {
      const [logProbs, entropy] = tensors
        ? await Promise.all([
            this.device.readFloat32(tensors.logProbs),
            this.device.readFloat32(tensors.entropy),
          ])
        : [new Float32Array(0), new Float32Array(0)]
      tensors?.logProbs.dispose()
      tensors?.entropy.dispose()
      let start = 0
      for (const { tokens, promptLength } of members) {
        const end = start + tokens.length - promptLength
        results.push({ logProbs: logProbs.slice(start, end), entropy: entropy.slice(start, end) })
        start = end
      }
    }
    return results
  }

  #pass(members: TokenSequence[], temperature: number) {
    const arrays = packGroups([{ members, shared: false }])
    if (arrays.rows.length === 0) return undefined
    const table = this.rope(longest(members))
    return this.device.keep(
      this.device.scope(() => {
        const batch = uploadPacked(this.device, arrays)
        const hidden = forwardBatch(this.config, this.weights, table, batch)
        return linearLogProb(hidden, this.weights.output.value, batch.targets, temperature)
      }),
    )
  }

  dispose(): void {
    disposeWeights(this.#weights)
    this.values.dispose()
    this.half?.dispose()
    this.#gradients?.dispose()
    this.#rope?.table.cosine.dispose()
    this.#rope?.table.sine.dispose()
  }
}

export function longest(members: readonly TokenSequence[]): number {
  return members.reduce((most, { tokens }) => Math.max(most, tokens.length), 1)
}

function* chunks(sequences: readonly TokenSequence[]): Generator<TokenSequence[]> {
  let members: TokenSequence[] = []
  let rows = 0
  for (const sequence of sequences) {
    const group: PackedGroup = { members: [sequence], shared: false }
    const length = packedLength(group)
    if (members.length > 0 && rows + length > rowsPerPass) {
      yield members
      members = []
      rows = 0
    }
    members.push(sequence)
    rows += length
  }
  if (members.length > 0) yield members
}
