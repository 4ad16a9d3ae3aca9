// A worker thread for work that somebody else's input can make endless or huge: one request at a time, each with a
// time limit, in a heap of its own. What goes wrong there ends the worker and not the process; the next call starts
// another one. Workers do not keep the process alive while they have nothing to do.
import { parentPort, Worker } from 'node:worker_threads'

export interface LimitedWorkerOptions {
  /** Most memory of the worker's heap, in MiB (buffers are not part of it: requests must be bounded otherwise). */
  heapMb: number
}

/** time: the limit passed; memory: the heap was full; crash: anything else that ended the worker. */
export type WorkerFailureKind = 'time' | 'memory' | 'crash'

/** The worker was ended. Callers turn it into an error of theirs. */
export class WorkerFailure extends Error {
  readonly kind: WorkerFailureKind

  constructor(kind: WorkerFailureKind, message: string) {
    super(message)
    this.kind = kind
  }
}

type Reply = { ready: true } | { value: unknown } | { error: string }

// Starting a thread can take long on a busy machine; it is not part of the work.
const startLimitMs = 60_000

export class LimitedWorker {
  readonly #module: URL
  readonly #options: LimitedWorkerOptions
  #worker: Worker | undefined
  #last: Promise<unknown> = Promise.resolve()

  /** `module`: a file that calls `serveRequests`. */
  constructor(module: URL, options: LimitedWorkerOptions) {
    this.#module = module
    this.#options = options
  }

  /**
   * What the worker answers. Rejects with a plain Error of its message where the work threw, and with a WorkerFailure
   * where the worker had to be ended.
   */
  call<Result>(request: unknown, timeoutMs: number): Promise<Result> {
    const result = this.#last.then(() => this.#run(request, timeoutMs))
    this.#last = result.catch(() => {})
    return result as Promise<Result>
  }

  async #run(request: unknown, timeoutMs: number): Promise<unknown> {
    const worker = this.#worker ?? (await this.#start())
    worker.ref()
    try {
      return await this.#reply(worker, timeoutMs, () => worker.postMessage(request))
    } finally {
      worker.unref()
    }
  }

  async #start(): Promise<Worker> {
    const worker = new Worker(this.#module, {
      resourceLimits: { maxOldGenerationSizeMb: this.#options.heapMb },
      execArgv: [],
      env: {},
    })
    worker.on('error', () => {}) // while nobody waits; who waits has a listener of his own
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined
    })
    this.#worker = worker
    await this.#reply(worker, startLimitMs, () => {})
    return worker
  }

  /** Ends the worker after the calls so far; a later call starts another one. */
  close(): void {
    this.#last = this.#last.then(async () => {
      await this.#worker?.terminate()
    })
  }

  #reply(worker: Worker, timeoutMs: number, begin: () => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        worker.off('message', onMessage).off('error', onError).off('exit', onExit)
        settle()
      }
      const onMessage = (reply: Reply) =>
        finish(() => {
          if ('error' in reply) reject(new Error(reply.error))
          else resolve('value' in reply ? reply.value : undefined)
        })
      const onError = (error: NodeJS.ErrnoException) => {
        const full = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
        const message = full ? `needs more than ${this.#options.heapMb} MiB of memory` : error.message
        finish(() => reject(new WorkerFailure(full ? 'memory' : 'crash', message)))
      }
      const onExit = () => finish(() => reject(new WorkerFailure('crash', 'the worker ended')))
      const timer = setTimeout(() => {
        if (this.#worker === worker) this.#worker = undefined
        void worker.terminate()
        finish(() => reject(new WorkerFailure('time', `takes longer than ${timeoutMs / 1000} s`)))
      }, timeoutMs)
      worker.on('message', onMessage).on('error', onError).on('exit', onExit)
      begin()
    })
  }
}

/** The other side: answers each request of a LimitedWorker. Call it once, in the worker's module. */
export function serveRequests<Request>(answer: (request: Request) => unknown): void {
  parentPort?.on('message', async (request: Request) => {
    let reply: Reply
    try {
      reply = { value: await answer(request) }
    } catch (error) {
      reply = { error: error instanceof Error ? error.message : String(error) }
    }
    parentPort?.postMessage(reply)
  })
  parentPort?.postMessage({ ready: true } satisfies Reply)
}
