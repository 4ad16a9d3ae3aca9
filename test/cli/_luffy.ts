// The command as a user runs it: a process of its own, in a folder of its own.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ExecutionContext } from 'ava'
import { opChainsTask, Policy } from '../../lib/index.js'
import { packageRoot } from '../../lib/native-loader.js'
import { type ChildResult, runChild } from '../_helpers/child.js'
import { temporaryFolder } from '../_helpers/folders.js'

export const script = pathToFileURL(join(packageRoot, 'dist/lib/cli/main.js'))

/** Runs the command to its end, with nothing on stdin. */
export function luffy(args: readonly string[], env: Record<string, string> = {}): Promise<ChildResult> {
  return runChild(script, args, { NO_COLOR: '1', LC_ALL: 'C', ...env })
}

export function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? ''
}

/** A folder with a small untrained policy of the op chains task in `base/`. */
export async function folderWithBase(t: ExecutionContext): Promise<string> {
  const folder = await temporaryFolder(t)
  const { tokenizer } = opChainsTask()
  await using policy = await Policy.create(
    { vocabSize: tokenizer.vocabSize, hiddenSize: 32, intermediateSize: 64, layers: 1, heads: 2, kvHeads: 2 },
    { device: 'cpu', seed: 0 },
  )
  await policy.save(join(folder, 'base'))
  await tokenizer.save(join(folder, 'base'))
  return folder
}

/** `--set` arguments for a run of `base` that takes seconds. */
export function quickRun(folder: string, name: string, more: Record<string, unknown> = {}): string[] {
  const options: Record<string, unknown> = {
    model: join(folder, 'base'),
    outputDir: folder,
    runName: name,
    maxSteps: 3,
    promptsPerStep: 2,
    promptsPerUpdate: 2,
    numGenerations: 3,
    'task.size': 8,
    'task.testSize': 4,
    evalSteps: 0,
    ...more,
  }
  return Object.entries(options).flatMap(([key, value]) => ['--set', `${key}=${value}`])
}
