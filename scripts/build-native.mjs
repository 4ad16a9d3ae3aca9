// Builds build/Release/luffy.node: CMake (through cmake-js) where it is found, otherwise node-gyp. Nothing is
// downloaded: the headers are those of node-api-headers and node-addon-api.
//   node scripts/build-native.mjs [--builder cmake|node-gyp] [--clean]
// Imported by scripts/install.mjs, scripts/sanitize.mjs and `luffy build`.
import { spawn } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { buildCuda, cudaChoices, cudaFailure, cudaIsWanted } from './build-cuda.mjs'
import { nativeBackends, readNativeSources } from './native-sources.mjs'
import { cmakeIsUsable, findTools, installToolsCommand } from './native-tools.mjs'

const require = createRequire(import.meta.url)
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')

// Why a build did not happen, and the command that repairs it.
class BuildFailure extends Error {
  constructor(reason, hint) {
    super(reason)
    this.hint = hint
  }
}

// One build at a time in a checkout: two would write the same objects.
async function withLock(folder, work) {
  mkdirSync(folder, { recursive: true })
  const lock = join(folder, '.lock')
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (!lockIsHeld(lock)) rmSync(lock, { force: true })
    else await sleep(200)
  }
  try {
    return await work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function lockIsHeld(lock) {
  try {
    const { mtimeMs } = statSync(lock)
    const text = readFileSync(lock, 'utf8')
    // Just created and not yet filled.
    if (text === '') return Date.now() - mtimeMs < 2000
    process.kill(Number(text), 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

// What of a command's output says why it failed: a compiler's line, or CMake's with what it says below.
export function firstError(lines) {
  const ofCompiler = lines.find(
    line =>
      /nvcc fatal|\berror\b.*:|undefined reference|No such file/i.test(line) && !line.includes('CMake Error'),
  )
  if (ofCompiler !== undefined) return ofCompiler.trim()
  const cmake = lines.findIndex(line => /CMake Error/.test(line))
  if (cmake >= 0)
    return lines
      .slice(cmake, cmake + 8)
      .map(line => line.trim())
      .filter(line => line !== '')
      .slice(0, 3)
      .join(' ')
  return lines.findLast(line => line.trim() !== '')?.trim()
}

// Runs a command; every line goes to the log and to onLine. Throws with the first compiler error.
function run(command, args, { env, log, onLine }) {
  return new Promise((done, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const lines = []
    const rest = { stdout: '', stderr: '' }
    const take = line => {
      lines.push(line)
      if (lines.length > 4000) lines.shift()
      onLine(line)
    }
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8').on('data', text => {
        appendFileSync(log, text)
        const parts = (rest[name] + text).split('\n')
        rest[name] = parts.pop()
        parts.forEach(take)
      })
    }
    child.on('error', reject)
    child.on('close', code => {
      if (code === 0) return done()
      take(rest.stdout)
      take(rest.stderr)
      reject(new BuildFailure(firstError(lines) ?? `exit code ${code}`, `the whole log is ${log}`))
    })
  })
}

// Counts the files that a build has done, from the lines of make, ninja and gyp.
function fileCounter(total, onProgress, what = 'the kernels') {
  const start = performance.now()
  let done = 0
  return line => {
    const percent = /^\[\s*(\d+)%\]/.exec(line)
    const pair = /^\[(\d+)\/(\d+)\]/.exec(line)
    if (percent) done = Math.max(done, Math.round((Number(percent[1]) / 100) * total))
    else if (pair) done = Math.max(done, Math.round((Number(pair[1]) / Number(pair[2])) * total))
    else if (/^\s*CXX\(target\)/.test(line)) done += 1
    else return
    onProgress?.({ what, done: Math.min(done, total), total, seconds: (performance.now() - start) / 1000 })
  }
}

// A configuration made in another place or left half-done is thrown away.
function dropStaleConfiguration(work) {
  const cache = join(work, 'CMakeCache.txt')
  if (!existsSync(work)) return
  const generated = existsSync(join(work, 'Makefile')) || existsSync(join(work, 'build.ninja'))
  const home = existsSync(cache)
    ? /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1]
    : undefined
  if (!generated || home !== root) rmSync(work, { recursive: true, force: true })
}

async function buildWithCMake({ folder, extraFlags, jobs, log, onLine }) {
  const work = join(root, 'build', folder === 'Release' ? 'cmake' : `cmake-${folder.toLowerCase()}`)
  dropStaleConfiguration(work)
  const output = join(root, 'build', folder)
  const args = [
    join(dirname(require.resolve('cmake-js/package.json')), 'bin/cmake-js'),
    'build',
    '--directory',
    root,
    '--out',
    work,
    '--parallel',
    String(jobs),
    `--CDLUFFY_OUTPUT=${output}`,
    `--CDLUFFY_EXTRA_FLAGS=${extraFlags}`,
    `--CDLUFFY_STRICT=${process.env.LUFFY_STRICT === '1' && extraFlags === '' ? 'ON' : 'OFF'}`,
  ]
  await run(process.execPath, args, { log, onLine })
}

// What node-gyp needs of Node: the Node-API headers and a common.gypi. It would download both otherwise, together
// with the headers of V8, which an addon of Node-API never includes.
function makeNodeFolder() {
  const folder = join(root, 'build/node-headers/include/node')
  mkdirSync(folder, { recursive: true })
  const headers = require('node-api-headers').include_dir
  for (const name of readdirSync(headers)) copyFileSync(join(headers, name), join(folder, name))
  const defaults = "{ 'default_configuration': 'Release', 'configurations': { 'Release': {}, 'Debug': {} } }"
  writeFileSync(join(folder, 'common.gypi'), `{ 'target_defaults': ${defaults} }\n`)
  return join(root, 'build/node-headers')
}

async function buildWithNodeGyp({ jobs, log, onLine, tools }) {
  const script = join(dirname(require.resolve('node-gyp/package.json')), 'bin/node-gyp.js')
  const options = [`--nodedir=${makeNodeFolder()}`, '--force-process-config', `--python=${tools.python.path}`]
  const env = { CXX: process.env.CXX ?? tools.compiler.path }
  await run(process.execPath, [script, 'configure', ...options], { env, log, onLine })
  await run(process.execPath, [script, 'build', `--jobs=${jobs}`, ...options], { env, log, onLine })
}

function chooseBuilder(wanted, tools) {
  if (process.platform === 'win32') {
    throw new BuildFailure('Windows is not supported yet', 'use WSL2 (Ubuntu), then npm install')
  }
  if (!tools.compiler) throw new BuildFailure('no C++ compiler', installToolsCommand())
  const gyp = Boolean(tools.make && tools.python)
  if (wanted === 'cmake' || (wanted === 'auto' && cmakeIsUsable(tools))) {
    if (!cmakeIsUsable(tools))
      throw new BuildFailure('no CMake 3.19 or newer with make or ninja', installToolsCommand())
    return 'cmake'
  }
  if (!gyp) throw new BuildFailure('neither CMake nor make with python3 was found', installToolsCommand())
  return 'node-gyp'
}

function modified(file) {
  return existsSync(file) ? statSync(file).mtimeMs : 0
}

export function readBuildStatus() {
  try {
    return JSON.parse(readFileSync(join(root, 'build/status.json'), 'utf8'))
  } catch {
    return null
  }
}

// { ok, builder, backends, seconds, upToDate, addon, compiler, warnings, reason, hint, log }. Never rejects for a build that
// fails: that is `ok: false` with the reason. `extraFlags` (with another `folder` than Release) needs CMake.
export async function buildNative({
  builder = 'auto',
  folder = 'Release',
  extraFlags = '',
  clean = false,
  jobs,
  onProgress,
} = {}) {
  return withLock(join(root, 'build'), async () => {
    const start = performance.now()
    const addon = join(root, 'build', folder, 'luffy.node')
    const log = join(root, 'build', folder === 'Release' ? 'build.log' : `${folder.toLowerCase()}.log`)
    const list = readNativeSources()
    const backends = nativeBackends(list).map(backend => backend.name)
    const total =
      list.sources.core.length + list.sources.addon.length + list.sources.ops.length * backends.length
    const status = {
      ok: false,
      builder: null,
      backends,
      seconds: 0,
      upToDate: false,
      addon,
      compiler: null,
      log,
    }
    try {
      const tools = findTools()
      status.compiler = tools.compiler && `${tools.compiler.path} ${tools.compiler.version}`
      status.cmakeFound = cmakeIsUsable(tools)
      status.builder = chooseBuilder(builder, tools)
      if (clean) {
        for (const name of ['cmake', 'Release', 'node-headers'])
          rmSync(join(root, 'build', name), { recursive: true, force: true })
      }
      // The two builders do not know of each other's objects: a changed builder links anew.
      if (folder === 'Release' && readBuildStatus()?.builder !== status.builder)
        rmSync(addon, { force: true })
      writeFileSync(log, '')
      const before = modified(addon)
      const work = {
        folder,
        extraFlags,
        jobs: jobs ?? (Number(process.env.LUFFY_JOBS) || availableParallelism()),
        log,
        onLine: fileCounter(total, onProgress),
        tools,
      }
      await (status.builder === 'cmake' ? buildWithCMake(work) : buildWithNodeGyp(work))
      if (!existsSync(addon))
        throw new BuildFailure(`the build ended without ${addon}`, `the whole log is ${log}`)
      status.ok = true
      status.warnings = readFileSync(log, 'utf8').match(/ warning: /g)?.length ?? 0
      status.upToDate = before !== 0 && modified(addon) === before
      const last = readBuildStatus()?.choices
      const choices = cudaChoices(last)
      status.choices = last
      if (folder === 'Release') status.cuda = await addCuda({ ...work, onProgress }, list, clean, choices)
      const failure = status.cuda ? cudaFailure(status.cuda, choices.choice) : null
      if (failure !== null) {
        status.ok = false
        throw new BuildFailure(failure, `the whole log is ${log}`)
      }
      status.choices = choices
    } catch (error) {
      status.reason = error instanceof Error ? error.message : String(error)
      status.hint = error instanceof BuildFailure ? error.hint : `the whole log is ${log}`
    }
    status.seconds = Number(((performance.now() - start) / 1000).toFixed(1))
    // What the last real build took stays on record.
    const last = readBuildStatus()
    const record =
      status.upToDate && status.ok && last?.ok
        ? { ...last, cuda: status.cuda, choices: status.choices }
        : status
    if (folder === 'Release')
      writeFileSync(join(root, 'build/status.json'), `${JSON.stringify(record, null, 2)}\n`)
    return status
  })
}

// The CUDA backend beside the addon: { ok, architectures, seconds, reason }. Without it an older one is taken away.
async function addCuda({ jobs, log, onProgress, tools }, list, clean, { choice, architectures }) {
  const plugin = join(root, 'build/Release/luffy_cuda.so')
  const { wanted, reason } = cudaIsWanted(tools, choice)
  const total = list.sources.cuda.length + list.sources.pluginCore.length
  const onLine = fileCounter(total, onProgress, 'the CUDA kernels')
  if (clean) rmSync(join(root, 'build/cmake-cuda'), { recursive: true, force: true })
  const cuda = wanted
    ? await buildCuda({
        root,
        jobs,
        run: (command, args) => run(command, args, { log, onLine }),
        nvcc: tools.nvcc.path,
        chosen: architectures,
      })
    : { ok: false, architectures: '', seconds: 0, reason }
  // A mistaken choice changes nothing.
  if (!cuda.ok && !cuda.mistaken) rmSync(plugin, { force: true })
  return cuda
}

// One line for a person.
export function describeBuild(status) {
  if (!status.ok) return `luffy: the kernels are not built: ${status.reason}. ${status.hint}`
  const cuda = status.cuda?.ok
    ? `, CUDA kernels (${status.cuda.architectures.replaceAll(';', ', ')})`
    : status.cuda
      ? `, no CUDA kernels (${status.cuda.reason})`
      : ''
  if (status.upToDate) return `luffy: the kernels are up to date (${status.seconds} s)${cuda}`
  const sets = status.backends.map(name => name.replace('cpu_', '')).join(', ')
  const without = status.cmakeFound ? '' : ' (CMake not found)'
  const warnings = status.warnings > 0 ? `, ${status.warnings} compiler warnings in ${status.log}` : ''
  return `luffy: built CPU kernels (${sets})${cuda} with ${status.builder}${without} in ${Math.round(status.seconds)} s${warnings}`
}

// Progress for a person: one line that is rewritten on a terminal, otherwise a line every ten seconds.
export function progressPrinter(stream = process.stdout) {
  let last = 0
  return ({ what, done, total, seconds }) => {
    const line = `luffy: building ${what}, ${Math.round((100 * done) / total)} % (${Math.round(seconds)} s)`
    if (stream.isTTY) {
      stream.write(`\r${line}${done === total ? '\n' : ''}`)
    } else if (seconds - last >= 10 || seconds < last) {
      last = seconds
      if (seconds < 10) return
      stream.write(`${line}\n`)
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--builder')
  const status = await buildNative({
    builder: at > 0 ? process.argv[at + 1] : 'auto',
    clean: process.argv.includes('--clean'),
    onProgress: progressPrinter(),
  })
  console.log(describeBuild(status))
  process.exitCode = status.ok ? 0 : 1
}
