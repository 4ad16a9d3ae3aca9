// The two policies of the benchmark and random sequences for them.
import type { PolicyOptions } from '../lib/index.js'

/** 15.7 M parameters. */
export const mediumPolicy: PolicyOptions = {
  architecture: 'qwen2',
  vocabSize: 8192,
  hiddenSize: 384,
  layers: 8,
  heads: 6,
  kvHeads: 2,
  intermediateSize: 1024,
  tieWordEmbeddings: true,
}

/** 0.86 M parameters. */
export const smallPolicy: PolicyOptions = {
  architecture: 'qwen2',
  vocabSize: 64,
  hiddenSize: 128,
  layers: 4,
  heads: 4,
  kvHeads: 4,
  intermediateSize: 384,
  tieWordEmbeddings: true,
}

/** Uniform token ids from a small generator. */
export function randomTokens(length: number, vocabSize: number, seed: number): Int32Array {
  let state = (Math.imul(seed + 1, 2654435761) ^ 0x5bd1e995) | 0
  return Int32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 9) % vocabSize
  })
}

/** "15.7 M" */
export function millions(parameters: number): string {
  return `${(parameters / 1e6).toFixed(parameters < 1e7 ? 2 : 1)} M`
}
