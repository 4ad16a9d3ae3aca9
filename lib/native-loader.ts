// Finds the addon: the file that LUFFY_NATIVE names, else build/Release/luffy.node of this package. Returns the raw
// module; lib/native.ts gives it its type.
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NativeMissingError } from './errors.js'

const minimumNode = 20

/** The folder of package.json: two above lib/ when compiled, one above it in the sources. */
export const packageRoot = findPackageRoot(dirname(fileURLToPath(import.meta.url)))

function findPackageRoot(start: string): string {
  let folder = start
  while (!existsSync(join(folder, 'native/sources.json'))) {
    const parent = dirname(folder)
    if (parent === folder) return start
    folder = parent
  }
  return folder
}

/** Where the addon is expected: `chosen` is true when LUFFY_NATIVE says so. */
export function addonPath(environment: NodeJS.ProcessEnv = process.env): { path: string; chosen: boolean } {
  const chosen = environment.LUFFY_NATIVE
  if (chosen) return { path: resolve(chosen), chosen: true }
  return { path: join(packageRoot, 'build/Release/luffy.node'), chosen: false }
}

/**
 * The addon's exports.
 *
 * @throws {NativeMissingError} when the file is not there or the system does not load it
 */
export function loadAddon(environment: NodeJS.ProcessEnv = process.env): object {
  if (process.platform === 'win32') {
    throw new NativeMissingError('Windows is not supported yet', {
      hint: 'use WSL2 (Ubuntu), then npm install',
    })
  }
  if (Number.parseInt(process.versions.node, 10) < minimumNode) {
    throw new NativeMissingError(`luffy needs Node ${minimumNode} or later, this is ${process.version}`)
  }
  const { path, chosen } = addonPath(environment)
  if (!existsSync(path)) throw chosen ? missingChosen(path) : notBuilt(path)
  try {
    return createRequire(import.meta.url)(path) as object
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause)
    throw new NativeMissingError(`the native kernels in ${path} do not load here: ${reason}`, {
      hint: chosen ? 'LUFFY_NATIVE names this file' : 'build them for this machine: npx luffy build --clean',
      path,
      cause,
    })
  }
}

function missingChosen(path: string): NativeMissingError {
  return new NativeMissingError(`LUFFY_NATIVE names ${path}, which does not exist`, {
    hint: 'correct the variable or unset it',
    path,
  })
}

// The last build's own reason where there was a build, else the reason why there was none.
function notBuilt(path: string): NativeMissingError {
  const failure = lastBuildFailure()
  if (failure) {
    return new NativeMissingError(`native kernels are not built: ${failure.reason}`, {
      hint: `${failure.hint}, then: npx luffy build`,
      path,
      details: failure,
    })
  }
  return new NativeMissingError(
    'native kernels are not built (npm 12, pnpm, Yarn and Bun do not run install scripts by default)',
    {
      hint: 'run one of: npx luffy build · npm install-scripts approve luffy && npm rebuild luffy · pnpm approve-builds',
      path,
    },
  )
}

function lastBuildFailure(): { reason: string; hint: string } | undefined {
  try {
    const status: unknown = JSON.parse(readFileSync(join(packageRoot, 'build/status.json'), 'utf8'))
    if (typeof status !== 'object' || status === null || !('reason' in status)) return undefined
    const { reason, hint } = status as { reason?: unknown; hint?: unknown }
    return { reason: String(reason), hint: String(hint ?? 'see npx luffy doctor') }
  } catch {
    return undefined
  }
}
