// Answers checked in processes of their own, so that no text can stop the program or fill its memory: each has a small
// heap, one that stays on an item for too long is ended and a warm spare goes on with the rest. They are processes and
// no threads, because V8 ends the whole process when one large allocation passes a thread's limit.
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { AbortedError, DisposedError, throwIfAborted } from '../errors.js'
import { startLimited } from '../io/limited-worker.js'
import { checkInteger, checkNumber, checkOptions } from '../options.js'
import { type AnswerItem, begunByte, decodeVerdict, readyByte } from './answer-protocol.js'
import type { AnswerReason } from './verify/verify-answer.js'

export interface PooledVerdict {
  correct: boolean
  /** `timed out` and `worker failed` are never correct, and are counted. */
  reason: AnswerReason | 'timed out' | 'worker failed'
}

export interface AnswerPoolOptions {
  /** Processes that check at once, beside a spare. Default 1, which checks some thousand answers a second. */
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
  /** Workers that ended between taking its batch and beginning it. */
  lost: number
  resolve(verdict: PooledVerdict): void
  reject(error: Error): void
}

interface Slot {
  worker: ChildProcess
  ready: boolean
  /** In the order in which they are checked: the first is under way. */
  jobs: Job[]
  /** Whether the worker has begun them. */
  begun: boolean
  /** The item that was under way when the watchdog last looked, and since when. */
  seen: Job | undefined
  since: number
  /** Why it is being ended. */
  ending?: 'timed out'
}

const batchSize = 64
/** Characters of a batch: copying them keeps the main thread for a few milliseconds at most. */
const batchCharacters = 500_000
const heapMb = 128
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

/** A pool of processes that check answers. Idle ones do not keep this one alive; `dispose` ends them at once. */
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
   * Checks one answer in a worker. A text that hangs or exhausts its worker is not correct and is counted.
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
        lost: 0,
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

  /** Ends all workers; what is not yet answered rejects with DisposedError. */
  async dispose(): Promise<void> {
    this.#disposed = true
    const slots = [...this.#slots]
    this.#slots.clear()
    this.#watch()
    const error = new DisposedError('the answer pool was disposed')
    for (const job of [...slots.flatMap(slot => slot.jobs), ...this.#queue.splice(0)]) job.reject(error)
    await Promise.all(slots.map(({ worker }) => ended(worker)))
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
    slot.jobs = jobs
    slot.begun = false
    slot.seen = undefined
    hold(slot.worker, true)
    // A worker that has just ended takes no message: its end gives the items to another.
    slot.worker.send(
      jobs.map(({ gold, prediction, strict }): AnswerItem => ({ gold, prediction, strict })),
      () => {},
    )
  }

  #start(): void {
    const worker = startLimited(fileURLToPath(this.#script), { heapMb }, ['pipe'])
    const slot: Slot = { worker, ready: false, jobs: [], begun: false, seen: undefined, since: 0 }
    this.#slots.add(slot)
    verdictsOf(worker).on('data', (bytes: Buffer) => {
      for (const byte of bytes) this.#take(slot, byte)
      // Whoever disposes waits for the end of a worker, also of one that becomes ready meanwhile.
      if (slot.jobs.length > 0 || this.#disposed) return
      // An idle pool keeps nobody waiting; one whose first worker is not ready yet has to.
      if (this.#queue.length === 0) hold(worker, false)
      this.#dispatch()
    })
    // After the last verdict that it wrote.
    worker.on('close', () => this.#lost(slot))
  }

  #take(slot: Slot, byte: number): void {
    if (byte === readyByte) {
      slot.ready = true
      this.#failedStarts = 0
      return
    }
    if (byte === begunByte) slot.begun = true
    const verdict = decodeVerdict(byte)
    if (verdict === undefined) return
    const job = slot.jobs.shift()
    if (job === undefined) return
    ++this.#statistics.checked
    job.resolve(verdict)
  }

  // A worker that ended: the item under way is given up, the rest goes to another worker.
  #lost(slot: Slot): void {
    if (!this.#slots.delete(slot) || this.#disposed) return
    ++this.#statistics.restarts
    if (!slot.ready) ++this.#failedStarts
    const [first, ...rest] = slot.jobs
    // What ended before it began a batch may have ended of something else; a second time it is the batch's doing.
    const blamed = first !== undefined && (slot.begun || ++first.lost > 1) ? first : undefined
    if (blamed === undefined && first !== undefined) rest.unshift(first)
    if (blamed !== undefined) {
      const reason = slot.ending ?? 'worker failed'
      ++this.#statistics.checked
      if (reason === 'timed out') ++this.#statistics.timedOut
      else ++this.#statistics.failed
      blamed.resolve({ correct: false, reason })
    }
    this.#queue.unshift(...rest)
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
      if (slot.jobs[0] !== slot.seen) {
        slot.seen = slot.jobs[0]
        slot.since = now
      } else if (now - slot.since >= this.#timeout) {
        slot.ending = 'timed out'
        slot.worker.kill('SIGKILL')
      }
    }
    this.#watch()
  }
}

/** Where a worker writes its verdicts, one byte each. */
function verdictsOf(worker: ChildProcess): Socket {
  return worker.stdio[4] as Socket
}

/** Whether a worker keeps this process alive. */
function hold(worker: ChildProcess, holds: boolean): void {
  const call = holds ? 'ref' : 'unref'
  worker[call]()
  worker.channel?.[call]()
  verdictsOf(worker)[call]()
}

async function ended(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return
  hold(worker, true)
  const close = once(worker, 'close')
  worker.kill('SIGKILL')
  await close
}
