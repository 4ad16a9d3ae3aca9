// The folder of an evaluation: its settings, and a line per sample as it comes, so that one that was stopped goes on.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { CheckpointError, ModelFileError } from '../errors.js'
import { writeError, writeFileDurable } from '../io/atomic.js'
import { memberOf } from '../policy/chat-template.js'
import { JsonLines } from '../training/json-lines.js'
import { RunLock } from '../training/run-lock.js'
import { readJsonFile } from '../training/small-files.js'

/** What the samples follow from, beside their prompts. */
export interface SampleSettings {
  /** Of the weights and the configuration. */
  checkpoint: string
  temperature: number
  topP: number
  maxTokens: number
  seed: number
  ropeTheta: number | null
  maxPositions: number | null
}

export interface SampleRecord {
  benchmark: string
  /** Of the prompt and its answer. */
  key: string
  /** Number of the prompt's sample. */
  sample: number
  correct: boolean
  reason: string
  tokens: number
  finishReason: 'stop' | 'length'
  /** Since the sample before it: their sum is the time of sampling. */
  seconds: number
}

const settingsName = 'settings.json'
export const samplesName = 'samples.jsonl'
const lengthOfEnds = 2 ** 20

export class SampleLog {
  readonly folder: string
  readonly #lines: JsonLines
  readonly #lock: RunLock
  readonly #records = new Map<string, SampleRecord>()

  private constructor(folder: string, lines: JsonLines, lock: RunLock) {
    this.folder = folder
    this.#lines = lines
    this.#lock = lock
  }

  /**
   * Opens the folder, or makes it, and reads the samples that are there.
   *
   * @throws {CheckpointError} where it holds samples of other settings, is in use, or cannot be read
   */
  static async open(folder: string, settings: SampleSettings): Promise<SampleLog> {
    await mkdir(folder, { recursive: true }).catch(async error => {
      throw await writeError(error, folder, 0)
    })
    const lock = await RunLock.acquire(folder)
    try {
      await compareSettings(folder, settings)
      const lines = await JsonLines.open(join(folder, samplesName))
      const log = new SampleLog(folder, lines, lock)
      try {
        await log.#read()
      } catch (error) {
        await lines.close()
        throw error
      }
      return log
    } catch (error) {
      lock.release()
      throw error
    }
  }

  get(key: string, sample: number): SampleRecord | undefined {
    return this.#records.get(`${key}/${sample}`)
  }

  /** Writes a sample, with what is worth reading but not needed for the figures. */
  async add(
    record: SampleRecord,
    texts: { answer: string; prompt: string; completion: string },
  ): Promise<void> {
    this.#records.set(`${record.key}/${record.sample}`, record)
    await this.#lines.append({ ...record, ...texts })
  }

  async close(): Promise<void> {
    try {
      await this.#lines.sync()
      await this.#lines.close()
    } finally {
      this.#lock.release()
    }
  }

  async #read(): Promise<void> {
    const path = join(this.folder, samplesName)
    let number = 0
    for await (const line of createInterface({
      input: createReadStream(path),
      crlfDelay: Number.POSITIVE_INFINITY,
    })) {
      number += 1
      const record = recordOf(line)
      if (record === undefined) {
        throw new CheckpointError(`${path}:${number}: is no sample of an evaluation`, {
          path,
          hint: 'remove the line, or evaluate into another folder',
        })
      }
      this.#records.set(`${record.key}/${record.sample}`, record)
    }
  }
}

function recordOf(line: string): SampleRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  const [benchmark, key, reason, finishReason] = ['benchmark', 'key', 'reason', 'finishReason'].map(name =>
    memberOf(value, name),
  )
  const [sample, tokens, seconds] = ['sample', 'tokens', 'seconds'].map(name => memberOf(value, name))
  const correct = memberOf(value, 'correct')
  if (typeof benchmark !== 'string' || typeof key !== 'string' || typeof reason !== 'string') return undefined
  if (finishReason !== 'stop' && finishReason !== 'length') return undefined
  if (!isCount(sample) || !isCount(tokens) || typeof seconds !== 'number') return undefined
  if (typeof correct !== 'boolean') return undefined
  return { benchmark, key, sample, correct, reason, tokens, finishReason, seconds }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

async function compareSettings(folder: string, settings: SampleSettings): Promise<void> {
  const path = join(folder, settingsName)
  const earlier = await readJsonFile(path)
  if (earlier === undefined) {
    await writeFileDurable(path, `${JSON.stringify(settings, undefined, 2)}\n`)
    return
  }
  const changed = Object.entries(settings).filter(([name, value]) => memberOf(earlier, name) !== value)
  if (changed.length === 0) return
  const list = changed.map(
    ([name, value]) => `${name} was ${JSON.stringify(memberOf(earlier, name))}, is ${value}`,
  )
  throw new CheckpointError(`${folder}: holds an evaluation with other settings: ${list.join('; ')}`, {
    path,
    hint: 'evaluate into another folder (--out), or with those settings',
  })
}

/** A name for the weights of a folder: its configuration, and size, beginning and end of each of its weight files. */
export async function checkpointIdentity(folder: string): Promise<string> {
  const hash = createHash('sha256')
  const names = (await readdir(folder))
    .filter(name => name === 'config.json' || name.endsWith('.safetensors'))
    .sort()
  for (const name of names) {
    if (name === 'optimizer.safetensors') continue
    const path = join(folder, name)
    try {
      const handle = await open(path, 'r')
      try {
        const { size } = await handle.stat()
        const length = Math.min(size, lengthOfEnds)
        const ends = Buffer.alloc(2 * length)
        await handle.read(ends, 0, length, 0)
        await handle.read(ends, length, length, size - length)
        hash.update(`${name}\0${size}\0`).update(ends)
      } finally {
        await handle.close()
      }
    } catch (error) {
      throw new ModelFileError(`${path}: ${(error as Error).message}`, { path, cause: error })
    }
  }
  return hash.digest('hex').slice(0, 24)
}
