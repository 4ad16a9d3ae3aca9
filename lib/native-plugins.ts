// Backends in shared libraries of their own: where they are, and which devices they find. A library that talks to a
// driver is first tried in a child process, so that a broken driver never takes the user's process down.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { ProductLibrary } from './native.js'
import { addonPath, packageRoot } from './native-loader.js'

export type PluginName = 'cuda' | 'emulated'

const files: Record<PluginName, string> = {
  cuda: 'build/Release/luffy_cuda.so',
  emulated: 'build/emulator/luffy_emulated.so',
}

/** The devices that a plugin found; none: `reason` says why. */
export interface PluginDevices {
  count: number
  reason: string
}

/** Where the plugin is expected: the file that LUFFY_CUDA_PLUGIN or LUFFY_EMULATED_PLUGIN names, else the package's own. */
export function pluginPath(name: PluginName, environment: NodeJS.ProcessEnv = process.env): string {
  const chosen = environment[`LUFFY_${name.toUpperCase()}_PLUGIN`]
  return chosen ? resolve(chosen) : join(packageRoot, files[name])
}

/** The library of products of the plugin's first device, tried on it; only looked for where there is no device. */
export function probeProducts(name: PluginName): ProductLibrary | null {
  const path = pluginPath(name)
  if (!existsSync(path)) return null
  const answer = askAddon(
    path,
    'if (addon.pluginDevices(path).count === 0) return addon.pluginProducts(path); ' +
      'const device = addon.openPluginDevice(path, 0, false); const products = addon.deviceProducts(device); ' +
      'addon.closeDevice(device); return products',
  )
  return 'failed' in answer
    ? { file: '', version: '', reason: answer.failed }
    : (answer.value as ProductLibrary)
}

const probed = new Map<string, PluginDevices>()
const probeMilliseconds = 30_000

/** The devices of a plugin, asked for in a child process, once per process and file. */
export function probePlugin(name: PluginName): PluginDevices {
  const path = pluginPath(name)
  const known = probed.get(path)
  if (known) return known
  const devices = existsSync(path) ? probe(path) : { count: 0, reason: missing(name, path) }
  probed.set(path, devices)
  return devices
}

function missing(name: PluginName, path: string): string {
  return name === 'cuda'
    ? `this build holds no CUDA kernels (${lastBuildReason()})`
    : `the emulated device is not built (${path}); it is a test aid: node scripts/emulator.mjs plugin`
}

/** Why the last build left CUDA out. */
function lastBuildReason(): string {
  try {
    const status: unknown = JSON.parse(readFileSync(join(packageRoot, 'build/status.json'), 'utf8'))
    const reason = (status as { cuda?: { reason?: unknown } }).cuda?.reason
    return typeof reason === 'string' ? reason : 'npx luffy build says why'
  } catch {
    return 'npx luffy build says why'
  }
}

function probe(path: string): PluginDevices {
  const answer = askAddon(path, 'return addon.pluginDevices(path)')
  if ('failed' in answer) return { count: 0, reason: answer.failed }
  const { count, reason } = answer.value as Partial<PluginDevices>
  return typeof count === 'number' && typeof reason === 'string'
    ? { count, reason }
    : { count: 0, reason: 'asking the driver for its devices gave no answer' }
}

/** What `body` returns of `addon` and the plugin's `path` in a child process, or what became of that. */
function askAddon(path: string, body: string): { value: unknown } | { failed: string } {
  // The answer is the last line: a driver may have written others.
  const script =
    `const [addon, path] = process.argv.slice(1); const ask = (addon, path) => { ${body} }; ` +
    "process.stdout.write('\\n' + JSON.stringify({ value: ask(require(addon), path) }))"
  const child = spawnSync(process.execPath, ['-e', script, addonPath().path, path], {
    encoding: 'utf8',
    timeout: probeMilliseconds,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const answer = child.status === 0 ? parsed(child.stdout.split('\n').at(-1) ?? '') : undefined
  if (answer) return answer
  const end = child.error?.message ?? (child.signal ? `signal ${child.signal}` : `exit code ${child.status}`)
  const said = child.stderr?.match(/^\w*Error: (.*)$/m)?.[1] ?? ''
  return { failed: said || `asking the driver for its devices ended with ${end}` }
}

function parsed(text: string): { value: unknown } | undefined {
  try {
    const answer: unknown = JSON.parse(text)
    return typeof answer === 'object' && answer !== null && 'value' in answer ? answer : undefined
  } catch {
    return undefined
  }
}
