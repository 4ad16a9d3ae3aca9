// The peer process: benchmarks/onednn/roofs.cpp, built with g++ on first use (with oneDNN where libdnnl-dev is
// installed) and asked line by line, so that its timings stand between ours in the same minute on the same cores.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { packageRoot } from '../lib/native-loader.js'
import { mean } from './statistics.js'

export interface ProductShape {
  m: number
  n: number
  k: number
  /** A is given as [K, M]; B as [N, K]. */
  transposeA: boolean
  transposeB: boolean
}

export class Peer {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterableIterator<string>
  readonly #reader: Interface
  /** Its version, or null where it was built without. */
  readonly onednn: string | null

  private constructor(
    child: ChildProcess,
    reader: Interface,
    lines: AsyncIterableIterator<string>,
    onednn: string | null,
  ) {
    this.#child = child
    this.#reader = reader
    this.#lines = lines
    this.onednn = onednn
  }

  /** Builds and starts it. Returns a sentence when there is no compiler. */
  static async start(threads: number): Promise<Peer | string> {
    let program: string
    try {
      program = build()
    } catch (error) {
      return `the peer program does not build, so there are no roofs: ${(error as Error).message.split('\n')[0]}`
    }
    const child = spawn(program, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, OMP_NUM_THREADS: String(threads) },
    })
    const reader = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const lines = reader[Symbol.asyncIterator]() as AsyncIterableIterator<string>
    const hello = await lines.next()
    if (hello.done) return 'the peer program ended at once, so there are no roofs'
    return new Peer(child, reader, lines, (JSON.parse(hello.value) as { onednn: string | null }).onednn)
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Bytes per second of reading an array of `bytes`. */
  async readBandwidth(bytes: number): Promise<number> {
    return bytes / mean(await this.#ask(`read ${bytes} ${repeatsFor(bytes)}`))
  }

  /** Bytes per second, read and written, of scaling an array of `bytes` in place. */
  async scaleBandwidth(bytes: number): Promise<number> {
    return (2 * bytes) / mean(await this.#ask(`scale ${bytes} ${repeatsFor(bytes)}`))
  }

  /** Seconds of each of `repeats` products by oneDNN. */
  product(shape: ProductShape, repeats: number): Promise<number[]> {
    const { m, n, k, transposeA, transposeB } = shape
    return this.#ask(`matmul ${m} ${n} ${k} ${Number(transposeA)} ${Number(transposeB)} ${repeats}`)
  }

  async #ask(request: string): Promise<number[]> {
    this.#child.stdin?.write(`${request}\n`)
    const line = await this.#lines.next()
    if (line.done) throw new Error('the peer program ended')
    const answer = JSON.parse(line.value) as { seconds?: number[]; error?: string }
    if (answer.seconds === undefined) throw new Error(`peer, ${request}: ${answer.error}`)
    return answer.seconds
  }

  stop(): void {
    this.#child.stdin?.end()
    this.#reader.close()
  }
}

function build(): string {
  const source = join(packageRoot, 'benchmarks/onednn/roofs.cpp')
  const folder = join(packageRoot, 'build/benchmarks')
  const withOneDnn = ['/usr/include/dnnl.hpp', '/usr/local/include/dnnl.hpp'].some(path => existsSync(path))
  const program = join(folder, withOneDnn ? 'roofs-onednn' : 'roofs')
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return program
  mkdirSync(folder, { recursive: true })
  // Never shipped, so it may be made for this very processor.
  const flags = ['-O3', '-march=native', '-std=c++17', '-ffast-math', '-fopenmp', source, '-o', program]
  execFileSync('g++', withOneDnn ? ['-DWITH_ONEDNN', ...flags, '-ldnnl'] : flags, { stdio: 'pipe' })
  return program
}

// Enough passes for some 40 ms: a mean over a while meets the machine as the cases do.
function repeatsFor(bytes: number): number {
  return Math.max(5, Math.min(1000, Math.round(2.4e9 / bytes)))
}
