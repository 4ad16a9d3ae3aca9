// The PyTorch cases beside ours (--peers): one child process each, right after our case of the same name.
import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { native } from '../lib/native.js'
import { packageRoot } from '../lib/native-loader.js'
import type { Row } from './bench.js'

const python = '/usr/bin/python3'
// OpenBLAS 0.3.21 does not know newer processors with AVX-512 and would use AVX2 there.
const openBlas =
  native().systemInfo().isas.includes('avx512') && process.env.OPENBLAS_CORETYPE === undefined
    ? { OPENBLAS_CORETYPE: 'SkylakeX' }
    : {}
const named = new Set([
  'logits-policy-loss 512x32000',
  'logits-policy-loss 128x151936',
  'train-step 16x256',
  'train-step 256x64',
  'sample 16x16+48',
  'sample 256x16+48',
])

export class PyTorch {
  readonly #threads: number
  readonly version: string

  private constructor(threads: number, version: string) {
    this.#threads = threads
    this.version = version
  }

  /** Undefined where python3 has no torch. */
  static find(threads: number): PyTorch | undefined {
    try {
      const version = execFileSync(python, ['-c', 'import torch; print(torch.__version__)'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      return new PyTorch(threads, version.trim())
    } catch {
      return undefined
    }
  }

  /** Adds PyTorch's time, and how much faster ours is, to the first row of a case that it has too. */
  async compare(name: string, rows: readonly Row[]): Promise<void> {
    const row = rows[0]
    if (!named.has(name) || row?.seconds === undefined) return
    const script = join(packageRoot, 'benchmarks/pytorch/compare.py')
    const { stdout } = await promisify(execFile)(python, [script, String(this.#threads), name], {
      env: { ...process.env, ...openBlas, OMP_NUM_THREADS: String(this.#threads) },
    })
    const answer = JSON.parse(stdout) as { seconds: Record<string, number>; matrixGflops: number }
    const seconds = answer.seconds[name] as number
    row.details = {
      ...row.details,
      pytorchSeconds: seconds,
      pytorchMatrixGflops: answer.matrixGflops,
      timesFasterThanPyTorch: seconds / row.seconds.median,
    }
  }
}
