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

let path: string | undefined

/** Builds the emulated device, which takes a minute the first time and nothing afterwards; returns the plugin's path. */
export function buildEmulated(): string {
  path ??= run('plugin')
  return path
}

/** Builds the cuBLASLt of the tests (test/emulator/cublaslt-peer.cpp); `defines` make it lack something. */
export function buildPeer(...defines: string[]): string {
  return run('peer', ...defines)
}

const only = process.env.LUFFY_TEST_DEVICES ?? ''
if (!['', 'cpu', 'emulated', 'cuda'].includes(only))
  throw new Error(`LUFFY_TEST_DEVICES: unknown device '${only}'`)

export type TestDeviceName = 'cpu' | 'emulated' | 'cuda'

/**
 * The devices that tests run on here, the emulated one built: LUFFY_TEST_DEVICES=cpu or =emulated keeps to one, =cuda takes
 * the first GPU (`npm run test:gpu`).
 */
export function testDeviceNames(): TestDeviceName[] {
  if (only === 'cuda') return ['cuda']
  const names: TestDeviceName[] = only === 'emulated' ? [] : ['cpu']
  if (only !== 'cpu' && !emulatorIsMissing()) {
    buildEmulated()
    names.push('emulated')
  }
  if (names.length === 0) throw new Error(`no device to test: ${emulatorIsMissing()}`)
  return names
}

/** Whether the emulated device's long tests were asked for (`npm run test:emulator`). */
export const runsLongTests = process.env.LUFFY_EMULATOR === 'all'
