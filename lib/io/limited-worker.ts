// A process beside this one, for work that somebody else's input can make endless or huge: one request at a time, each
// with a time limit, in a heap of its own. What goes wrong there ends that process alone; the next call starts another.
// It is a process and no thread, because V8 ends the whole process when one large allocation passes a thread's limit.
// Workers do not keep this process alive while they have nothing to do, and end with it.
import { type ChildProcess, fork, type StdioOptions } from 'node:child_process'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'

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

// Starting a process can take long on a busy machine; it is not part of the work.
const startLimitMs = 60_000

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/**
 * Starts a module as a process with a heap of its own. It ends with this one, and does not keep it alive where the
 * caller unrefs it. What comes after the IPC channel in `more` is its file descriptor 4 and on.
 */
export function startLimited(
  module: string,
  { heapMb }: LimitedWorkerOptions,
  more: readonly 'pipe'[] = [],
): ChildProcess {
  const libraryPath = process.env.LD_LIBRARY_PATH
  const stdio: StdioOptions = ['ignore', 'ignore', 'ignore', 'ipc', ...more]
  const worker = fork(module, {
    execArgv: [`--max-old-space-size=${heapMb}`],
    serialization: 'advanced',
    // V8 says on stderr that its heap is full; here that is an error of the caller's.
    stdio,
    // No NODE_OPTIONS: what this process is debugged or measured with is not for the worker.
    env: libraryPath === undefined ? {} : { LD_LIBRARY_PATH: libraryPath },
    cwd: tmpdir(),
  })
  running.add(worker)
  worker.on('error', () => {}) // while nobody waits; who waits is told by its exit
  worker.once('exit', () => running.delete(worker))
  return worker
}

export class LimitedWorker {
  readonly #module: string
  readonly #options: LimitedWorkerOptions
  #worker: ChildProcess | undefined
  #last: Promise<unknown> = Promise.resolve()

  /** `module`: a file that calls `serveRequests`. */
  constructor(module: URL, options: LimitedWorkerOptions) {
    this.#module = fileURLToPath(module)
    this.#options = options
  }

  /**
   * What the worker answers. Rejects with a plain Error of its message where the work threw, and with a WorkerFailure
   * where the worker had to be ended.
   */
  call<Result>(request: object, timeoutMs: number): Promise<Result> {
    const result = this.#last.then(() => this.#run(request, timeoutMs))
    this.#last = result.catch(() => {})
    return result as Promise<Result>
  }

  /** Ends the worker after the calls so far; a later call starts another one. */
  close(): void {
    this.#last = this.#last.then(() => this.#end())
  }

  async #run(request: object, timeoutMs: number): Promise<unknown> {
    const worker = this.#worker ?? (await this.#start())
    return await this.#reply(worker, timeoutMs, () => worker.send(request))
  }

  async #start(): Promise<ChildProcess> {
    const worker = startLimited(this.#module, this.#options)
    worker.once('exit', () => {
      if (this.#worker === worker) this.#worker = undefined
    })
    this.#worker = worker
    await this.#reply(worker, startLimitMs, () => {})
    return worker
  }

  #end(): void {
    this.#worker?.kill('SIGKILL')
    this.#worker = undefined
  }

  #reply(worker: ChildProcess, timeoutMs: number, begin: () => void): Promise<unknown> {
    worker.ref()
    worker.channel?.ref()
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        worker.off('message', onMessage).off('error', onError).off('exit', onExit)
        worker.unref()
        worker.channel?.unref()
        settle()
      }
      const onMessage = (reply: unknown) =>
        finish(() => {
          const { error, value } = reply as { error?: string; value?: unknown }
          if (error === undefined) resolve(value)
          else reject(new Error(error))
        })
      const onError = (error: Error) => finish(() => reject(new WorkerFailure('crash', error.message)))
      const onExit = (_: number | null, signal: string | null) =>
        finish(() => {
          const full = signal === 'SIGABRT' || signal === 'SIGTRAP'
          const message = full ? `needs more than ${this.#options.heapMb} MiB of memory` : 'the worker ended'
          reject(new WorkerFailure(full ? 'memory' : 'crash', message))
        })
      const timer = setTimeout(() => {
        this.#end()
        finish(() => reject(new WorkerFailure('time', `takes longer than ${timeoutMs / 1000} s`)))
      }, timeoutMs)
      worker.on('message', onMessage).on('error', onError).on('exit', onExit)
      begin()
    })
  }
}

/** The other side: answers each request of a LimitedWorker. Call it once, in the worker's module. */
export function serveRequests<Request>(answer: (request: Request) => unknown): void {
  const send = (reply: Reply) => process.send?.(reply)
  process.on('message', async (request: Request) => {
    try {
      send({ value: await answer(request) })
    } catch (error) {
      send({ error: error instanceof Error ? error.message : String(error) })
    }
  })
  outliveSignals()
  send({ ready: true })
}

/** In a worker: it ends when the process that started it does, and not before. */
export function outliveSignals(): void {
  // Ctrl-C in a terminal and the end of a batch job reach every process; whether to stop is decided by the one that asked.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  process.once('disconnect', () => process.exit())
}
