// Lines of JSON from a file that may be torn, foreign or huge: bounded memory, and a count of what was left out.
import type { FileHandle } from 'node:fs/promises'

export interface Lines {
  values: unknown[]
  /** Lines that are no JSON or too long. */
  bad: number
  /** There were more lines than asked for. */
  stopped: boolean
}

const chunkBytes = 2 ** 20

/** The first `size` bytes of the file by lines; empty ones are skipped, a last one without its end is tried. */
export async function readLines(
  handle: FileHandle,
  size: number,
  options: { mostLines?: number; mostLineBytes?: number } = {},
): Promise<Lines> {
  const { mostLines = Number.POSITIVE_INFINITY, mostLineBytes = 2 ** 20 } = options
  const lines: Lines = { values: [], bad: 0, stopped: false }
  const take = (line: Buffer) => {
    if (line.length > mostLineBytes) lines.bad += 1
    else if (line.length > 0) parseInto(lines, line)
  }
  let rest: Buffer[] = []
  let restBytes = 0
  for (let position = 0; position < size; ) {
    const chunk = Buffer.alloc(Math.min(chunkBytes, size - position))
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, position)
    if (bytesRead === 0) break
    position += bytesRead
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0 && end < bytesRead; end = chunk.indexOf(10, start)) {
      if (lines.values.length >= mostLines) return { ...lines, stopped: true }
      const tail = chunk.subarray(start, end)
      take(restBytes > 0 ? Buffer.concat([...rest, tail]) : tail)
      rest = []
      restBytes = 0
      start = end + 1
    }
    // Of a line that is too long only its length is kept.
    restBytes += bytesRead - start
    rest =
      restBytes > mostLineBytes
        ? [Buffer.alloc(mostLineBytes + 1)]
        : [...rest, chunk.subarray(start, bytesRead)]
  }
  if (restBytes > 0 && lines.values.length < mostLines) take(Buffer.concat(rest))
  return lines
}

function parseInto(lines: Lines, line: Buffer): void {
  const text = line.toString('utf8').trim()
  if (text === '') return
  try {
    lines.values.push(JSON.parse(text))
  } catch {
    lines.bad += 1
  }
}

/** `1 line`, `3 lines`. */
export function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
