// The base policy that all runs of a comparison start from: a folder that is there, or one made from a recipe and kept.
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hashFile, makeFolder } from '../io/atomic.js'
import { exists } from '../io/regular-file.js'
import { Device } from '../tensor/device.js'
import { makeBase } from '../training/base-recipe.js'
import type { ResolvedCompareConfig } from './compare-config.js'
import { baseRecipe } from './task-module.js'

export interface Base {
  folder: string
  /** Of its files: runs of another base are other runs. */
  digest: string
  /** Seconds that it took to make; undefined where it was there. */
  seconds?: number
}

export interface BaseOptions {
  signal?: AbortSignal | undefined
  onStep?: ((step: number, steps: number, loss: number | undefined) => unknown) | undefined
}

/** Makes the base where it is not there yet. Throws what `makeBase` throws, AbortedError included. */
export async function prepareBase(config: ResolvedCompareConfig, options: BaseOptions = {}): Promise<Base> {
  if (typeof config.base === 'string') return { folder: config.base, digest: await digestOf(config.base) }
  const recipe = await baseRecipe(config.module, config.base)
  const { tokenizer, sample, ...numbers } = recipe
  // Some of its texts stand for the code that makes them.
  const texts = Array.from({ length: 64 }, (_, i) => sample(i))
  const bases = join(config.outputDir, 'bases')
  const folder = join(bases, hashOf({ numbers, texts, vocabSize: tokenizer.vocabSize }))
  if (await exists(join(folder, 'config.json'))) return { folder, digest: await digestOf(folder) }
  await makeFolder(bases)
  const started = performance.now()
  await using device = await Device.open('auto')
  await makeBase(recipe, folder, {
    device,
    signal: options.signal,
    onStep: ({ step, loss }) => options.onStep?.(step, recipe.steps, loss),
  })
  return { folder, digest: await digestOf(folder), seconds: (performance.now() - started) / 1000 }
}

/** Of what a model folder holds; a folder that is not there is the runs' own error. */
async function digestOf(folder: string): Promise<string> {
  const names = await readdir(folder).catch(() => [])
  const files = names.filter(name => name === 'config.json' || name.endsWith('.safetensors')).sort()
  return hashOf(
    await Promise.all(files.map(async name => [name, (await hashFile(join(folder, name))).sha256])),
  )
}

/** Sixteen digits that name a value of plain JSON. */
export function hashOf(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(value)))
    .digest('hex')
    .slice(0, 16)
}

/** The same value with the names of its objects in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, inner]) => [name, sorted(inner)]),
  )
}
