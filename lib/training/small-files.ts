// Reads the small files that a run folder is described by.
import { CheckpointError, LuffyError } from '../errors.js'
import { readRegularFile } from '../io/regular-file.js'

const MAX_BYTES = 1 << 26

/** The text of a file, or undefined where there is none. Throws CheckpointError when it cannot be read. */
export async function readTextFile(path: string): Promise<string | undefined> {
  try {
    return (await readRegularFile(path, MAX_BYTES, { error: CheckpointError })).toString('utf8')
  } catch (error) {
    if (LuffyError.isInstance(error) && error.details?.errno === 'ENOENT') return undefined
    throw error
  }
}

/** The value of a JSON file, or undefined where there is none. Throws CheckpointError when it cannot be read. */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await readTextFile(path)
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new CheckpointError(`${path}: is not JSON: ${String(error)}`, { path, cause: error })
  }
}
