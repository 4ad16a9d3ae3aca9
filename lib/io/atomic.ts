// Files that are either the old ones or the new ones after a crash or a power cut: written under another name, synced,
// renamed, and the folder synced (a rename without that can survive as a file of zeros).
import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, rename, stat, statfs, unlink } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { CheckpointError, LuffyError, throwIfAborted } from '../errors.js'
import { fault } from './fault.js'
import { danglingLink } from './folders.js'

/** What a finished file holds, as manifests record it. */
export interface FileRecord {
  name: string
  bytes: number
  sha256: string
}

let temporaryCount = 0

/** A name beside `path` that no other process and no other call uses; sweepers know it by `.tmp-`. */
export function temporaryPath(path: string): string {
  return `${path}.tmp-${process.pid}-${++temporaryCount}`
}

/**
 * A file that appears under its name, whole, when `commit` returns. Its sha256 is computed while it is written.
 * After any failure the temporary file is gone and the old file, if there was one, is untouched.
 */
export class DurableFile {
  readonly path: string
  readonly #temporary: string
  readonly #handle: FileHandle
  readonly #hash: Hash | undefined
  #bytes = 0
  #closed = false

  private constructor(path: string, temporary: string, handle: FileHandle, hash: Hash | undefined) {
    this.path = path
    this.#temporary = temporary
    this.#handle = handle
    this.#hash = hash
  }

  static async create(path: string, options: { sha256?: boolean } = {}): Promise<DurableFile> {
    const temporary = temporaryPath(path)
    // Its name would be taken from a device or a pipe: /dev/stdout is no place for a whole file.
    const there = await stat(path).catch(() => undefined)
    if (there !== undefined && !there.isFile() && !there.isDirectory()) {
      throw new CheckpointError(`${path}: is a device or a pipe, expected a regular file or none`, { path })
    }
    try {
      const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o666)
      return new DurableFile(
        path,
        temporary,
        handle,
        options.sha256 === false ? undefined : createHash('sha256'),
      )
    } catch (error) {
      throw await writeError(error, path, 0)
    }
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Appends. The bytes may be reused once the promise has resolved. */
  async write(bytes: Uint8Array): Promise<void> {
    try {
      await writeFully(this.#handle, bytes)
    } catch (error) {
      throw await writeError(error, this.path, this.#bytes + bytes.byteLength)
    }
    this.#hash?.update(bytes)
    this.#bytes += bytes.byteLength
  }

  /** Syncs the file, gives it its name and syncs the folder. */
  async commit(): Promise<FileRecord> {
    try {
      fault('file-written')
      await this.#handle.sync()
      await this.#close()
      fault('file-synced')
      await rename(this.#temporary, this.path)
      fault('file-renamed')
      await syncDirectory(dirname(this.path))
      fault('file-named')
    } catch (error) {
      await this.abort()
      throw await writeError(error, this.path, this.#bytes)
    }
    return { name: basename(this.path), bytes: this.#bytes, sha256: this.#hash?.digest('hex') ?? '' }
  }

  /** Gives up: removes the temporary file. Does nothing after a commit. */
  async abort(): Promise<void> {
    await this.#close().catch(() => {})
    await unlink(this.#temporary).catch(() => {})
  }

  async #close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#handle.close()
  }
}

/** Writes all the bytes: a write can be short without an error, a full disk shows itself in the one after it. */
export async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let done = 0
  while (done < bytes.byteLength) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.byteLength - done)
    done += bytesWritten
  }
}

/** Replaces a file as a whole. */
export async function writeFileDurable(path: string, data: string | Uint8Array): Promise<FileRecord> {
  const file = await DurableFile.create(path)
  try {
    await file.write(typeof data === 'string' ? Buffer.from(data) : data)
    return await file.commit()
  } catch (error) {
    await file.abort()
    throw error
  }
}

/** Renames a file or a finished folder so that the new name survives a power cut. */
export async function renameDurable(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
    await syncDirectory(dirname(to))
    if (dirname(from) !== dirname(to)) await syncDirectory(dirname(from))
  } catch (error) {
    throw await writeError(error, to, 0)
  }
}

/** Makes a folder, and those that it lies in, where they are not there yet. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
  } catch (error) {
    const dangling = await danglingLink(path)
    if (dangling === undefined) throw await writeError(error, path, 0)
    throw new CheckpointError(`${path}: ${dangling}`, {
      hint: 'remove the link, or make the folder it leads to',
      path,
      cause: error,
    })
  }
}

/** Makes the names in a folder durable. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Size and sha256 of a file, read in pieces. */
export async function hashFile(path: string, signal?: AbortSignal): Promise<FileRecord> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(1 << 20)
  let bytes = 0
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      for (;;) {
        throwIfAborted(signal, `checking ${path}`)
        const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, bytes)
        if (bytesRead === 0) break
        hash.update(buffer.subarray(0, bytesRead))
        bytes += bytesRead
      }
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (LuffyError.isInstance(error)) throw error
    throw new CheckpointError(`${path}: cannot be read (${errnoOf(error)})`, {
      path,
      details: { errno: errnoOf(error) },
      cause: error,
    })
  }
  return { name: basename(path), bytes, sha256: hash.digest('hex') }
}

/** Throws before anything is written where the disk has less room than is needed. */
export async function checkFreeSpace(folder: string, needed: number): Promise<void> {
  const free = await freeSpace(folder)
  if (free !== undefined && free < needed) throw noSpace('no room for', folder, needed, free)
}

async function freeSpace(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  } catch {
    return undefined
  }
}

function noSpace(what: string, path: string, needed: number, free: number | undefined): CheckpointError {
  const room = free === undefined ? '' : `, free ${formatBytes(free)}`
  return new CheckpointError(`${what} ${path}: need ${formatBytes(needed)}${room}`, {
    hint: 'make room or choose another folder',
    path,
    details: { errno: 'ENOSPC', needed, free },
  })
}

/** The error of a failed write, with its errno, and with the room left where that is the matter. */
export async function writeError(error: unknown, path: string, needed: number): Promise<LuffyError> {
  if (LuffyError.isInstance(error)) return error
  const errno = errnoOf(error)
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return noSpace(`${errno} writing`, path, needed, await freeSpace(dirname(path)))
  }
  return new CheckpointError(`${errno} writing ${path}`, { path, details: { errno }, cause: error })
}

function errnoOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code
  return typeof code === 'string' ? code : String(error)
}

function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`
  const unit = Math.min(4, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** unit).toFixed(1)} ${['', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`
}
