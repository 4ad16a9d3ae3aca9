// The folder of a run: runs/<name>/ with its lock, config.yaml (resolved), run.json (versions, device, seed, resumes),
// metrics.jsonl, completions/ and checkpoint-N/ (see checkpoint.ts).
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { parse, stringify } from 'yaml'
import { CheckpointError } from '../errors.js'
import { makeFolder, writeError, writeFileDurable } from '../io/atomic.js'
import { JsonLines } from './json-lines.js'
import { type MetricRecord, metricRecord, type StepMetrics } from './metrics.js'
import { RunLock } from './run-lock.js'
import { readJsonFile, readTextFile } from './small-files.js'

export interface RunFolderOptions {
  /** Folder of all runs. */
  outputDir: string
  /** Name of this run: one path component. */
  name: string
  /** The resolved configuration: plain JSON values. */
  config: Record<string, unknown>
  /** What run.json says beside node and platform: versions, device, seed, commit. */
  info?: Record<string, unknown>
  /** auto: go on in a folder that is there. never: refuse it. */
  resume: 'auto' | 'never'
  /** Dotted names of options that may differ from the configuration in the folder; changes are kept in run.json. */
  allowChanged?: readonly string[]
}

/** A sampled response or a demonstration, as completions/ shows it. */
export interface CompletionRow {
  prompt: string
  completion: string
  reward: number | null
  reason?: string
  /** Number of its group within the step. */
  group: number
  source: 'on' | 'off'
  advantage: number | null
  finishReason: string
  tokens?: readonly number[]
  /** Of the tokens, under the policy: of a sample when it was drawn, of a demonstration when it was trained on. */
  logProbs?: readonly number[]
  /** The text of each token. */
  pieces?: readonly string[]
}

export interface ConfigChange {
  option: string
  from: unknown
  to: unknown
}

export class RunFolder {
  readonly path: string
  /** Whether the folder was there before. */
  readonly resumed: boolean
  /** Lines to print: a lock that was taken over, options that changed, log lines that were cut. */
  readonly notices: string[] = []
  readonly lock: RunLock
  #metrics: JsonLines | undefined

  private constructor(path: string, resumed: boolean, lock: RunLock) {
    this.path = path
    this.resumed = resumed
    this.lock = lock
    if (lock.notice !== undefined) this.notices.push(lock.notice)
  }

  /**
   * Creates or reopens a run folder and takes its lock. Throws CheckpointError when it is locked, when it is there and
   * `resume` is never, when an option that may not change has another value (each is named), or when the disk refuses.
   * After it, call `startAt` before the first step.
   */
  static async open(options: RunFolderOptions): Promise<RunFolder> {
    if (!/^[^/\\\0]+$/.test(options.name) || options.name === '.' || options.name === '..') {
      throw new RangeError(`name: expected one path component, got ${JSON.stringify(options.name)}`)
    }
    const path = join(options.outputDir, options.name)
    await makeFolder(path)
    const lock = await RunLock.acquire(path)
    try {
      const saved = await readConfig(join(path, 'config.yaml'))
      const run = new RunFolder(path, saved !== undefined, lock)
      if (saved === undefined) await run.#create(options)
      else await run.#reopen(options, saved)
      return run
    } catch (error) {
      lock.release()
      throw error
    }
  }

  async #create(options: RunFolderOptions): Promise<void> {
    await this.#writeInfo({
      name: options.name,
      ...options.info,
      node: process.version,
      platform: platform(),
      resumes: [],
    })
    // Last, because its presence says that the folder is a run.
    await writeFileDurable(join(this.path, 'config.yaml'), stringify(options.config))
  }

  async #reopen(options: RunFolderOptions, saved: unknown): Promise<void> {
    const changes = allowedChanges(this.path, options, saved)
    for (const change of changes) this.notices.push(`option changed: ${changeText(change)}`)
    const info = await this.info()
    const resumes = Array.isArray(info.resumes) ? info.resumes : []
    await this.#writeInfo({
      ...info,
      resumes: [...resumes, { at: new Date().toISOString(), ...options.info, changes }],
    })
    if (changes.length > 0) await writeFileDurable(join(this.path, 'config.yaml'), stringify(options.config))
  }

  /** The content of run.json. */
  async info(): Promise<Record<string, unknown>> {
    return ((await readJsonFile(join(this.path, 'run.json'))) ?? {}) as Record<string, unknown>
  }

  async #writeInfo(info: Record<string, unknown>): Promise<void> {
    await writeFileDurable(join(this.path, 'run.json'), `${JSON.stringify(info, null, 2)}\n`)
  }

  /**
   * Opens the logs for a run that goes on after `step`: metrics.jsonl is cut to the length that the checkpoint
   * recorded, completions of later steps are removed. `{ step: 0, metricsBytes: 0 }` starts from nothing.
   */
  async startAt(position: { step: number; metricsBytes: number }): Promise<void> {
    const path = join(this.path, 'metrics.jsonl')
    await this.#metrics?.close()
    this.#metrics = await JsonLines.open(path, position.metricsBytes)
    if (this.#metrics.notice !== undefined) this.notices.push(this.#metrics.notice)
    const folder = join(this.path, 'completions')
    try {
      await mkdir(folder, { recursive: true })
      for (const name of await readdir(folder)) {
        const step = /^completions_(\d+)\.jsonl(\.tmp)?$/.exec(name)
        if (step && (Number(step[1]) > position.step || step[2])) await rm(join(folder, name))
      }
    } catch (error) {
      throw await writeError(error, folder, 0)
    }
  }

  /** Appends a step's row to metrics.jsonl and returns it. */
  async appendMetrics(metrics: StepMetrics): Promise<MetricRecord> {
    const record = metricRecord(metrics)
    await this.#log().append(record)
    return record
  }

  /** Makes metrics.jsonl durable and returns its length in bytes, for the checkpoint to record. */
  async syncMetrics(): Promise<number> {
    const log = this.#log()
    await log.sync()
    return log.byteLength
  }

  /** Writes completions/completions_<step>.jsonl, one line per response, replacing what an earlier try left there. */
  async writeCompletions(step: number, rows: readonly CompletionRow[]): Promise<string> {
    const path = join(this.path, 'completions', `completions_${String(step).padStart(5, '0')}.jsonl`)
    async function* lines() {
      for (const row of rows) {
        yield `${JSON.stringify(completionRecord(step, row))}\n`
        await new Promise(resolve => setImmediate(resolve))
      }
    }
    try {
      // Not fsynced: a torn file is written again when the run resumes before this step.
      await writeFile(`${path}.tmp`, lines())
      await rename(`${path}.tmp`, path)
    } catch (error) {
      throw await writeError(error, path, 0)
    }
    return path
  }

  /** Closes the logs and gives the lock back. */
  async close(): Promise<void> {
    await this.#metrics?.close()
    this.#metrics = undefined
    this.lock.release()
  }

  #log(): JsonLines {
    if (this.#metrics === undefined)
      throw new CheckpointError(`${this.path}: startAt was not called, or the run is closed`)
    return this.#metrics
  }
}

/**
 * What a run would find in its folder, without a change to it: whether it is there, and as lines the options that would
 * change. Throws CheckpointError as `RunFolder.open` does, the lock of a living process included.
 */
export async function inspectRunFolder(
  options: RunFolderOptions,
): Promise<{ path: string; exists: boolean; notices: string[] }> {
  const path = join(options.outputDir, options.name)
  RunLock.refuseIfHeld(path)
  const saved = await readConfig(join(path, 'config.yaml'))
  const changes = saved === undefined ? [] : allowedChanges(path, options, saved)
  return {
    path,
    exists: saved !== undefined,
    notices: changes.map(change => `option changed: ${changeText(change)}`),
  }
}

/** Steps of the checkpoints in a run folder, newest first, whatever their state; none where there is no such folder. */
export async function checkpointSteps(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(() => [])
  return names
    .flatMap(name => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a)
}

/** How a configuration differs from the one in the folder. Throws CheckpointError where it may not. */
function allowedChanges(path: string, options: RunFolderOptions, saved: unknown): ConfigChange[] {
  if (options.resume === 'never') {
    throw new CheckpointError(`${path}: there is a run of this name`, {
      path,
      hint: 'resume it, or choose another name',
    })
  }
  // The same trip through YAML, so that what YAML cannot tell apart is no change.
  const changes = configChanges(saved, parse(stringify(options.config)))
  const refused = changes.filter(change => !allows(options.allowChanged ?? [], change.option))
  if (refused.length > 0) {
    throw new CheckpointError(
      `${path}: the configuration has changed: ${refused.map(changeText).join('; ')}`,
      {
        path,
        hint: 'use the saved values (config.yaml there), or another runName',
        details: { changes: refused },
      },
    )
  }
  return changes
}

/** The first of `base`, `base-2`, `base-3`, ... that is not in the folder yet. */
export async function freeRunName(outputDir: string, base: string): Promise<string> {
  const taken = new Set(await readdir(outputDir).catch(() => []))
  let name = base
  for (let number = 2; taken.has(name); number++) name = `${base}-${number}`
  return name
}

/** The options in which two configurations differ, by dotted name, in the order of their names. */
export function configChanges(from: unknown, to: unknown, prefix = ''): ConfigChange[] {
  if (isRecord(from) && isRecord(to)) {
    const names = [...new Set([...Object.keys(from), ...Object.keys(to)])].sort()
    return names.flatMap(name =>
      configChanges(own(from, name), own(to, name), prefix === '' ? name : `${prefix}.${name}`),
    )
  }
  return isDeepStrictEqual(from, to) ? [] : [{ option: prefix, from, to }]
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function own(record: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined
}

function allows(allowed: readonly string[], option: string): boolean {
  return allowed.some(name => option === name || option.startsWith(`${name}.`))
}

function changeText(change: ConfigChange): string {
  return `${change.option} was ${JSON.stringify(change.from)}, is ${JSON.stringify(change.to)}`
}

async function readConfig(path: string): Promise<unknown> {
  const text = await readTextFile(path)
  if (text === undefined) return undefined
  try {
    return parse(text) ?? {}
  } catch (error) {
    throw new CheckpointError(`${path}: ${String(error)}`, { path, cause: error })
  }
}

function completionRecord(step: number, row: CompletionRow): Record<string, unknown> {
  const { finishReason, tokens, logProbs, pieces, ...rest } = row
  return { step, ...rest, finish_reason: finishReason, token_ids: tokens, logprobs: logProbs, pieces }
}

function platform(): string {
  return `${process.platform}-${process.arch}`
}
