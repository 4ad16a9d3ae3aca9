// A file of JSON lines that grows by whole lines, whose length a checkpoint records, and which is cut back to that
// length when a run resumes: otherwise the steps after the checkpoint would stand in it twice.
import { type FileHandle, open } from 'node:fs/promises'
import { writeError, writeFully } from '../io/atomic.js'

export class JsonLines {
  readonly path: string
  /** What was cut off or found missing at opening, as a line to print. */
  readonly notice: string | undefined
  readonly #handle: FileHandle
  #byteLength: number
  #last: Promise<unknown> = Promise.resolve()

  private constructor(path: string, handle: FileHandle, byteLength: number, notice: string | undefined) {
    this.path = path
    this.#handle = handle
    this.#byteLength = byteLength
    this.notice = notice
  }

  /**
   * Opens or creates the file. `keepBytes`: its length at the checkpoint, to which it is cut; without it only a torn
   * last line is cut. A file that is shorter than that is kept as it is, and the notice says so.
   */
  static async open(path: string, keepBytes?: number): Promise<JsonLines> {
    let handle: FileHandle | undefined
    try {
      handle = await open(path, 'a+')
      const { size } = await handle.stat()
      const kept = await wholeLines(handle, Math.min(size, keepBytes ?? size))
      if (kept < size) await handle.truncate(kept)
      let notice: string | undefined
      if (keepBytes !== undefined && kept < keepBytes) {
        notice = `${path}: ${keepBytes - kept} of ${keepBytes} bytes recorded by the checkpoint are missing`
      } else if (kept < size) {
        notice = `${path}: cut ${size - kept} bytes written after the last checkpoint`
      }
      return new JsonLines(path, handle, kept, notice)
    } catch (error) {
      await handle?.close()
      throw await writeError(error, path, 0)
    }
  }

  /** Bytes of whole lines in the file: what a checkpoint records. */
  get byteLength(): number {
    return this.#byteLength
  }

  /** Appends one line; calls are written in their order. NaN must have been turned into null before. */
  append(value: unknown): Promise<void> {
    const bytes = Buffer.from(`${JSON.stringify(value)}\n`)
    return this.#inOrder(async () => {
      try {
        await writeFully(this.#handle, bytes)
        this.#byteLength += bytes.byteLength
      } catch (error) {
        // A disk that is full takes a part of the line: the part goes, so that every line stays readable.
        await this.#handle.truncate(this.#byteLength).catch(() => undefined)
        throw await writeError(error, this.path, bytes.byteLength)
      }
    })
  }

  /** Makes the lines so far survive a power cut; called before a checkpoint records their length. */
  sync(): Promise<void> {
    return this.#inOrder(async () => {
      try {
        await this.#handle.sync()
      } catch (error) {
        throw await writeError(error, this.path, 0)
      }
    })
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined)
    await this.#handle.close()
  }

  #inOrder(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work, work)
    this.#last = done.catch(() => undefined)
    return done
  }
}

/** The largest length up to `limit` that ends with a line break, or 0. */
async function wholeLines(handle: FileHandle, limit: number): Promise<number> {
  const chunk = Buffer.alloc(64 * 1024)
  let end = limit
  while (end > 0) {
    const start = Math.max(0, end - chunk.length)
    const { bytesRead } = await handle.read(chunk, 0, end - start, start)
    const lineBreak = chunk.subarray(0, bytesRead).lastIndexOf(0x0a)
    if (lineBreak >= 0) return start + lineBreak + 1
    end = start
  }
  return 0
}
