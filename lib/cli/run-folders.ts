// What a run folder holds, for commands that only read it.
import { readdir } from 'node:fs/promises'

/** Steps of the checkpoints in a run folder, newest first; none where there is no such folder. */
export async function checkpointSteps(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(() => [])
  return names
    .flatMap(name => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a)
}
