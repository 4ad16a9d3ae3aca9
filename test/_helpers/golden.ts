// The golden cases (test/golden/README.md): float64 references computed by automatic differentiation.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Objective } from '../../lib/index.js'

/** test/golden of the package, from dist/test/_helpers. */
export const goldenFolder = join(dirname(fileURLToPath(import.meta.url)), '../../../test/golden')

export function readGolden<T>(name: string): T {
  return JSON.parse(readFileSync(join(goldenFolder, name), 'utf8')) as T
}

export interface GoldenConfig {
  clip: boolean
  clip_low?: number
  clip_high?: number
  shaping: 'none' | 'regularized' | 'sqrt' | 'pow'
  gamma?: number
  power?: number
  off_max?: number
  reduction: 'constant' | 'token-mean' | 'sequence-mean'
  constant?: number
  beta?: number
  entropy_coef?: number
  teacher?: boolean
}

/** A golden case's `config` as an objective. */
export function goldenObjective(config: GoldenConfig): Objective {
  return {
    ...(config.clip ? { clip: { low: config.clip_low as number, high: config.clip_high as number } } : {}),
    shaping: {
      kind: config.shaping === 'pow' ? 'power' : config.shaping,
      ...(config.gamma === undefined ? {} : { gamma: config.gamma }),
      ...(config.power === undefined ? {} : { exponent: config.power }),
    },
    ...(config.off_max === undefined ? {} : { offPolicyCap: config.off_max }),
    reduction: {
      kind: config.reduction,
      ...(config.reduction === 'constant' ? { divisor: config.constant as number } : {}),
    },
    klCoef: config.beta ?? 0,
    entropyCoef: config.entropy_coef ?? 0,
  }
}

/** Rows as one array with its shape. */
export function matrix(rows: number[][]): { data: Float32Array; shape: [number, number] } {
  return { data: Float32Array.from(rows.flat()), shape: [rows.length, rows[0]?.length ?? 0] }
}

/** Largest difference, as a share of the largest expected value (0 expected: absolute). */
export function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let largest = 0
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i] as number))
    const difference = Math.abs((got[i] as number) - (expected[i] as number))
    worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(worst, difference)
  }
  return got.length !== expected.length ? Number.POSITIVE_INFINITY : worst / (largest || 1)
}
