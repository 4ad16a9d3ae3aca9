// A server that answers as Hugging Face's hub does, over files in memory: the commit of a revision, the list of a
// commit's files, and their bytes, whole or a range.
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const commit = '0123456789abcdef0123456789abcdef01234567'
export const name = 'tiny-lab/tiny-model'

export class HubServer {
  /** method and path of every request, with the range that was asked for. */
  readonly requests: string[] = []
  readonly files: Map<string, Buffer>
  /** What authorization the last request carried. */
  authorization: string | undefined
  /** Asked before each answer: true where it has answered itself. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined
  readonly #server: Server

  private constructor(files: Map<string, Buffer>) {
    this.files = files
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  static async start(files: Map<string, Buffer>): Promise<HubServer> {
    const hub = new HubServer(files)
    await new Promise<void>(resolve => hub.#server.listen(0, '127.0.0.1', resolve))
    return hub
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Paths of files that were asked for, each once. */
  get fetched(): string[] {
    return [...new Set(this.requests.flatMap(line => /\/resolve\/\w+\/(\S+)/.exec(line)?.[1] ?? []))].sort()
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? '', 'http://hub')
    const { range } = request.headers
    this.requests.push(`${request.method} ${pathname}${range === undefined ? '' : ` ${range}`}`)
    this.authorization = request.headers.authorization
    if (this.intercept?.(request, response)) return
    const json = (value: unknown, status = 200) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(value))
    }
    if (pathname === `/api/models/${name}/revision/main` || pathname === `/api/models/${name}/revision/v1`) {
      json({ _id: '1', id: name, sha: commit, private: false, gated: false, downloads: 1, likes: 1 })
    } else if (pathname === `/api/models/${name}/tree/${commit}`) {
      json([...this.files].map(([path, bytes]) => entryOf(path, bytes)))
    } else if (pathname.startsWith(`/${name}/resolve/${commit}/`)) {
      const path = pathname.slice(`/${name}/resolve/${commit}/`.length)
      this.#send(response, path, range)
    } else json({ error: 'Repository not found' }, 404)
  }

  #send(response: ServerResponse, path: string, range: string | undefined): void {
    const bytes = this.files.get(path)
    if (bytes === undefined) {
      response.writeHead(404, { 'X-Error-Code': 'EntryNotFound' }).end()
      return
    }
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []
    const part = from === undefined ? bytes : bytes.subarray(Number(from), Number(to) + 1)
    response.writeHead(from === undefined ? 200 : 206, {
      etag: `"${sumOf(path, bytes)}"`,
      'content-length': part.byteLength,
      ...(from === undefined ? {} : { 'content-range': `bytes ${from}-${to}/${bytes.byteLength}` }),
    })
    response.end(part)
  }
}

const isLarge = (path: string) => path.endsWith('.safetensors')

/** The hub's sum: sha256 of a file that is stored apart, git's of a small one. */
export function sumOf(path: string, bytes: Buffer): string {
  const hash = isLarge(path) ? createHash('sha256') : createHash('sha1').update(`blob ${bytes.byteLength}\0`)
  return hash.update(bytes).digest('hex')
}

function entryOf(path: string, bytes: Buffer): unknown {
  const size = bytes.byteLength
  const oid = sumOf(path, bytes)
  if (!isLarge(path)) return { type: 'file', path, size, oid }
  return { type: 'file', path, size, oid: 'f'.repeat(40), lfs: { oid, size, pointerSize: 133 } }
}
