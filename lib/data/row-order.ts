// The order in which rows are trained on: every epoch takes the blocks of the data in a new order, joins some of them to
// a window, and shuffles the rows of the window. It is a function of the seed and the position, so a run that resumes
// needs its step alone, and only the blocks of a window are in memory.
import { CounterRandom } from '../random.js'

/** A row by its place: the block, and which of the block's rows. */
export interface RowPlace {
  block: number
  row: number
}

interface Window {
  /** Position in the epoch of its first row. */
  first: number
  size: number
  blocks: number[]
  /** Made when it is first needed: places in shuffled order. */
  order: RowPlace[] | undefined
}

export class RowOrder {
  readonly size: number
  readonly #counts: readonly number[]
  readonly #seed: number
  readonly #windowRows: number
  #epoch = -1
  #windows: Window[] = []

  /**
   * `counts`: rows of each block. `windowRows`: a window takes blocks until it has that many rows; with fewer rows in
   * all, every order is equally likely.
   */
  constructor(counts: readonly number[], seed: number, windowRows: number) {
    this.#counts = counts
    this.#seed = seed
    this.#windowRows = windowRows
    this.size = counts.reduce((sum, count) => sum + count, 0)
  }

  /** The row at a position, counted from 0 over all epochs. */
  at(position: number): RowPlace {
    const epoch = Math.floor(position / this.size)
    const offset = position - epoch * this.size
    if (epoch !== this.#epoch) {
      this.#epoch = epoch
      this.#windows = this.#windowsOf(epoch)
    }
    const index = this.#windows.findLastIndex(window => window.first <= offset)
    const window = this.#windows[index] as Window
    window.order ??= this.#shuffled(window, epoch, index)
    return window.order[offset - window.first] as RowPlace
  }

  #windowsOf(epoch: number): Window[] {
    const random = new CounterRandom(this.#seed, 'data/blocks', epoch)
    const blocks = this.#counts.map((_, block) => block).filter(block => (this.#counts[block] as number) > 0)
    const windows: Window[] = []
    let first = 0
    for (const block of random.shuffle(blocks)) {
      const last = windows.at(-1)
      const count = this.#counts[block] as number
      if (last !== undefined && last.size < this.#windowRows) {
        last.blocks.push(block)
        last.size += count
      } else windows.push({ first, size: count, blocks: [block], order: undefined })
      first += count
    }
    return windows
  }

  #shuffled(window: Window, epoch: number, index: number): RowPlace[] {
    // Places in the blocks' own order, so that a window of the same blocks is the same window.
    const places = [...window.blocks]
      .sort((a, b) => a - b)
      .flatMap(block => Array.from({ length: this.#counts[block] as number }, (_, row) => ({ block, row })))
    return new CounterRandom(this.#seed, 'data/rows', epoch, index).shuffle(places)
  }
}
