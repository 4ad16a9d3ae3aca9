// Folders that a caller names: what is wrong with one, in words, links included.
import { lstat, readlink, stat } from 'node:fs/promises'

/**
 * Why a path is no folder that can be read: `no such folder`, `is a link to x, which is not there`, `is not a folder`;
 * undefined where it is one.
 */
export async function folderProblem(path: string): Promise<string | undefined> {
  try {
    return (await stat(path)).isDirectory() ? undefined : 'is not a folder'
  } catch (error) {
    const dangling = await danglingLink(path)
    if (dangling !== undefined) return dangling
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' || code === undefined ? 'no such folder' : `cannot be read (${code})`
  }
}

/** `is a link to x, which is not there`, or undefined for what is no such link. */
export async function danglingLink(path: string): Promise<string | undefined> {
  try {
    if (!(await lstat(path)).isSymbolicLink()) return undefined
    const target = await readlink(path)
    const code = await stat(path).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    )
    return code === 'ENOENT' ? `is a link to ${target}, which is not there` : undefined
  } catch {
    return undefined
  }
}
