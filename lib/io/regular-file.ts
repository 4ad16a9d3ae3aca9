// Opening files that somebody else put there: regular files only, and nothing outside the folder they belong to.
import { constants } from 'node:fs'
import { type FileHandle, open, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { type LuffyError, type LuffyErrorOptions, ModelFileError } from '../errors.js'
import { danglingLink } from './folders.js'

/** The class of error to throw, for readers of other things than models. */
export type FileErrorClass = new (message: string, options?: LuffyErrorOptions) => LuffyError

export interface OpenFileOptions {
  /** The folder that the file must lie in, after links are followed. */
  within?: string
  error?: FileErrorClass
}

/** An open regular file and its size. The caller closes the handle. */
export async function openRegularFile(
  path: string,
  options: OpenFileOptions = {},
): Promise<{ handle: FileHandle; size: number }> {
  const FileError = options.error ?? ModelFileError
  let handle: FileHandle | undefined
  try {
    if (options.within !== undefined) await checkWithin(path, options.within, FileError)
    // Opening a device can have effects and opening a pipe can wait: asked first, and not waited for.
    const before = await stat(path)
    if (!before.isFile()) throw notRegular(path, before, FileError)
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    const status = await handle.stat()
    if (!status.isFile()) throw notRegular(path, status, FileError)
    return { handle, size: status.size }
  } catch (error) {
    await handle?.close()
    const dangling = await danglingLink(path)
    if (dangling !== undefined) throw new FileError(`${path}: ${dangling}`, { path, cause: error })
    throw fileError(error, path, FileError)
  }
}

/** The bytes of a regular file of at most `maxBytes`. */
export async function readRegularFile(
  path: string,
  maxBytes: number,
  options: OpenFileOptions = {},
): Promise<Buffer> {
  const FileError = options.error ?? ModelFileError
  const { handle, size } = await openRegularFile(path, options)
  try {
    if (size > maxBytes) throw new FileError(`${path}: ${size} bytes, expected at most ${maxBytes}`, { path })
    const bytes = Buffer.alloc(size)
    await readFully(handle, bytes, 0, path, FileError)
    return bytes
  } finally {
    await handle.close()
  }
}

/** Fills `target` from a position of the file; a file that has become shorter is an error. */
export async function readFully(
  handle: FileHandle,
  target: Uint8Array,
  position: number,
  path: string,
  FileError: FileErrorClass = ModelFileError,
): Promise<void> {
  let done = 0
  while (done < target.byteLength) {
    let bytesRead: number
    try {
      ;({ bytesRead } = await handle.read(target, done, target.byteLength - done, position + done))
    } catch (error) {
      throw fileError(error, path, FileError)
    }
    if (bytesRead === 0) {
      throw new FileError(
        `${path}: ends at byte ${position + done}, expected at least ${position + target.byteLength}`,
        { path },
      )
    }
    done += bytesRead
  }
}

/** True where a file is there, whatever it is. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch {
    return false
  }
}

async function checkWithin(path: string, folder: string, FileError: FileErrorClass): Promise<void> {
  const root = await containingRoot(await realpath(folder))
  const real = await realpath(path)
  const inside = relative(root, real)
  if (inside === '' || inside === '..' || inside.startsWith('../') || inside.startsWith('/')) {
    throw new FileError(`${path}: leads out of the folder ${root}, to ${real}`, { path })
  }
}

// In the Hugging Face cache a model is models--x--y/snapshots/<revision>/, whose files are links into
// models--x--y/blobs/: there, the folder of the model is the boundary.
async function containingRoot(folder: string): Promise<string> {
  const snapshots = dirname(folder)
  const model = dirname(snapshots)
  const isCache = basename(snapshots) === 'snapshots' && basename(model).startsWith('models--')
  return isCache && (await exists(join(model, 'blobs'))) ? model : folder
}

function notRegular(
  path: string,
  status: { isFIFO(): boolean; isDirectory(): boolean; isSocket(): boolean },
  FileError: FileErrorClass,
): LuffyError {
  let kind = 'a device'
  if (status.isDirectory()) kind = 'a folder'
  else if (status.isFIFO()) kind = 'a pipe'
  else if (status.isSocket()) kind = 'a socket'
  return new FileError(`${path}: is ${kind}, expected a regular file`, { path })
}

function fileError(error: unknown, path: string, FileError: FileErrorClass): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code
  if (error instanceof FileError || code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error
  if (code === 'ENOENT')
    return new FileError(`${path}: no such file`, { path, details: { errno: code }, cause: error })
  return new FileError(`${path}: cannot be read (${code})`, { path, details: { errno: code }, cause: error })
}

/** The path of a file in a folder, for a name that came from a file: a plain name, or undefined. */
export function plainFilePath(folder: string, name: string): string | undefined {
  const isPlain = name !== '' && name !== '.' && name !== '..' && !/[/\\\0]/.test(name) && name.length <= 255
  return isPlain ? join(folder, name) : undefined
}
