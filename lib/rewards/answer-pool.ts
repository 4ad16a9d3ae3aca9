// Answers checked in worker threads, so that no text can stop the program: each worker has little memory and stack,
// one that stays on an item for too long is ended and a warm spare goes on with the rest.
import { Worker } from 'node:worker_threads'
import { AbortedError, DisposedError, throwIfAborted } from '../errors.js'
import { checkInteger, checkNumber, checkOptions } from '../options.js'
import { type AnswerItem, begun, decodeVerdict } from './answer-protocol.js'
import type { AnswerReason } from './verify/verify-answer.js'

export interface PooledVerdict {
  correct: boolean
  /** `timed out` and `worker failed` are never correct, and are counted. */
  reason: AnswerReason | 'timed out' | 'worker failed'
}

export interface AnswerPoolOptions {
  /** Threads that check at once, beside a spare. Default 1, which checks some thousand answers a second. */
  workers?: number
  /** Seconds after which an item is given up. Default 5: far above what any text takes. */
  timeout?: number
}

export interface AnswerPoolStatistics {
  checked: number
  timedOut: number
  failed: number
  /** Workers that were replaced. */
  restarts: number
}

interface Job extends AnswerItem {
  resolve(verdict: PooledVerdict): void
  reject(error: Error): void
}

interface Slot {
  worker: Worker
  ready: boolean
  jobs: Job[]
  words: Int32Array
  /** The item that was under way when the watchdog last looked, and since when. */
  seen: number
  since: number
}

const batchSize = 64
/** Characters of a batch: copying them keeps the main thread for a few milliseconds at most. */
const batchCharacters = 500_000
const resourceLimits = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16, stackSizeMb: 2 }
/** Starts of workers that fail before they are ready, after which the pool gives up. */
const mostFailedStarts = 5

// How many of the waiting items go out together: their share, as long as their texts are not too long in all.
function batchLength(queue: readonly Job[], share: number): number {
  const most = Math.min(batchSize, share)
  let characters = 0
  for (let i = 0; i < most; ++i) {
    const { gold, prediction } = queue[i] as Job
    characters += gold.length + prediction.length
    if (characters > batchCharacters) return Math.max(1, i)
  }
  return most
}

/** A pool of threads that check answers. Idle threads do not keep the process alive; `dispose` ends them at once. */
export class AnswerPool {
  readonly #script: URL
  readonly #size: number
  readonly #timeout: number
  readonly #queue: Job[] = []
  readonly #slots = new Set<Slot>()
  readonly #statistics: AnswerPoolStatistics = { checked: 0, timedOut: 0, failed: 0, restarts: 0 }
  #watchdog: NodeJS.Timeout | undefined
  #failedStarts = 0
  #disposed = false

  /** Throws RangeError, TypeError or ConfigError for wrong options. `script` is the workers' program. */
  constructor(options: AnswerPoolOptions = {}, script: URL = new URL('./answer-worker.js', import.meta.url)) {
    const checked = checkOptions(options, 'AnswerPool', ['workers', 'timeout'])
    this.#size = checkInteger(checked.workers ?? 1, 'AnswerPool: workers', { min: 1, max: 64 })
    this.#timeout = 1000 * checkNumber(checked.timeout ?? 5, 'AnswerPool: timeout', { min: 0.05, max: 3600 })
    this.#script = script
  }

  get statistics(): Readonly<AnswerPoolStatistics> {
    return { ...this.#statistics }
  }

  /**
   * Checks one answer in a worker thread. A text that hangs or exhausts its worker is not correct and is counted.
   * Rejects with AbortedError when the signal fires and with DisposedError after `dispose`.
   */
  async verify(
    gold: string,
    prediction: string,
    options: { strict?: boolean; signal?: AbortSignal | undefined } = {},
  ): Promise<PooledVerdict> {
    const { strict = false, signal } = options
    if (this.#disposed) throw new DisposedError('the answer pool was disposed')
    throwIfAborted(signal, 'checking an answer')
    return new Promise((resolve, reject) => {
      const stop = () => {
        const at = this.#queue.indexOf(job)
        if (at >= 0) this.#queue.splice(at, 1)
        reject(new AbortedError('checking an answer was aborted', { cause: signal?.reason }))
      }
      const finish = () => signal?.removeEventListener('abort', stop)
      const job: Job = {
        gold,
        prediction,
        strict,
        resolve: verdict => {
          finish()
          resolve(verdict)
        },
        reject: error => {
          finish()
          reject(error)
        },
      }
      signal?.addEventListener('abort', stop, { once: true })
      this.#queue.push(job)
      // Calls of the same turn go out as one batch.
      if (this.#queue.length === 1) queueMicrotask(() => this.#dispatch())
    })
  }

  /** Ends all threads; what is not yet answered rejects with DisposedError. */
  async dispose(): Promise<void> {
    this.#disposed = true
    const slots = [...this.#slots]
    this.#slots.clear()
    this.#watch()
    const error = new DisposedError('the answer pool was disposed')
    for (const job of [...slots.flatMap(slot => slot.jobs), ...this.#queue.splice(0)]) job.reject(error)
    await Promise.all(slots.map(slot => slot.worker.terminate()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  // Gives every idle worker its share of what waits.
  #dispatch(): void {
    if (this.#disposed || this.#queue.length === 0) return
    while (this.#slots.size < this.#size + 1) this.#start()
    for (const slot of this.#slots) {
      const running = [...this.#slots].filter(({ jobs }) => jobs.length > 0).length
      if (running >= this.#size || this.#queue.length === 0) break
      if (!slot.ready || slot.jobs.length > 0) continue
      const share = Math.ceil(this.#queue.length / (this.#size - running))
      this.#send(slot, this.#queue.splice(0, batchLength(this.#queue, share)))
    }
    this.#watch()
  }

  #send(slot: Slot, jobs: Job[]): void {
    const progress = new SharedArrayBuffer(4 * jobs.length)
    slot.jobs = jobs
    slot.words = new Int32Array(progress)
    slot.seen = -1
    slot.worker.ref()
    const items = jobs.map(({ gold, prediction, strict }) => ({ gold, prediction, strict }))
    slot.worker.postMessage({ items, progress })
  }

  #start(): void {
    const worker = new Worker(this.#script, { resourceLimits, stdin: false })
    const slot: Slot = { worker, ready: false, jobs: [], words: new Int32Array(0), seen: -1, since: 0 }
    this.#slots.add(slot)
    worker.on('message', (message: string) => {
      if (message === 'ready') {
        slot.ready = true
        this.#failedStarts = 0
      } else this.#collect(slot)
      if (slot.jobs.length === 0) worker.unref()
      this.#dispatch()
    })
    worker.on('error', () => this.#lost(slot, 'worker failed'))
    worker.on('exit', () => this.#lost(slot, 'worker failed'))
  }

  // Answers all items of a batch that have their verdict; the others are returned.
  #collect(slot: Slot): Job[] {
    const { jobs, words } = slot
    slot.jobs = []
    return jobs.filter((job, i) => {
      const verdict = decodeVerdict(Atomics.load(words, i))
      if (verdict) {
        ++this.#statistics.checked
        job.resolve(verdict)
      }
      return verdict === undefined
    })
  }

  // A worker that ended, or that is ended: the item under way is given up, the rest goes to another worker.
  #lost(slot: Slot, reason: 'timed out' | 'worker failed'): void {
    if (!this.#slots.delete(slot) || this.#disposed) return
    ++this.#statistics.restarts
    if (!slot.ready) ++this.#failedStarts
    const underWay = slot.words.indexOf(begun)
    const blamed = slot.jobs[underWay]
    for (const job of this.#collect(slot).reverse()) {
      if (job === blamed) {
        ++this.#statistics.checked
        if (reason === 'timed out') ++this.#statistics.timedOut
        else ++this.#statistics.failed
        job.resolve({ correct: false, reason })
      } else this.#queue.unshift(job)
    }
    void slot.worker.terminate()
    if (this.#failedStarts >= mostFailedStarts) {
      const error = new Error(`the answer pool's workers do not start: ${this.#script.pathname}`)
      for (const job of this.#queue.splice(0)) job.reject(error)
    }
    this.#dispatch()
    this.#watch()
  }

  // The watchdog runs while items are under way.
  #watch(): void {
    const busy = [...this.#slots].some(slot => slot.jobs.length > 0)
    if (busy && !this.#watchdog)
      this.#watchdog = setInterval(() => this.#look(), Math.max(10, this.#timeout / 10))
    if (!busy && this.#watchdog) {
      clearInterval(this.#watchdog)
      this.#watchdog = undefined
    }
  }

  #look(): void {
    const now = performance.now()
    for (const slot of this.#slots) {
      if (slot.jobs.length === 0) continue
      const underWay = slot.words.indexOf(begun)
      if (underWay < 0 || underWay !== slot.seen) {
        slot.seen = underWay
        slot.since = now
      } else if (now - slot.since >= this.#timeout) this.#lost(slot, 'timed out')
    }
    this.#watch()
  }
}
