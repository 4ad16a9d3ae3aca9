// What memory a run takes on the device, from its configuration and the policy's sizes alone: nothing is loaded.
// The parts that follow from sizes are exact; activations are counted by what the tape keeps, per packed token.
import { attentionBlock } from '../ops/attention-decode.js'
import type { PolicyConfig } from '../policy/config.js'
import { type ParameterLayout, parameterLayout } from '../policy/parameters.js'
import { blocksFor } from '../sampler/block-allocator.js'
import { cacheShare, prefillRows } from '../sampler/sampler.js'
import { computeBytes } from '../tensor/compute-dtype.js'
import type { ResolvedTrainConfig } from './train-config.js'
import { defaultMicroBatch } from './trainer.js'

export interface MemoryPart {
  name: string
  bytes: number
  /** When it is held: all the time, while responses are sampled, while an update is computed. */
  phase: 'always' | 'sampling' | 'update'
  /** What it follows from. */
  why: string
}

export interface MemoryEstimate {
  parameterCount: number
  parts: MemoryPart[]
  /** The larger of both phases, with what is always held. */
  peakBytes: number
}

const floatBytes = computeBytes.float32
/** Sequences that the sampler has in progress at once, at most. */
const mostConcurrent = 256

/**
 * Estimates the run's largest need.
 *
 * @param longestPrompt tokens of the longest prompt; default `data.maxPromptLength`, or 32 for the op chains task
 * @param freeBytes what the key/value cache may take a share of; default: all that it can use
 */
export function estimateMemory(
  policy: PolicyConfig,
  run: ResolvedTrainConfig,
  { longestPrompt = run.data?.maxPromptLength ?? 32, freeBytes = Number.POSITIVE_INFINITY } = {},
): MemoryEstimate {
  const layout = parameterLayout(policy)
  const longest = Math.min(policy.maxPositions, longestPrompt + run.maxCompletionLength)
  const always: MemoryPart[] = [
    part('parameters', layout.size, 'always', 'float32'),
    ...(run.dtype === 'bfloat16'
      ? [part('parameters to compute with', layout.size / 2, 'always', 'bfloat16')]
      : []),
    part('gradients', layout.size, 'always', 'float32'),
    part('moments of AdamW', 2 * layout.size, 'always', 'two, float32'),
    part('rotary tables', ropeFloats(policy, longest), 'always', `${longest} positions`),
  ]
  const sampling =
    run.numGenerations > run.demonstrationsPerPrompt
      ? samplingParts(policy, layout, run, { longestPrompt, longest, freeBytes: freeBytes - total(always) })
      : []
  const parts = [...always, ...sampling, ...updateParts(policy, run, longestPrompt, longest)]
  const phase = (name: MemoryPart['phase']) => total(parts.filter(each => each.phase === name))
  return {
    parameterCount: layout.parameterCount,
    parts,
    peakBytes: phase('always') + Math.max(phase('sampling'), phase('update')),
  }
}

function part(name: string, floats: number, phase: MemoryPart['phase'], why: string): MemoryPart {
  return { name, bytes: Math.ceil(floats) * floatBytes, phase, why }
}

// What an activation takes of a float32.
const activationShare = ({ dtype }: ResolvedTrainConfig) => computeBytes[dtype] / floatBytes

function total(parts: readonly MemoryPart[]): number {
  return parts.reduce((sum, { bytes }) => sum + bytes, 0)
}

// Cosines and sines for a power of two of positions.
function ropeFloats({ headDim, maxPositions }: PolicyConfig, longest: number): number {
  return Math.min(maxPositions, 2 ** Math.ceil(Math.log2(Math.max(256, longest)))) * headDim
}

function samplingParts(
  policy: PolicyConfig,
  layout: ParameterLayout,
  run: ResolvedTrainConfig,
  { longestPrompt, longest, freeBytes }: { longestPrompt: number; longest: number; freeBytes: number },
): MemoryPart[] {
  const { layers, kvHeads, heads, headDim, hiddenSize, intermediateSize, vocabSize } = policy
  const matrices = layout.layers.flatMap(each => [
    each.qkvWeight,
    each.outputWeight,
    each.gateUpWeight,
    each.downWeight,
  ])
  const share = activationShare(run)
  const all = matrices.reduce((sum, { size }) => sum + size, 0) + layout.output.size
  // In bfloat16 they are read where they are.
  const packed = run.dtype === 'float32' ? all : 0
  const perSequence = blocksFor(longest) + 1
  const blockFloats = share * 2 * layers * kvHeads * headDim * attentionBlock
  const samples = run.numGenerations - run.demonstrationsPerPrompt
  const wanted = Math.min(mostConcurrent, run.promptsPerStep * samples)
  const room = Math.max(0, freeBytes - packed * floatBytes) * cacheShare
  const slots = Math.max(1, Math.min(wanted, Math.floor(room / (blockFloats * floatBytes * perSequence))))
  const rows = Math.max(longestPrompt, Math.min(prefillRows, Math.ceil(slots / samples) * longestPrompt))
  // Without a tape the widest two operands of a layer and the residual stream are alive at once.
  const widest = Math.max(3 * intermediateSize, 2 * (heads + kvHeads) * headDim)
  return [
    ...(packed > 0 ? [part('packed weights', packed, 'sampling', 'in the order of decoding')] : []),
    part(
      'key/value cache',
      slots * perSequence * blockFloats,
      'sampling',
      `${slots} sequences of ${longest} tokens`,
    ),
    part('sampling activations', share * rows * (4 * hiddenSize + widest), 'sampling', `${rows} rows`),
    part('logits', (share < 1 ? 1 + share : 1) * slots * vocabSize, 'sampling', `${slots} sequences`),
  ]
}

function updateParts(
  policy: PolicyConfig,
  run: ResolvedTrainConfig,
  longestPrompt: number,
  longest: number,
): MemoryPart[] {
  const { layers, heads, kvHeads, headDim, hiddenSize, intermediateSize } = policy
  const all = run.promptsPerUpdate * (longestPrompt + run.numGenerations * (longest - longestPrompt))
  // A sequence is never cut: a longer one than the limit is a micro-batch of its own.
  const rows = Math.min(all, Math.max(run.maxTokensPerMicroBatch ?? defaultMicroBatch(policy), longest))
  const normalised = policy.qkNorm ? (heads + kvHeads) * headDim : 0
  const attention = (2 * heads + 2 * kvHeads) * headDim + normalised
  const stream = 2 * hiddenSize
  const kept = stream + 2 * hiddenSize + attention + 3 * intermediateSize
  const layersKept = run.gradientCheckpointing ? layers * stream + kept : layers * kept
  const gradients = 3 * hiddenSize + 3 * intermediateSize
  const share = activationShare(run)
  return [
    part(
      'activations',
      share * rows * layersKept,
      'update',
      `${rows} tokens, ${run.gradientCheckpointing ? 'one layer and the streams between layers' : `${layers} layers`}`,
    ),
    part('gradients of activations', share * rows * gradients, 'update', `${rows} tokens`),
    part('final hidden states', share * rows * 4 * hiddenSize, 'update', `${rows} tokens`),
  ]
}
