// Durable checkpoints: checkpoint-N/ is whole and verified or it is not there. Its content is written by callbacks into
// checkpoint-N.tmp-<pid>/; every file is fsynced, manifest.json with sizes and sha256 comes last, the folder is fsynced
// and renamed, its parent fsynced, and only then are older ones removed. Dying between any two system calls leaves a
// checkpoint that loads, if there ever was one.
import { createHash } from 'node:crypto'
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import { checkFreeSpace, hashFile, syncDirectory, writeError, writeFileDurable } from '../io/atomic.js'
import { fault } from '../io/fault.js'
import { readJsonFile } from './small-files.js'

/** Writes a part of a checkpoint into a folder: any files, in folders of its own where it likes. It need not fsync. */
export type CheckpointWriter = (folder: string) => void | Promise<void>

export interface Checkpoint {
  step: number
  folder: string
}

export interface SavedCheckpoint extends Checkpoint {
  bytes: number
  /** Folders of older checkpoints that were removed after it. */
  pruned: string[]
}

export interface CorruptCheckpoint extends Checkpoint {
  /** What is wrong, with the file's name. */
  reason: string
}

/** The best checkpoint so far by a validation metric. */
export interface BestCheckpoint {
  step: number
  metric: string
  value: number
}

export interface CheckpointStoreOptions {
  /** How many verified checkpoints to keep, at least 1; the best one and those named at `save` are kept besides. */
  keep: number
  /** Called before anything is replaced or removed; throws when this process has lost the run's lock. */
  assertHeld?: () => void
}

interface ManifestFile {
  bytes: number
  sha256: string
}

interface Manifest {
  format: string
  version: number
  step: number
  files: Record<string, ManifestFile>
}

const MANIFEST = 'manifest.json'
const FORMAT = 'luffy-checkpoint'

/** The checkpoints of one run folder. One process at a time may use it: the run's lock sees to that. */
export class CheckpointStore {
  readonly runFolder: string
  readonly #keep: number
  readonly #assertHeld: () => void
  /** Folders verified in this process, with the identity of the manifest that was verified. */
  readonly #verified = new Map<string, string>()

  constructor(runFolder: string, options: CheckpointStoreOptions) {
    if (
      options.keep !== Number.POSITIVE_INFINITY &&
      (!Number.isSafeInteger(options.keep) || options.keep < 1)
    ) {
      throw new RangeError(`keep: expected an integer of at least 1, or Infinity, got ${options.keep}`)
    }
    this.runFolder = runFolder
    this.#keep = options.keep
    this.#assertHeld = options.assertHeld ?? (() => undefined)
  }

  /**
   * Writes checkpoint-<step>/ and then removes old ones. A checkpoint of the same step is replaced.
   * `writers` run one after the other. `protect`: steps that must not be removed, such as the one resumed from.
   * `expectedBytes`: refuse before writing when the disk has not that much room.
   * Throws CheckpointError with the system's code (ENOSPC, EROFS, ...); the temporary folder is gone then, and older
   * checkpoints are as they were. Errors of the writers that are not the disk's come through as they are.
   */
  async save(
    step: number,
    writers: readonly CheckpointWriter[],
    options: { protect?: readonly number[]; expectedBytes?: number } = {},
  ): Promise<SavedCheckpoint> {
    if (!Number.isSafeInteger(step) || step < 0)
      throw new RangeError(`step: expected an integer of at least 0, got ${step}`)
    const folder = join(this.runFolder, `checkpoint-${step}`)
    const temporary = `${folder}.tmp-${process.pid}`
    let bytes: number
    try {
      this.#assertHeld()
      await checkFreeSpace(this.runFolder, options.expectedBytes ?? 0)
      await rm(temporary, { recursive: true, force: true })
      await mkdir(temporary)
      fault('folder-made')
      for (const write of writers) {
        await write(temporary)
        fault('part-written')
      }
      bytes = await seal(temporary, step)
      this.#assertHeld()
      await this.#publish(temporary, folder)
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined)
      throw isSystemError(error) ? await writeError(error, folder, options.expectedBytes ?? 0) : error
    }
    await this.#isVerified(folder)
    return { step, folder, bytes, pruned: await this.prune(options.protect) }
  }

  /** Moves a sealed folder to its name. Nothing is ever written into a finished folder. */
  async #publish(temporary: string, folder: string): Promise<void> {
    const replaced = `${folder}.replaced-${process.pid}`
    const occupied = await exists(folder)
    if (occupied) {
      await rm(replaced, { recursive: true, force: true })
      await rename(folder, replaced)
      fault('old-moved')
    }
    try {
      await rename(temporary, folder)
    } catch (error) {
      if (occupied) await rename(replaced, folder)
      throw error
    }
    fault('folder-renamed')
    await syncDirectory(this.runFolder)
    fault('parent-synced')
    if (occupied) await this.#remove(replaced)
  }

  /** All folders named checkpoint-N, newest step first, whatever their state. Order is by step, never by time. */
  async list(): Promise<Checkpoint[]> {
    const names = await readdir(this.runFolder).catch(async error => {
      throw await writeError(error, this.runFolder, 0)
    })
    return names
      .flatMap(name => {
        const match = /^checkpoint-(\d+)$/.exec(name)
        return match ? [{ step: Number(match[1]), folder: join(this.runFolder, name) }] : []
      })
      .sort((a, b) => b.step - a.step)
  }

  /** The newest checkpoint that verifies, and the newer ones that do not. */
  async newestVerified(): Promise<{ checkpoint: Checkpoint | undefined; corrupt: CorruptCheckpoint[] }> {
    const corrupt: CorruptCheckpoint[] = []
    for (const checkpoint of await this.list()) {
      const reason = await verifyCheckpoint(checkpoint.folder)
      if (reason === undefined) return { checkpoint, corrupt }
      corrupt.push({ ...checkpoint, reason })
    }
    return { checkpoint: undefined, corrupt }
  }

  /**
   * Where to resume, after a sweep: the newest verified checkpoint, or undefined when there is none at all, with lines
   * to print that name what was swept and what is corrupt. Throws CheckpointError when there are checkpoints and none
   * verifies; none is deleted.
   */
  async resumePoint(): Promise<{ checkpoint: Checkpoint | undefined; notices: string[] }> {
    const swept = await this.sweep()
    const { checkpoint, notices } = await this.verifiedPoint()
    if (swept.length > 0) notices.unshift(`swept what an interrupted save left: ${swept.join(', ')}`)
    return { checkpoint, notices }
  }

  /** The same without the sweep: changes nothing. */
  async verifiedPoint(): Promise<{ checkpoint: Checkpoint | undefined; notices: string[] }> {
    const { checkpoint, corrupt } = await this.newestVerified()
    const reasons = corrupt.map(({ folder, reason }) => `${folder} is corrupt: ${reason}`)
    if (checkpoint === undefined && corrupt.length > 0) {
      throw new CheckpointError(`no checkpoint verifies: ${reasons.join('; ')}`, {
        path: this.runFolder,
        hint: 'nothing was deleted; choose another run name to start anew',
      })
    }
    return { checkpoint, notices: reasons.map(reason => `${reason}; falling back to ${checkpoint?.folder}`) }
  }

  /**
   * Removes what interrupted saves left behind, and puts back a checkpoint whose replacement did not arrive. Done by
   * `resumePoint` at the start of a run, under its lock. Returns the names of what was removed or put back.
   */
  async sweep(): Promise<string[]> {
    this.#assertHeld()
    const swept: string[] = []
    for (const name of (await readdir(this.runFolder)).sort()) {
      const path = join(this.runFolder, name)
      const replaced = /^(checkpoint-\d+)\.replaced-\d+$/.exec(name)
      if (replaced) {
        const original = join(this.runFolder, replaced[1] as string)
        if (await exists(original)) await this.#remove(path)
        else await rename(path, original)
        swept.push(name)
      } else if (
        /^(checkpoint-\d+|config\.yaml|run\.json|best\.json|lock|lock\.takeover|diverged)\.tmp-[\w-]+$/.test(
          name,
        )
      ) {
        await rm(path, { recursive: true, force: true })
        swept.push(name)
      }
    }
    if (swept.length > 0) await syncDirectory(this.runFolder)
    return swept
  }

  /** Records a checkpoint as the best so far, in best.json. It is never pruned while it is recorded there. */
  async markBest(best: BestCheckpoint): Promise<void> {
    this.#assertHeld()
    await writeFileDurable(join(this.runFolder, 'best.json'), `${JSON.stringify(best)}\n`)
  }

  /** The checkpoint recorded as the best, or undefined. */
  async best(): Promise<BestCheckpoint | undefined> {
    const path = join(this.runFolder, 'best.json')
    const best = (await readJsonFile(path)) as BestCheckpoint | undefined
    if (best === undefined || Number.isSafeInteger(best?.step)) return best
    throw new CheckpointError(`${path}: expected an integer "step"`, { path })
  }

  /**
   * Removes verified checkpoints beyond the newest `keep`, except the best one and the protected steps. Folders that do
   * not verify are neither counted nor removed, so that crashes cannot push good ones out. Returns what was removed.
   */
  async prune(protect: readonly number[] = []): Promise<string[]> {
    const best = (await this.best())?.step
    const pruned: string[] = []
    let kept = 0
    for (const { step, folder } of await this.list()) {
      if (!(await this.#isVerified(folder))) continue
      kept++
      if (kept <= this.#keep || step === best || protect.includes(step)) continue
      this.#assertHeld()
      await this.#remove(folder)
      pruned.push(folder)
    }
    return pruned
  }

  /** Verifies a folder once per process; later only that its manifest is the same file and the sizes still hold. */
  async #isVerified(folder: string): Promise<boolean> {
    const identity = await manifestIdentity(folder)
    if (identity === undefined) return false
    const known = this.#verified.get(folder) === identity
    const reason = await verifyCheckpoint(folder, { sizesOnly: known })
    if (reason !== undefined) {
      this.#verified.delete(folder)
      return false
    }
    this.#verified.set(folder, identity)
    return true
  }

  /** Removes a folder by way of a temporary name, so that a half-removed one is never taken for a checkpoint. */
  async #remove(folder: string): Promise<void> {
    const name = /checkpoint-\d+/.exec(folder.slice(this.runFolder.length))?.[0]
    const doomed = join(this.runFolder, `${name}.tmp-${process.pid}`)
    try {
      await rename(folder, doomed)
      fault('old-doomed')
      await rm(doomed, { recursive: true, force: true })
      fault('old-removed')
    } catch (error) {
      throw await writeError(error, folder, 0)
    }
    this.#verified.delete(folder)
  }
}

/** A writer of one JSON file, such as trainer_state.json. NaN must have been turned into null before. */
export function jsonWriter(name: string, value: unknown): CheckpointWriter {
  return async folder => {
    await writeFileDurable(join(folder, name), `${JSON.stringify(value, null, 2)}\n`)
  }
}

/**
 * What is wrong with a checkpoint, or undefined when every file is there with the recorded size and sha256
 * (`sizesOnly` leaves out the sha256). Files beside the recorded ones are allowed. Links and devices are refused unread.
 */
export async function verifyCheckpoint(
  folder: string,
  options: { sizesOnly?: boolean } = {},
): Promise<string | undefined> {
  const manifest = await readManifest(folder)
  if (typeof manifest === 'string') return manifest
  if (!folder.endsWith(`checkpoint-${manifest.step}`)) return `${MANIFEST} says step ${manifest.step}`
  for (const [name, expected] of Object.entries(manifest.files)) {
    const path = join(folder, name)
    const status = await lstat(path).catch(() => undefined)
    if (status === undefined) return `${name} is missing`
    if (!status.isFile()) return `${name} is not a regular file`
    if (status.size !== expected.bytes) return `${name} has ${status.size} bytes, expected ${expected.bytes}`
    if (options.sizesOnly) continue
    const actual = await hashFile(path).catch((error: Error) => error)
    if (actual instanceof Error) return actual.message
    if (actual.sha256 !== expected.sha256) {
      return `${name} has sha256 ${actual.sha256.slice(0, 12)}..., expected ${String(expected.sha256).slice(0, 12)}...`
    }
  }
  return undefined
}

/** Fsyncs every file of a folder, writes the manifest and fsyncs the folders. Returns the bytes of the files. */
async function seal(folder: string, step: number): Promise<number> {
  const { files, folders } = await walk(folder)
  const manifest: Manifest = { format: FORMAT, version: 1, step, files: {} }
  let bytes = 0
  for (const name of files) {
    await syncFile(join(folder, name))
    fault('content-synced')
    const record = await hashFile(join(folder, name))
    manifest.files[name] = { bytes: record.bytes, sha256: record.sha256 }
    bytes += record.bytes
  }
  await writeFileDurable(
    join(folder, MANIFEST),
    `${JSON.stringify({ ...manifest, sha256: digest(manifest) }, null, 2)}\n`,
  )
  fault('manifest-written')
  for (const inner of folders) await syncDirectory(join(folder, inner))
  await syncDirectory(folder)
  fault('folder-synced')
  return bytes
}

/** Relative names, in a fixed order, of the files and the inner folders below a folder. */
async function walk(folder: string): Promise<{ files: string[]; folders: string[] }> {
  const files: string[] = []
  const folders: string[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const name = join(entry.parentPath, entry.name).slice(folder.length + 1)
    if (entry.isDirectory()) folders.push(name)
    else if (entry.isFile()) files.push(name)
    else
      throw new CheckpointError(`${name}: a checkpoint holds regular files only`, {
        path: join(folder, name),
      })
  }
  return { files: files.sort(), folders: folders.sort() }
}

/** Makes a file's bytes survive a power cut. */
async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** The manifest of a folder, or what is wrong with it. */
async function readManifest(folder: string): Promise<Manifest | string> {
  const path = join(folder, MANIFEST)
  let content: unknown
  try {
    content = await readJsonFile(path)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  if (content === undefined) return `${MANIFEST} is missing`
  if (typeof content !== 'object' || content === null) return `${MANIFEST} is not a manifest`
  const { sha256, ...manifest } = content as Manifest & { sha256?: unknown }
  if (manifest.format !== FORMAT || manifest.version !== 1)
    return `${MANIFEST} has an unknown format or version`
  if (typeof manifest.files !== 'object' || manifest.files === null || digest(manifest) !== sha256) {
    return `${MANIFEST} does not match its own sha256`
  }
  const outside = Object.keys(manifest.files).find(
    name => name.startsWith('/') || name.split(/[/\\]/).includes('..'),
  )
  return outside === undefined ? manifest : `${MANIFEST} names ${JSON.stringify(outside)}, outside the folder`
}

function digest(manifest: Manifest): string {
  return createHash('sha256').update(JSON.stringify(manifest)).digest('hex')
}

async function manifestIdentity(folder: string): Promise<string | undefined> {
  const status = await lstat(join(folder, MANIFEST)).catch(() => undefined)
  return status && `${status.ino}:${status.size}:${status.mtimeMs}`
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}
