// What a data file held when a run began, in few characters, so that a run that goes on notices other data.
import { createHash } from 'node:crypto'
import { DataError } from '../errors.js'
import { openRegularFile, readFully } from '../io/regular-file.js'

/** Files up to this size are read whole, of larger ones this much in equal pieces from the first byte to the last. */
const mostBytes = 64 * 1024 * 1024
const pieceBytes = 1024 * 1024

/** sha256 of a file's size and of its bytes; of those of a large file, 64 pieces of 1 MiB. */
export async function fingerprint(path: string): Promise<string> {
  const { handle, size } = await openRegularFile(path, { error: DataError })
  try {
    const hash = createHash('sha256').update(`${size}\n`)
    const pieces = Math.ceil(Math.min(size, mostBytes) / pieceBytes)
    const piece = Buffer.alloc(Math.min(size, pieceBytes))
    for (let i = 0; i < pieces; ++i) {
      const start = size <= mostBytes ? i * pieceBytes : Math.floor((i * (size - pieceBytes)) / (pieces - 1))
      const part = piece.subarray(0, Math.min(pieceBytes, size - start))
      await readFully(handle, part, start, path, DataError)
      hash.update(part)
    }
    return hash.digest('hex')
  } finally {
    await handle.close()
  }
}
