// Builds programs of CUDA sources for the emulator into build/emulator: `node scripts/emulator.mjs build zoo plain`
// prints the program's path. Objects are kept by the hash of what they are made of. `missing` prints why this machine
// cannot (nothing when it can).
import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { readNativeSources } from './native-sources.mjs'
import { findCommand, findTools } from './native-tools.mjs'
import { translatePtx } from './ptx-to-cpp.mjs'

export const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'build/emulator')

// CUDA sources of each program, beside the emulator itself and native/core/check.cpp, and its C++ sources.
export const programs = {
  zoo: {
    kernels: ['main', 'threads', 'memory', 'host', 'controls'].map(name => `test/emulator/zoo-${name}.cu`),
  },
  'rms-norm': { kernels: ['test/emulator/rms-norm-test.cu', 'native/ops/rms-norm.cu'] },
  'attention-bf16': {
    kernels: [
      'test/emulator/attention-bf16-test.cu',
      'native/ops/attention-bf16.cu',
      'native/ops/attention-decode-bf16.cu',
    ],
  },
  'attention-backward-bf16': {
    kernels: ['test/emulator/attention-backward-bf16-test.cu', 'native/ops/attention-backward-bf16.cu'],
  },
  'matmul-bf16': { kernels: ['test/emulator/matmul-bf16-test.cu', 'native/ops/matmul-bf16.cu'] },
  'kernel-tests': backendProgram('kernelTests'),
  'kernel-bench': backendProgram('kernelBench'),
}

// A program over the whole CUDA backend, as CMake makes it for cards.
function backendProgram(name) {
  const { sources } = readNativeSources()
  const all = [...sources.cuda, ...sources.programCore, ...sources[name]]
  return {
    kernels: all.filter(source => source.endsWith('.cu')),
    rest: all.filter(source => source.endsWith('.cpp')),
  }
}

const sanitizers = {
  plain: ['-O2'],
  asan: ['-O1', '-g1', '-fsanitize=address,undefined', '-fno-sanitize=vptr', '-fno-omit-frame-pointer'],
  tsan: ['-O1', '-g1', '-fsanitize=thread'],
}
const warnings = ['-Wall', '-Wextra', '-Werror', '-Wno-unknown-pragmas']
const common = ['-std=c++17', '-fPIC', '-fno-strict-aliasing', '-ffp-contract=off', '-pthread']

// Folder of the toolkit's headers, or null.
export function findToolkit() {
  const nvcc = findTools().nvcc
  if (!nvcc) return null
  // nvcc may be a script that calls the real one: ask it where its headers are.
  let include = null
  try {
    const text = execFileSync(nvcc.path, ['--dryrun', '-x', 'cu', '-c', '/dev/null', '-o', '/dev/null'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    include = includeOf(text)
  } catch {}
  include ??= includeOf(dryRunErrors(nvcc.path))
  if (!include || !existsSync(join(include, 'cuda_runtime_api.h'))) return null
  return { nvcc: nvcc.path, version: nvcc.version, include }
}

function dryRunErrors(nvcc) {
  try {
    return execFileSync('/bin/sh', ['-c', '"$0" --dryrun -x cu -c /dev/null -o /dev/null 2>&1', nvcc], {
      encoding: 'utf8',
    })
  } catch {
    return ''
  }
}

function includeOf(text) {
  const top = /^#\$ TOP=(.*)$/m.exec(text)?.[1]
  if (!top) return null
  const candidates = [join(top, 'include'), join(top, 'targets/x86_64-linux/include')]
  return candidates.find(path => existsSync(join(path, 'cuda_runtime_api.h'))) ?? null
}

// Why programs cannot be built here, or null.
export function missing() {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch))
    return 'the emulator needs Linux'
  if (!findCommand('g++')) return 'no g++'
  if (!findToolkit()) return 'no CUDA toolkit (nvcc and its headers)'
  return null
}

const sha = (...parts) => createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 24)
const read = path => readFileSync(join(root, path), 'utf8')

let headers = null
function hashOfHeaders() {
  headers ??= sha(
    ...['native/core', 'native/emulator', 'native/ops', 'native/programs', 'test/emulator'].flatMap(place =>
      readdirSync(join(root, place))
        .filter(name => /\.(h|cuh)$/.test(name))
        .sort()
        .map(name => name + read(`${place}/${name}`)),
    ),
  )
  return headers
}

async function compile(source, flags, name) {
  const object = join(
    folder,
    `${name}-${sha(flags.join(' '), readFileSync(resolve(root, source), 'utf8'), hashOfHeaders())}.o`,
  )
  if (existsSync(object)) return object
  const temporary = `${object}.${process.pid}`
  const language = source.endsWith('.cu') ? ['-x', 'c++'] : []
  await run('g++', [...flags, ...language, '-c', source, '-o', temporary])
  renameSync(temporary, object)
  return object
}

// Runs functions that return promises, as many at a time as there are processors; results in their order.
export async function inParallel(jobs) {
  const results = new Array(jobs.length)
  let next = 0
  const worker = async () => {
    while (next < jobs.length) {
      const i = next++
      results[i] = await jobs[i]()
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  return results
}

const execute = promisify(execFile)
async function run(command, args) {
  try {
    await execute(command, args, { cwd: root, maxBuffer: 1 << 26 })
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}\n${error.stdout ?? ''}${error.stderr ?? error.message}`)
  }
}

// PTX of one source for an architecture ('80', '90a', '120').
export async function makePtx(source, arch, defines = []) {
  const toolkit = findToolkit()
  const flags = [
    '-std=c++17',
    '-ptx',
    `-arch=compute_${arch}`,
    '-lineinfo',
    '-DLUFFY_BACKEND=cuda',
    ...defines,
  ]
  const path = join(
    folder,
    `${basename(source, '.cu')}-${arch}-${sha(...flags, read(source), hashOfHeaders())}.ptx`,
  )
  if (!existsSync(path)) {
    await run(toolkit.nvcc, [...flags, source, '-o', `${path}.${process.pid}`])
    renameSync(`${path}.${process.pid}`, path)
  }
  return path
}

// The translated PTX of one source, as an object.
async function compilePtx(source, arch, flags) {
  const ptx = await makePtx(source, arch)
  const cpp = ptx.replace(/\.ptx$/, '.cpp')
  const text = translatePtx(readFileSync(ptx, 'utf8'), source)
  if (!existsSync(cpp) || readFileSync(cpp, 'utf8') !== text) writeFileSync(cpp, text)
  const quiet = flags.filter(flag => !flag.startsWith('-W')).map(flag => (flag === '-O2' ? '-O1' : flag))
  return compile(cpp, [...quiet, '-w', `-I${root}`], `${basename(source, '.cu')}-ptx-${arch}`)
}

const emulatorJobs = flags =>
  readdirSync(join(root, 'native/emulator'))
    .filter(name => name.endsWith('.cpp'))
    .sort()
    .map(name => () => compile(`native/emulator/${name}`, flags, name.slice(0, -4)))

const kernelJobs = (sources, flags, flavour, ptxArch) => [
  ...(ptxArch ? sources.map(source => () => compilePtx(source, ptxArch, flags)) : []),
  ...sources.map(source => () => compile(source, flags, `${basename(source, '.cu')}-${flavour}`)),
]

// Builds `program` in a flavour: plain, asan or tsan, and with an architecture also its leg B (EMULATOR_LEG=ptx).
export async function buildProgram(program, flavour = 'plain', ptxArch = null) {
  const reason = missing()
  if (reason) throw new Error(`the emulator cannot be built: ${reason}`)
  const sources = programs[program]
  if (!sources) throw new Error(`no program '${program}': expected ${Object.keys(programs).join(', ')}`)
  if (!sanitizers[flavour])
    throw new Error(`no flavour '${flavour}': expected ${Object.keys(sanitizers).join(', ')}`)
  mkdirSync(folder, { recursive: true })
  const include = ['-isystem', findToolkit().include]
  // Those of the backend are the plugin's objects.
  const flags = sources.rest
    ? backendFlags(flavour, include)
    : [...common, ...warnings, ...sanitizers[flavour], '-DLUFFY_BACKEND=cuda', ...include]
  // The runtime is never instrumented: one object serves every flavour.
  const runtimeFlags = [...common, ...warnings, '-O2', ...include]
  const objects = await inParallel([
    ...kernelJobs(sources.kernels, flags, flavour, ptxArch),
    ...emulatorJobs(runtimeFlags),
    ...[...readNativeSources().sources.pluginCore, ...(sources.rest ?? [])].map(
      source => () => compile(source, [...runtimeFlags, '-DLUFFY_BACKEND=cuda'], basename(source, '.cpp')),
    ),
  ])
  const mark = ptxArch ? `${flavour}-ptx${ptxArch}` : flavour
  const path = join(folder, `${program}-${mark}-${sha(...objects)}`)
  if (existsSync(path)) return path
  const link = sanitizers[flavour].filter(flag => flag.startsWith('-fsanitize'))
  await run('g++', [...link, '-pthread', ...objects, '-ldl', '-o', `${path}.${process.pid}`])
  renameSync(`${path}.${process.pid}`, path)
  return path
}

// The sources of the CUDA backend: kernels, runtime and table, and what of native/core they call.
export function cudaSources() {
  const { cuda, pluginCore } = readNativeSources().sources
  return {
    kernels: cuda.filter(name => name.endsWith('.cu')),
    rest: [...pluginCore, ...cuda.filter(name => name.endsWith('.cpp'))],
  }
}

const visible = ['-fvisibility=hidden', '-DLUFFY_BACKEND=cuda', '-DLUFFY_PLUGIN_NAME="emulated"']
const backendFlags = (flavour, include) => [
  ...common,
  ...warnings,
  ...sanitizers[flavour],
  ...visible,
  ...include,
]

// Builds the emulated device, build/emulator/luffy_emulated.so: the CUDA backend's own sources on the emulator. With an
// architecture its leg B instead, which runs the PTX that nvcc made for it.
export async function buildPlugin(flavour = 'plain', ptxArch = null) {
  const reason = missing()
  if (reason) throw new Error(`the emulator cannot be built: ${reason}`)
  mkdirSync(folder, { recursive: true })
  const include = ['-isystem', findToolkit().include]
  const flags = backendFlags(flavour, include)
  const runtimeFlags = [...common, ...warnings, '-O2', ...include]
  const { kernels, rest } = cudaSources()
  const objects = await inParallel([
    ...kernelJobs(kernels, flags, flavour, ptxArch),
    ...emulatorJobs(runtimeFlags),
    ...rest.map(
      source => () => compile(source, [...common, ...warnings, '-O2', ...visible], basename(source, '.cpp')),
    ),
  ])
  const mark = ptxArch ? `${flavour}-ptx${ptxArch}` : flavour
  const path = join(folder, mark === 'plain' ? 'luffy_emulated.so' : `luffy_emulated-${mark}.so`)
  const made = `${path}.of`
  if (existsSync(path) && existsSync(made) && readFileSync(made, 'utf8') === objects.join('\n')) return path
  const link = sanitizers[flavour].filter(flag => flag.startsWith('-fsanitize'))
  await run('g++', ['-shared', ...link, '-pthread', ...objects, '-ldl', '-o', `${path}.${process.pid}`])
  renameSync(`${path}.${process.pid}`, path)
  writeFileSync(made, objects.join('\n'))
  return path
}

// Builds test/emulator/cublaslt-peer.cpp, which emulated devices open where LUFFY_CUBLASLT names it; `defines` make it lack
// something. Returns its path.
export async function buildPeer(...defines) {
  mkdirSync(folder, { recursive: true })
  const flags = [...common, ...warnings, '-O2', '-fvisibility=hidden', ...defines]
  const object = await compile('test/emulator/cublaslt-peer.cpp', flags, 'cublaslt-peer')
  const path = object.replace(/\.o$/, '.so')
  if (!existsSync(path)) {
    await run('g++', ['-shared', object, '-o', `${path}.${process.pid}`])
    renameSync(`${path}.${process.pid}`, path)
  }
  return path
}

// Builds test/emulator/launch-test.cu as cards' kernels are built, by nvcc, on a runtime that prints what it is asked.
// Returns its path.
export async function buildLaunches() {
  mkdirSync(folder, { recursive: true })
  const { nvcc, include } = findToolkit()
  const source = 'test/emulator/launch-test.cu'
  const flags = ['-std=c++17', '-arch=compute_80', '-DLUFFY_BACKEND=cuda']
  const object = join(folder, `launch-test-${sha(...flags, read(source), hashOfHeaders())}.o`)
  if (!existsSync(object)) {
    await run(nvcc, [...flags, '-c', source, '-o', `${object}.${process.pid}`])
    renameSync(`${object}.${process.pid}`, object)
  }
  const host = [...common, ...warnings, '-DLUFFY_BACKEND=cuda', '-isystem', include]
  const objects = [
    object,
    await compile('test/emulator/launch-runtime.cpp', host, 'launch-runtime'),
    await compile('native/core/check.cpp', host, 'check'),
  ]
  const path = join(folder, `launch-test-${sha(...objects)}`)
  if (!existsSync(path)) {
    await run('g++', [...objects, '-o', `${path}.${process.pid}`])
    renameSync(`${path}.${process.pid}`, path)
  }
  return path
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [command, ...rest] = process.argv.slice(2)
  if (command === 'missing') {
    console.log(missing() ?? '')
  } else if (command === 'plugin') {
    const optional = rest[0] === '--optional'
    const reason = optional ? missing() : null
    try {
      if (reason) console.log(`emulated CUDA: skipped, ${reason}`)
      else console.log(await buildPlugin(...(optional ? [] : rest)))
    } catch (error) {
      console.error(error.message)
      process.exitCode = 1
    }
  } else if (command === 'peer') {
    console.log(await buildPeer(...rest))
  } else if (command === 'launches') {
    console.log(await buildLaunches())
  } else if (command === 'build') {
    try {
      console.log(await buildProgram(rest[0], rest[1], rest[2]))
    } catch (error) {
      console.error(error.message)
      process.exitCode = 1
    }
  } else {
    console.error(
      `usage: node ${dirname(process.argv[1])}/emulator.mjs missing | build PROGRAM [FLAVOUR [ARCH]] | plugin [--optional | FLAVOUR [ARCH]] | peer [DEFINES] | launches`,
    )
    process.exitCode = 2
  }
}
