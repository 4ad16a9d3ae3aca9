// Files of the hub into the cache: whole, and what the hub said they are, or not there. See hub.ts.
import { createHash, type Hash } from 'node:crypto'
import { mkdir, symlink } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { tell } from '../callback.js'
import { LuffyError, ModelFileError, throwIfAborted } from '../errors.js'
import { checkFreeSpace, DurableFile, makeFolder, writeError } from '../io/atomic.js'
import { exists } from '../io/regular-file.js'
import { access, type Hub, hubError, library, type Reference } from './hub-access.js'

export interface DownloadProgress {
  /** As it was given: hf:owner/name@revision. */
  model: string
  /** The file that is being fetched. */
  file: string
  /** Of all the files that are fetched: so far, and in the end. */
  bytes: number
  totalBytes: number
}

export interface TransferOptions {
  signal?: AbortSignal | undefined
  onDownload?: ((progress: DownloadProgress) => unknown) | undefined
}

export interface HubFile {
  path: string
  size: number
  /** The name of its blob: sha256 of a large file, git's sha1 of a small one. */
  etag: string
  large: boolean
}

/** Times that a broken connection is taken up again where it broke. */
const retries = 4
const retryAfterMs = 500
/** Bytes between two calls of onDownload. */
const progressBytes = 1 << 20

export class Transfer {
  readonly #reference: Reference
  readonly #commit: string
  readonly #snapshot: string
  readonly #hub: Hub
  readonly #options: TransferOptions
  #bytes = 0
  #totalBytes = 0

  constructor(reference: Reference, commit: string, snapshot: string, hub: Hub, options: TransferOptions) {
    this.#reference = reference
    this.#commit = commit
    this.#snapshot = snapshot
    this.#hub = hub
    this.#options = options
  }

  async fetch(files: readonly HubFile[]): Promise<void> {
    const blobs = join(this.#reference.folder, 'blobs')
    const missing: HubFile[] = []
    for (const file of files) {
      if (await exists(join(this.#snapshot, file.path))) continue
      if (await exists(join(blobs, file.etag))) await this.#link(file)
      else missing.push(file)
    }
    if (missing.length === 0) return
    await makeFolder(blobs)
    this.#totalBytes += missing.reduce((sum, { size }) => sum + size, 0)
    await checkFreeSpace(blobs, this.#totalBytes - this.#bytes)
    for (const file of missing) {
      await this.#download(file, join(blobs, file.etag))
      await this.#link(file)
    }
  }

  async #download(file: HubFile, path: string): Promise<void> {
    const { size, etag } = file
    const hash = file.large ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
    const target = await DurableFile.create(path, { sha256: false })
    try {
      await this.#receive(file, target, hash)
      const got = hash.digest('hex')
      if (target.bytes !== size || got !== etag) {
        throw new ModelFileError(
          `${this.#reference.text}: ${file.path} arrived damaged: ${target.bytes} bytes of sum ${got}, ` +
            `expected ${size} of ${etag}`,
          { hint: 'try again', path: file.path },
        )
      }
      await target.commit()
    } catch (error) {
      await target.abort()
      throw hubError(error, this.#reference, this.#hub, this.#options.signal)
    }
  }

  async #receive(file: HubFile, target: DurableFile, hash: Hash): Promise<void> {
    const { signal, onDownload } = this.#options
    const say = () =>
      tell(onDownload, {
        model: this.#reference.text,
        file: file.path,
        bytes: this.#bytes,
        totalBytes: this.#totalBytes,
      })
    let said = this.#bytes
    await say()
    if (file.size === 0) return
    for (let attempt = 0; ; ++attempt) {
      try {
        for await (const chunk of await this.#stream(file, target.bytes)) {
          throwIfAborted(signal, `fetching ${this.#reference.text}`)
          if (target.bytes + chunk.byteLength > file.size) return // more than it is: the sum will not fit
          await target.write(chunk)
          hash.update(chunk)
          this.#bytes += chunk.byteLength
          if (this.#bytes - said < progressBytes) continue
          said = this.#bytes
          await say()
        }
        if (target.bytes === file.size) return await say()
        throw new TypeError('the connection ended early')
      } catch (error) {
        const isBroken =
          error instanceof TypeError || typeof (error as NodeJS.ErrnoException).code === 'string'
        if (LuffyError.isInstance(error) || signal?.aborted || !isBroken || attempt === retries) throw error
        await new Promise(resolve => setTimeout(resolve, retryAfterMs * 2 ** attempt))
      }
    }
  }

  async #stream(file: HubFile, from: number): Promise<AsyncIterable<Uint8Array>> {
    const { downloadFile } = await library()
    const blob = await downloadFile({
      repo: { type: 'model', name: this.#reference.name },
      path: file.path,
      revision: this.#commit,
      ...access(this.#hub, this.#options.signal),
    })
    if (blob === null)
      throw new ModelFileError(`${this.#reference.text}: ${file.path} is listed and not there`)
    return (from === 0 ? blob : blob.slice(from)).stream() as unknown as AsyncIterable<Uint8Array>
  }

  async #link({ path, etag }: HubFile): Promise<void> {
    const place = join(this.#snapshot, path)
    try {
      await mkdir(this.#snapshot, { recursive: true })
      await symlink(relative(this.#snapshot, join(this.#reference.folder, 'blobs', etag)), place)
    } catch (error) {
      // Another process was as fast.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw await writeError(error, place, 0)
    }
  }
}
