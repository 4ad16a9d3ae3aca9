// Files that are whole or absent, whatever happens in between: written under another name, fsynced, renamed, and the
// folder fsynced, because a rename alone can survive a power cut as a file of zeros.
import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CheckpointError } from '../errors.js'
import { fault } from './fault.js'

/** Makes the names in a folder (new files, renames, removals) survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes a file's bytes survive a power cut. After an error the file must not be trusted. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Writes all the bytes at the handle's position: one system call may write fewer than it was given. */
export async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0
  while (written < bytes.byteLength) {
    const { bytesWritten } = await handle.write(bytes, written)
    if (bytesWritten === 0) throw new CheckpointError(`wrote ${written} of ${bytes.byteLength} bytes`)
    written += bytesWritten
  }
}

/** Writes a new file and fsyncs it. On an error it is removed again. Fails if the file exists. */
export async function writeFileDurable(path: string, data: string | Uint8Array): Promise<void> {
  const handle = await open(path, 'wx')
  try {
    await writeFully(handle, typeof data === 'string' ? Buffer.from(data) : data)
    fault('file-written')
    await handle.sync()
    fault('file-synced')
  } catch (error) {
    await rm(path, { force: true })
    throw error
  } finally {
    await handle.close()
  }
}

/**
 * Writes a file so that its old or its new content is found afterwards, never a part. Throws CheckpointError with the
 * system's error code (ENOSPC, EROFS, ...) and leaves the old file as it was.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.tmp-${process.pid}`
  try {
    await rm(temporary, { force: true })
    await writeFileDurable(temporary, data)
    await rename(temporary, path)
    fault('file-renamed')
    await syncFolder(dirname(path))
    fault('file-folder-synced')
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw diskError(error, 'writing', path)
  }
}

/** A CheckpointError for a failed file operation: `ENOSPC writing runs/a/best.json`, the system's error as its cause. */
export function diskError(error: unknown, doing: string, path: string): CheckpointError {
  if (CheckpointError.isInstance(error)) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  const what = code ?? (error instanceof Error ? error.message : String(error))
  return new CheckpointError(`${what} ${doing} ${path}`, { path, details: { errno: code }, cause: error })
}
