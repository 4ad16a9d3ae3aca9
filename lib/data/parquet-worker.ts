// The worker that reads parquet files for parquet.ts: checks what the file declares, then lets hyparquet decode it.
import { type FileHandle, open } from 'node:fs/promises'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { type AsyncBuffer, type Compressors, parquetMetadata, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { serveRequests } from '../io/limited-worker.js'
import { checkFooter, checkPages, type ParquetLayout, parquetLimits } from './parquet-check.js'

export type ParquetRequest =
  | { kind: 'layout'; path: string }
  | { kind: 'read'; path: string; group: number; columns: readonly string[] }

/** Values of each column that was asked for, one per row. */
export type ParquetColumns = unknown[][]

// Bounded by what the page's header says, which was checked.
const codecs: Compressors = {
  ...compressors,
  GZIP: (input, length) => gunzipSync(input, { maxOutputLength: length }),
  BROTLI: (input, length) => brotliDecompressSync(input, { maxOutputLength: length }),
}

serveRequests(async (request: ParquetRequest): Promise<ParquetLayout | ParquetColumns> => {
  const handle = await open(request.path)
  try {
    const { size } = await handle.stat()
    const tail = await bytesOf(handle, size - 8, 8)
    const length = new DataView(tail.buffer).getUint32(0, true)
    if (length + 12 > size) throw new Error('the file has changed')
    const footer = await bytesOf(handle, size - 8 - length, length + 8)
    const layout = checkFooter(footer.subarray(0, length), size)
    if (request.kind === 'layout') return layout
    return await readGroup(handle, size, footer, layout, request.group, request.columns)
  } finally {
    await handle.close()
  }
})

async function readGroup(
  handle: FileHandle,
  size: number,
  footer: Uint8Array,
  layout: ParquetLayout,
  g: number,
  columns: readonly string[],
): Promise<ParquetColumns> {
  const group = layout.groups[g]
  if (group === undefined) throw new Error('the file has changed')
  const metadata = parquetMetadata(footer, { geoparquet: false })
  const rowStart = layout.groups.slice(0, g).reduce((rows, before) => rows + before.rows, 0)
  const result: ParquetColumns = []
  for (const name of columns) {
    const chunks = group.columns.filter(chunk => chunk.path[0] === name)
    for (const chunk of chunks) checkPages(await bytesOf(handle, chunk.start, chunk.bytes), chunk)
    try {
      const rows = await parquetReadObjects({
        file: fileBuffer(handle, size),
        metadata,
        columns: [name],
        rowStart,
        rowEnd: rowStart + group.rows,
        compressors: codecs,
        geoparquet: false,
        parsers: { stringFromBytes: strictText },
      })
      if (rows.length !== group.rows) throw new Error(`expected ${group.rows} rows, got ${rows.length}`)
      const values = rows.map(row => row[name])
      const declared = chunks.reduce((sum, chunk) => sum + chunk.uncompressedBytes, 0)
      checkExpanded(values, Math.max(parquetLimits.expandedBytes, 4 * declared))
      result.push(values)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new Error(`rows ${rowStart + 1} to ${rowStart + group.rows}, column ${name}: ${why}`)
    }
  }
  return result
}

// What goes to the main thread is a copy in which no text is shared any more.
function checkExpanded(values: readonly unknown[], most: number): void {
  let size = 0
  const add = (value: unknown): void => {
    if (typeof value === 'string') size += value.length
    else if (value instanceof Uint8Array) size += value.byteLength
    else if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) add(each)
    if (size > most) throw new Error(`holds more than ${most} bytes of text`)
  }
  for (const value of values) add(value)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function strictText(bytes: Uint8Array): string {
  try {
    return bytes === undefined ? bytes : utf8.decode(bytes)
  } catch {
    throw new Error('a text is not UTF-8')
  }
}

function fileBuffer(handle: FileHandle, size: number): AsyncBuffer {
  return {
    byteLength: size,
    slice: async (start, end = size) => (await bytesOf(handle, start, end - start)).buffer as ArrayBuffer,
  }
}

/** Bytes of the file in a buffer of their own. */
async function bytesOf(handle: FileHandle, start: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, length - done, start + done)
    if (bytesRead === 0) throw new Error(`ends at byte ${start + done}, expected ${start + length}`)
    done += bytesRead
  }
  return bytes
}
