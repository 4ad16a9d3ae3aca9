// The sampler: continuous batching over a block key/value cache, with the ops of training and no tape.
//
// Each round decodes one token of every sequence in progress and, while there is room, prefills further prompts. A
// prompt is prefilled once and its samples share its full blocks. Rounds are enqueued one ahead of their results: the
// tokens of round i feed round i + 1 on the device, while JavaScript reads those of round i - 1. A sequence that ended
// is therefore noticed one round late; its extra token is dropped.
import { tell } from '../callback.js'
import { AbortedError, NonFiniteError } from '../errors.js'
import { attention } from '../ops/attention.js'
import {
  appendToCache,
  attentionBlock,
  attentionDecode,
  copyCacheBlocks,
  createKeyValueCache,
  type KeyValueCache,
} from '../ops/attention-decode.js'
import { cast } from '../ops/cast.js'
import { gatherRows } from '../ops/gather-rows.js'
import { linear, packWeight } from '../ops/linear.js'
import { type SampledTokens, sampleTokensInto } from '../ops/sample-tokens.js'
import { packGroups, uploadPacked } from '../policy/packing.js'
import type { PolicyModel } from '../policy/policy-model.js'
import { forwardRows, type PackedLayer } from '../policy/transformer.js'
import { computeBytes } from '../tensor/compute-dtype.js'
import type { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'
import { BlockAllocator, blocksFor } from './block-allocator.js'
import type { Completion, ResolvedSampleOptions } from './options.js'
import { samplingSeed } from './seed.js'

/** Rows of one prefill pass. */
export const prefillRows = 4096
/** Share of the memory that is free which the cache may take. */
export const cacheShare = 0.5

/** A sequence in progress. */
interface Sequence {
  promptIndex: number
  sampleIndex: number
  promptLength: number
  blocks: number[]
  /** Positions written to the cache or enqueued to be written. */
  length: number
  /** Tokens enqueued to be drawn, and drawn and read. */
  drawn: number
  limit: number
  tokens: number[]
  logProbs: number[]
  drawnLogProbs: number[]
  finishReason: Completion['finishReason'] | undefined
  /** Row of its newest token in the newest round. */
  row: number
}

/** The results of one round, on their way. */
interface Round {
  sequences: Sequence[]
  sampled: SampledTokens
  results: Promise<[Int32Array, Float32Array, Float32Array, Int32Array]>
}

export async function sampleCompletions(
  model: PolicyModel,
  prompts: readonly Int32Array[],
  options: ResolvedSampleOptions,
): Promise<Completion[]> {
  if (prompts.length === 0) return []
  const run = new SamplingRun(model, prompts, options)
  try {
    return await run.complete()
  } finally {
    run.dispose()
  }
}

class SamplingRun {
  readonly #model: PolicyModel
  readonly #device: Device
  readonly #prompts: readonly Int32Array[]
  readonly #options: ResolvedSampleOptions
  readonly #seed: number
  readonly #longest: number
  readonly #slots: number
  readonly #total: number
  readonly #allocator: BlockAllocator
  readonly #caches: KeyValueCache[] = []
  readonly #packed: PackedLayer[] = []
  #packedOutput: Tensor | undefined
  /** The next prompt to admit, and the next of its samples (a prompt's samples may be admitted in parts). */
  #nextPrompt = 0
  #nextSample = 0
  #active: Sequence[] = []
  #done: Sequence[] = []
  #last: Round | undefined
  #tokens = 0

  constructor(model: PolicyModel, prompts: readonly Int32Array[], options: ResolvedSampleOptions) {
    this.#model = model
    this.#device = model.device
    this.#prompts = prompts
    this.#options = options
    this.#seed = samplingSeed(options.seed, options.step)
    this.#longest = prompts.reduce((most, prompt) => Math.max(most, prompt.length + this.#limitOf(prompt)), 0)
    this.#total = options.sampleNumbers.reduce((sum, numbers) => sum + numbers.length, 0)
    const perSequence = blocksFor(this.#longest) + 1
    const { config } = model
    const blockBytes =
      2 * computeBytes[model.dtype] * config.layers * config.kvHeads * config.headDim * attentionBlock
    const free = this.#device.info().freeMemory * cacheShare
    const affordable = Math.floor(free / (blockBytes * perSequence))
    this.#slots = Math.max(1, Math.min(options.maxConcurrent, this.#total, affordable))
    this.#allocator = new BlockAllocator(this.#slots * perSequence)
    this.#prepare()
  }

  /** Caches and weights in the order of decoding: all of them, or none when memory runs out. */
  #prepare(): void {
    const { config, weights, dtype } = this.#model
    this.#model.rope(this.#longest)
    this.#device.scope(() => {
      for (const layer of weights.layers) {
        const { capacity } = this.#allocator
        this.#caches.push(createKeyValueCache(this.#device, capacity, config.kvHeads, config.headDim, dtype))
        this.#packed.push({
          qkv: packWeight(layer.qkv.value),
          output: packWeight(layer.output.value),
          gateUp: packWeight(layer.gateUp.value),
          down: packWeight(layer.down.value),
        })
      }
      this.#packedOutput = packWeight(weights.output.value)
      this.#device.keep([this.#caches, this.#packed, this.#packedOutput])
    })
  }

  dispose(): void {
    for (const cache of this.#caches) {
      cache.keys.dispose()
      cache.values.dispose()
    }
    for (const layer of this.#packed) for (const tensor of Object.values(layer) as Tensor[]) tensor.dispose()
    this.#packedOutput?.dispose()
    if (this.#last) disposeSampled(this.#last.sampled)
  }

  async complete(): Promise<Completion[]> {
    for (;;) {
      if (this.#options.signal?.aborted) {
        await this.#settle(this.#last)
        if (this.#options.returnPartial) break
        throw new AbortedError('sampling was aborted', { cause: this.#options.signal.reason })
      }
      const previous = this.#last
      this.#last = this.#enqueueRound()
      await this.#settle(previous)
      if (this.#last === undefined && previous === undefined) break
    }
    return this.#collect()
  }

  /** Enqueues one round: a token for each active sequence, and the first token of newly admitted ones. */
  #enqueueRound(): Round | undefined {
    const decoding = this.#active.filter(
      ({ finishReason, drawn, limit }) => finishReason === undefined && drawn < limit,
    )
    const admitted = this.#admit()
    const fresh = admitted.flatMap(group => group.sequences)
    const sequences = [...decoding, ...fresh]
    if (sequences.length === 0) return undefined
    const device = this.#device
    const previous = this.#last
    // The scope's result holds tensors only: it is walked for them, and a round's sequences are long.
    const sampled = device.scope(() => {
      const n = sequences.length
      const into = device.keep({
        tokens: device.empty([n], 'int32'),
        logProbs: device.empty([n]),
        drawnLogProbs: device.empty([n]),
        bad: device.empty([n], 'int32'),
      })
      if (decoding.length > 0 && previous) {
        const counters = this.#counters(decoding)
        this.#draw(this.#decode(decoding, previous), counters, into, 0)
      }
      let start = decoding.length
      for (const part of prefillParts(admitted, this.#prompts)) {
        const members = part.flatMap(group => group.sequences)
        const counters = this.#counters(members)
        this.#draw(this.#prefill(part), counters, into, start)
        start += members.length
      }
      return into
    })
    sequences.forEach((sequence, row) => {
      sequence.row = row
    })
    this.#active = sequences
    const results = Promise.all([
      device.readInt32(sampled.tokens),
      device.readFloat32(sampled.logProbs),
      device.readFloat32(sampled.drawnLogProbs),
      device.readInt32(sampled.bad),
    ])
    results.catch(() => {}) // reported where it is awaited
    return { sequences, sampled, results }
  }

  /** Prompts for which there are free slots and blocks, with their samples as new sequences. */
  #admit(): { promptIndex: number; sequences: Sequence[] }[] {
    const groups: { promptIndex: number; sequences: Sequence[] }[] = []
    let busy = this.#active.filter(sequence => sequence.finishReason === undefined).length
    while (this.#nextPrompt < this.#prompts.length) {
      const prompt = this.#prompts[this.#nextPrompt] as Int32Array
      const limit = this.#limitOf(prompt)
      const samples = (this.#options.sampleNumbers[this.#nextPrompt] as readonly number[]).length
      const waiting = samples - this.#nextSample
      const perSequence = blocksFor(prompt.length + limit) + 1
      const room = Math.min(this.#slots - busy, Math.floor(this.#allocator.available / perSequence))
      // A group that would fit into all slots is admitted whole, so that its prompt is prefilled once.
      const count = Math.min(waiting, room)
      if (count < Math.min(waiting, this.#slots)) break
      groups.push({ promptIndex: this.#nextPrompt, sequences: this.#newSequences(prompt, limit, count) })
      busy += count
      this.#nextSample += count
      if (this.#nextSample === samples) {
        this.#nextPrompt += 1
        this.#nextSample = 0
      }
    }
    return groups
  }

  /** Blocks are reserved for the whole of each sequence, so that none waits for memory half-way. */
  #newSequences(prompt: Int32Array, limit: number, count: number): Sequence[] {
    const allocator = this.#allocator
    const numbers = this.#options.sampleNumbers[this.#nextPrompt] as readonly number[]
    const full = Math.floor(prompt.length / attentionBlock)
    const shared = Array.from({ length: full }, () => allocator.take())
    return Array.from({ length: count }, (_, i) => {
      if (i > 0) for (const block of shared) allocator.retain(block)
      const own = Array.from({ length: blocksFor(prompt.length + limit) - full }, () => allocator.take())
      return {
        promptIndex: this.#nextPrompt,
        sampleIndex: numbers[this.#nextSample + i] as number,
        promptLength: prompt.length,
        blocks: [...shared, ...own],
        length: prompt.length,
        drawn: 0,
        limit,
        tokens: [],
        logProbs: [],
        drawnLogProbs: [],
        finishReason: undefined,
        row: 0,
      }
    })
  }

  /**
   * Final hidden states [n, C] of the newest token of each sequence. What the step reads is uploaded before its first
   * op, so that from there to its drawn tokens nothing comes from the host.
   */
  #decode(sequences: Sequence[], previous: Round): Tensor {
    const device = this.#device
    const n = sequences.length
    const width = sequences.reduce((most, sequence) => Math.max(most, blocksFor(sequence.length + 1)), 1)
    const data = new Int32Array(n * (5 + width))
    sequences.forEach((sequence, i) => {
      const position = sequence.length
      data[i] = sequence.row
      data[n + i] = position
      data[2 * n + i] = slotOf(sequence, position)
      data[3 * n + i] = position + 1
      data[4 * n + i] = i
      data.set(sequence.blocks.slice(0, width), 5 * n + i * width)
      sequence.length += 1
    })
    const all = device.int32(data)
    const part = (index: number) => all.rowRange(index * n, (index + 1) * n)
    const slots = part(2)
    const lengths = part(3)
    const table = device.view(all, 5 * n, [n, width], width)
    const tokens = gatherRows(
      undefined,
      previous.sampled.tokens.reshape([previous.sequences.length, 1]),
      part(0),
    )
    return this.#forward(
      { tokens: tokens.reshape([n]), positions: part(1), rows: part(4) },
      (cache, q, k, v, scale) => {
        appendToCache(cache, k, v, slots)
        return attentionDecode(q, cache, table, lengths, scale)
      },
    )
  }

  /** Final hidden states of the last prompt token, one row per sequence of the groups. */
  #prefill(groups: { promptIndex: number; sequences: Sequence[] }[]): Tensor {
    const device = this.#device
    const prompts = groups.map(group => this.#prompts[group.promptIndex] as Int32Array)
    const arrays = packGroups(
      prompts.map(tokens => ({ members: [{ tokens, promptLength: tokens.length }], shared: false })),
    )
    const slots = new Int32Array(arrays.tokens.length)
    const rows: number[] = []
    const copies: number[] = []
    let start = 0
    groups.forEach(({ sequences }, g) => {
      const { length } = prompts[g] as Int32Array
      const first = sequences[0] as Sequence
      for (let position = 0; position < length; position++) slots[start + position] = slotOf(first, position)
      start += length
      for (const sequence of sequences) {
        rows.push(start - 1)
        const last = blocksFor(length) - 1
        const from = first.blocks[last] as number
        const to = sequence.blocks[last] as number
        if (from !== to) copies.push(from, to)
      }
    })
    const batch = uploadPacked(device, { ...arrays, rows: Int32Array.from(rows) })
    const slotTensor = device.int32(slots)
    const { heads } = this.#model.config
    const pairs =
      copies.length > 0 ? device.int32(Int32Array.from(copies), [copies.length / 2, 2]) : undefined
    return this.#forward(batch, (cache, q, k, v, scale) => {
      appendToCache(cache, k, v, slotTensor)
      if (pairs) copyCacheBlocks(cache, pairs)
      return attention(undefined, { q, k, v, sequences: batch.sequences, scale, heads })
    })
  }

  #forward(
    batch: { tokens: Tensor; positions: Tensor; rows: Tensor },
    attend: (cache: KeyValueCache, q: Tensor, k: Tensor, v: Tensor, scale: number) => Tensor,
  ): Tensor {
    const { config, weights } = this.#model
    const scale = 1 / Math.sqrt(config.headDim)
    const table = this.#model.rope(this.#longest)
    return forwardRows(
      config,
      weights,
      table,
      batch,
      () => (layer, q, k, v) => attend(this.#caches[layer] as KeyValueCache, q, k, v, scale),
      { packed: this.#packed },
    )
  }

  /** What the random numbers of the sequences' next tokens are made from, [n, 3]. */
  #counters(sequences: Sequence[]): Tensor {
    const { promptNumbers } = this.#options
    const counters = new Int32Array(sequences.length * 3)
    sequences.forEach((sequence, i) => {
      counters[3 * i] = promptNumbers[sequence.promptIndex] as number
      counters[3 * i + 1] = sequence.sampleIndex
      counters[3 * i + 2] = sequence.drawn
      sequence.drawn += 1
    })
    return this.#device.int32(counters, [sequences.length, 3])
  }

  /** Draws the next token of each row into rows [start, ...) of the round's results. */
  #draw(hidden: Tensor, counters: Tensor, into: SampledTokens, start: number): void {
    const { temperature, topK, topP, minP } = this.#options
    const computed = linear(undefined, hidden, this.#model.weights.output, undefined, this.#packedOutput)
    const logits = computed.dtype === 'float32' ? computed : cast(computed, 'float32')
    const end = start + counters.rows
    sampleTokensInto(
      logits,
      counters,
      { temperature, topK, topP, minP, seed: this.#seed },
      {
        tokens: into.tokens.rowRange(start, end),
        logProbs: into.logProbs.rowRange(start, end),
        drawnLogProbs: into.drawnLogProbs.rowRange(start, end),
        bad: into.bad.rowRange(start, end),
      },
    )
    logits.dispose()
    computed.dispose()
    hidden.dispose()
  }

  /** Waits for a round and takes its tokens in. */
  async #settle(round: Round | undefined): Promise<void> {
    if (round === undefined) return
    const [tokens, logProbs, drawnLogProbs, bad] = await round.results
    disposeSampled(round.sampled)
    const before = this.#done.length
    round.sequences.forEach((sequence, row) => {
      if (sequence.finishReason !== undefined) return
      if (bad[row] !== 0) {
        throw new NonFiniteError(
          `sampling: the logits of prompt ${sequence.promptIndex} hold NaN or infinity at new token ${sequence.tokens.length}`,
          {
            hint: 'the policy has diverged: go back to an earlier checkpoint or lower the learning rate',
            details: { prompt: sequence.promptIndex, position: sequence.tokens.length },
          },
        )
      }
      const token = tokens[row] as number
      sequence.tokens.push(token)
      sequence.logProbs.push(logProbs[row] as number)
      sequence.drawnLogProbs.push(drawnLogProbs[row] as number)
      this.#tokens += 1
      if (this.#options.stopTokens.has(token)) this.#finish(sequence, 'stop')
      else if (sequence.tokens.length === sequence.limit) this.#finish(sequence, 'length')
    })
    for (const sequence of this.#done.slice(before)) {
      await tell(this.#options.onCompletion, completionOf(sequence))
    }
    await tell(this.#options.onProgress, {
      completed: this.#done.length,
      total: this.#total,
      tokens: this.#tokens,
    })
  }

  #finish(sequence: Sequence, reason: Completion['finishReason']): void {
    sequence.finishReason = reason
    for (const block of sequence.blocks) this.#allocator.drop(block)
    this.#done.push(sequence)
  }

  #collect(): Completion[] {
    const unfinished = this.#active.filter(sequence => sequence.finishReason === undefined)
    return [...this.#done, ...unfinished]
      .sort((a, b) => a.promptIndex - b.promptIndex || a.sampleIndex - b.sampleIndex)
      .map(completionOf)
  }

  #limitOf(prompt: Int32Array): number {
    return Math.min(this.#options.maxTokens, this.#model.config.maxPositions - prompt.length)
  }
}

function completionOf(sequence: Sequence): Completion {
  const { promptIndex, sampleIndex, tokens, logProbs, drawnLogProbs, finishReason = 'aborted' } = sequence
  return {
    promptIndex,
    sampleIndex,
    tokens: Int32Array.from(tokens),
    logProbs: Float32Array.from(logProbs),
    drawnLogProbs: Float32Array.from(drawnLogProbs),
    finishReason,
  }
}

function slotOf(sequence: Sequence, position: number): number {
  const block = sequence.blocks[Math.floor(position / attentionBlock)] as number
  return block * attentionBlock + (position % attentionBlock)
}

/** Groups cut into prefill passes of bounded size. */
function* prefillParts<Group extends { promptIndex: number }>(
  groups: Group[],
  prompts: readonly Int32Array[],
): Generator<Group[]> {
  let part: Group[] = []
  let rows = 0
  for (const group of groups) {
    const { length } = prompts[group.promptIndex] as Int32Array
    if (part.length > 0 && rows + length > prefillRows) {
      yield part
      part = []
      rows = 0
    }
    part.push(group)
    rows += length
  }
  if (part.length > 0) yield part
}

function disposeSampled(sampled: SampledTokens): void {
  for (const tensor of Object.values(sampled) as Tensor[]) tensor.dispose()
}
