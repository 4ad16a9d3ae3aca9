// Blocks of the key/value cache: a free list with reference counts, because the samples of a prompt share its blocks.
import { attentionBlock } from '../ops/attention-decode.js'

export class BlockAllocator {
  readonly capacity: number
  readonly #free: number[]
  readonly #references: Int32Array

  constructor(capacity: number) {
    this.capacity = capacity
    this.#free = Array.from({ length: capacity }, (_, i) => capacity - 1 - i)
    this.#references = new Int32Array(capacity)
  }

  get available(): number {
    return this.#free.length
  }

  take(): number {
    const block = this.#free.pop()
    if (block === undefined) throw new Error('block allocator: no block is free')
    this.#references[block] = 1
    return block
  }

  retain(block: number): void {
    this.#references[block] = (this.#references[block] as number) + 1
  }

  /** Gives one reference back; the block is free with the last. */
  drop(block: number): void {
    const left = (this.#references[block] as number) - 1
    this.#references[block] = left
    if (left === 0) this.#free.push(block)
  }
}

/** Blocks that hold `positions` positions. */
export function blocksFor(positions: number): number {
  return Math.ceil(positions / attentionBlock)
}
