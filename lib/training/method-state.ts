// What a method keeps between steps, as a file of a checkpoint: method-state.jsonl, one record a line.
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import { writeError, writeFully } from '../io/atomic.js'
import { openRegularFile } from '../io/regular-file.js'
import type { MethodMemory } from '../methods/memory.js'

export const methodStateFileName = 'method-state.jsonl'

export async function saveMethodState(folder: string, memory: MethodMemory): Promise<void> {
  const path = join(folder, methodStateFileName)
  try {
    const file = await open(path, 'w')
    try {
      for (const record of memory.records())
        await writeFully(file, Buffer.from(`${JSON.stringify(record)}\n`))
    } finally {
      await file.close()
    }
  } catch (error) {
    throw await writeError(error, path, 0)
  }
}

/** Throws CheckpointError naming the file when it is missing or is not what the method wrote. */
export async function loadMethodState(folder: string, memory: MethodMemory): Promise<void> {
  const path = join(folder, methodStateFileName)
  const { handle } = await openRegularFile(path, { error: CheckpointError, within: folder })
  try {
    const records: unknown[] = []
    for await (const line of handle.readLines({ autoClose: false })) {
      if (line !== '') records.push(JSON.parse(line))
    }
    memory.restore(records)
  } catch (error) {
    throw new CheckpointError(`${path}: ${(error as Error).message}`, {
      path,
      cause: error,
      hint: 'the checkpoint belongs to another method',
    })
  } finally {
    await handle.close()
  }
}
