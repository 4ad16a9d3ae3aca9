// `luffy doctor`: what this machine has, what luffy makes of it, and one line of repair for each problem.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import type { BuildStatus } from '../../scripts/build-native.mjs'
import type { Tools } from '../../scripts/native-tools.mjs'
import type { ProductLibrary } from '../native.js'
import { addonPath, packageRoot } from '../native-loader.js'
import { type PluginDevices, pluginPath, probePlugin, probeProducts } from '../native-plugins.js'
import { importBuild, importTools } from './package-scripts.js'

export interface Problem {
  what: string
  repair: string
  /** Without this repair luffy does not run; the others only cost something. */
  fatal: boolean
}

export interface AddonReport {
  path: string
  exists: boolean
  loads: boolean
  /** Exported functions. */
  functions: number
  /** Instruction sets that are built and supported, best first; the first is used. */
  kernels: string[]
  error: string | null
}

export interface CudaReport extends PluginDevices {
  path: string
  exists: boolean
  architectures: string
  /** Why the last build holds no CUDA kernels, or null. */
  missing: string | null
  /** cuBLASLt; null where no CUDA kernels are built, which alone would use it. */
  products: ProductLibrary | null
}

export interface DoctorReport {
  luffy: string
  node: string
  platform: string
  cpu: { model: string; cores: number; memoryBytes: number; flags: string[] }
  tools: Tools
  addon: AddonReport
  cuda: CudaReport
  lastBuild: Pick<BuildStatus, 'ok' | 'builder' | 'seconds' | 'reason'> | null
  problems: Problem[]
  ok: boolean
}

const interestingFlags = ['avx2', 'fma', 'f16c', 'avx512f', 'avx512bw', 'avx512vl', 'avx512_bf16', 'amx_bf16']

function cpuFlags(): string[] {
  try {
    const line = /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? ''
    const all = new Set(line.split(' '))
    return interestingFlags.filter(flag => all.has(flag))
  } catch {
    return []
  }
}

// In a child process: an addon that the processor cannot run would take this process down with it. The answer is
// the last line, the error of a failed load the text of the exception.
const probe = `
  const addon = require(process.argv[1])
  const isas = typeof addon.systemInfo === 'function' ? addon.systemInfo().isas : ''
  console.log(JSON.stringify({ functions: Object.keys(addon).length, kernels: isas.split(', ').filter(Boolean) }))
`

export function probeAddon(path: string): AddonReport {
  const report: AddonReport = {
    path,
    exists: existsSync(path),
    loads: false,
    functions: 0,
    kernels: [],
    error: null,
  }
  if (!report.exists) return { ...report, error: 'the file does not exist' }
  try {
    const text = execFileSync(process.execPath, ['-e', probe, path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    })
    const { functions, kernels } = JSON.parse(text) as Pick<AddonReport, 'functions' | 'kernels'>
    return { ...report, loads: true, functions, kernels }
  } catch (error) {
    const { signal, stderr } = error as { signal?: string; stderr?: string }
    const line = /^Error: (.*)$/m.exec(stderr ?? '')?.[1]
    return { ...report, error: line ?? (signal ? `the process was ended by ${signal}` : String(error)) }
  }
}

function findProblems(
  report: Omit<DoctorReport, 'problems' | 'ok'>,
  installCommand: string,
  cmakeUsable: boolean,
): Problem[] {
  const { addon, tools } = report
  const problems: Problem[] = []
  const add = (what: string, repair: string, fatal: boolean) => problems.push({ what, repair, fatal })
  if (process.platform === 'win32') {
    add('Windows is not supported yet', 'use WSL2 (Ubuntu), then npm install', true)
    return problems
  }
  if (Number.parseInt(process.versions.node, 10) < 20)
    add(`Node ${report.node} is too old`, 'install Node 20 or later', true)
  if (!addon.loads) {
    const build = addon.exists ? 'npx luffy build --clean' : 'npx luffy build'
    const repair = process.env.LUFFY_NATIVE ? 'correct or unset LUFFY_NATIVE' : build
    add(`the native kernels do not load: ${addon.error}`, repair, true)
  } else if (addon.functions === 0) {
    add('the native kernels export nothing', 'npx luffy build --clean', true)
  }
  if (!tools.compiler) add('no C++ compiler', installCommand, !addon.loads)
  else if (!cmakeUsable && !(tools.make && tools.python)) {
    add('neither CMake 3.19 with make or ninja, nor make with python3', installCommand, !addon.loads)
  } else if (!cmakeUsable) {
    add('no CMake 3.19 or newer: the build uses node-gyp (CPU only)', installCommand, false)
  }
  const { missing } = report.cuda
  if (tools.nvcc && missing && missing !== 'LUFFY_CUDA=off')
    add(`the CUDA kernels are not built: ${missing}`, 'npx luffy build', false)
  const library = process.env.LUFFY_CUBLASLT
  if (library && report.cuda.products?.reason)
    add(`LUFFY_CUBLASLT is '${library}': ${report.cuda.products.reason}`, 'correct or unset it', false)
  return problems
}

export async function runDoctor(): Promise<DoctorReport> {
  const { findTools, cmakeIsUsable, installToolsCommand } = await importTools()
  const { readBuildStatus } = await importBuild()
  const tools = findTools()
  const build = readBuildStatus()
  const manifest = JSON.parse(readFileSync(`${packageRoot}/package.json`, 'utf8')) as { version: string }
  const facts = {
    luffy: manifest.version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpu: {
      model: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      flags: cpuFlags(),
    },
    tools,
    addon: probeAddon(addonPath().path),
    cuda: {
      path: pluginPath('cuda'),
      exists: existsSync(pluginPath('cuda')),
      architectures: build?.cuda?.ok ? build.cuda.architectures : '',
      missing: build?.cuda && !build.cuda.ok ? build.cuda.reason : null,
      ...probePlugin('cuda'),
      products: probeProducts('cuda'),
    },
    lastBuild: build && {
      ok: build.ok,
      builder: build.builder,
      seconds: build.seconds,
      reason: build.reason,
    },
  } satisfies Omit<DoctorReport, 'problems' | 'ok'>
  const problems = findProblems(facts, installToolsCommand(), cmakeIsUsable(tools))
  return { ...facts, problems, ok: !problems.some(problem => problem.fatal) }
}

/** The report for a person; `luffy doctor --json` prints the report itself. */
export function formatDoctor(report: DoctorReport): string {
  const { cpu, tools, addon } = report
  const tool = (name: keyof Tools, absent = 'not found') => {
    const found = tools[name]
    return found ? `${found.version} (${found.path})` : absent
  }
  const rows: [string, string][] = [
    ['luffy', report.luffy],
    ['node', report.node],
    ['platform', report.platform],
    ['processor', `${cpu.model}, ${cpu.cores} cores, ${(cpu.memoryBytes / 2 ** 30).toFixed(1)} GiB`],
    ['instructions', cpu.flags.join(' ') || 'unknown'],
    ['kernels', addon.kernels.length > 0 ? `${addon.kernels[0]} (of ${addon.kernels.join(', ')})` : 'none'],
    ['addon', `${addon.path}, ${addon.loads ? `loads, ${addon.functions} functions` : addon.error}`],
    ['cuda', describeCuda(report.cuda)],
    ['cublaslt', describeProducts(report.cuda)],
    ['last build', describeLastBuild(report.lastBuild)],
    ['compiler', tool('compiler')],
    ['cmake', tool('cmake')],
    ['make', tool('make')],
    ['python', tool('python')],
    ['nvcc', tool('nvcc', 'not found (CUDA kernels need it)')],
  ]
  const width = Math.max(...rows.map(([name]) => name.length)) + 2
  const lines = rows.map(([name, value]) => name.padEnd(width) + value)
  lines.push('')
  if (report.problems.length === 0) lines.push('Everything is there.')
  for (const { what, repair, fatal } of report.problems) {
    lines.push(`${fatal ? 'Problem' : 'Note'}: ${what}`, `  repair: ${repair}`)
  }
  return lines.join('\n')
}

function describeCuda({ exists, count, reason, architectures }: CudaReport): string {
  if (!exists) return `none: ${reason}`
  const built = `kernels for ${architectures.replaceAll(';', ', ')}`
  return count > 0 ? `${built}; ${count} GPU${count > 1 ? 's' : ''}` : `${built}; no GPU: ${reason}`
}

function describeProducts({ products }: CudaReport): string {
  if (!products) return 'not looked for: only the CUDA kernels use it'
  const { file, version, reason } = products
  if (file === '') return `not found (own products): ${reason}`
  const found = version === '' ? file : `${version} (${file})`
  return reason === '' ? found : `${found}, not used (own products): ${reason}`
}

function describeLastBuild(build: DoctorReport['lastBuild']): string {
  if (!build) return 'none'
  return build.ok ? `${build.builder}, ${build.seconds} s` : `failed: ${build.reason}`
}
