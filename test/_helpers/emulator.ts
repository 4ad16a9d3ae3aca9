// The emulated CUDA device in tests: built on first use, by one process at a time, from the sources as they stand.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { packageRoot } from '../../lib/native-loader.js'

const script = join(packageRoot, 'scripts/emulator.mjs')
const run = (...args: string[]) =>
  execFileSync(process.execPath, [script, ...args], { encoding: 'utf8' }).trim()

let reason: string | undefined

/** Why the emulated device cannot be built here, or '' when it can. */
export function emulatorIsMissing(): string {
  reason ??= run('missing')
  return reason
}

/** Builds the emulated device, which takes a minute the first time and nothing afterwards. */
export function buildEmulated(): void {
  run('plugin')
}
