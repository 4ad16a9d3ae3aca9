// Compiles every kernel file of native/ops with nvcc for each architecture and compares what ptxas says (registers,
// spills, stack, static shared memory) and the machine code holds (scripts/sass.mjs) with native/ops/kernel-budgets.json.
// `--write` renews the table; reasons for spills are kept and must be written by hand: a spill without one fails.
// `--only STEM[,STEM]` looks at some files.
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { inParallel } from './emulator.mjs'
import { findTools } from './native-tools.mjs'
import { recordOptions } from './record-options.mjs'
import { countInstructions } from './sass.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const table = join(root, 'native/ops/kernel-budgets.json')
const execute = promisify(execFile)
export const architectures = ['80', '90a', '120']

// Plain names of mangled kernels: "luffy::cuda::rms_norm_forward<float, 32, 1, true>".
function demangle(names) {
  const { stdout, status } = spawnSync('c++filt', ['-p'], { input: names.join('\n'), encoding: 'utf8' })
  if (status !== 0) return names
  return stdout
    .trimEnd()
    .split('\n')
    .map(name => name.replace(/^void /, '').replaceAll('luffy::cuda::', ''))
}

// What `ptxas -v` printed, as { kernel: { registers, spills, stack, shared } }; spills and stack in bytes.
export function parsePtxas(text, instructions = {}) {
  const found = new Map()
  let name = null
  for (const line of text.split('\n')) {
    const begin =
      /Compiling entry function '([^']+)'/.exec(line) ?? /Function properties for (\S+)/.exec(line)
    if (begin) {
      name = begin[1]
      if (!found.has(name)) found.set(name, { registers: 0, spills: 0, stack: 0, shared: 0 })
      continue
    }
    if (!name) continue
    const spill = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line)
    if (spill) {
      found.get(name).stack = Number(spill[1])
      found.get(name).spills = Number(spill[2]) + Number(spill[3])
    }
    const used = /Used (\d+) registers/.exec(line)
    if (used) {
      found.get(name).registers = Number(used[1])
      found.get(name).shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0)
    }
  }
  const names = [...found.keys()]
  const plain = demangle(names)
  return Object.fromEntries(
    names
      .map((mangled, i) => {
        const sass = Object.entries(instructions[mangled] ?? {}).filter(([, n]) => n > 0)
        return [
          plain[i],
          { ...found.get(mangled), ...(sass.length > 0 ? { sass: Object.fromEntries(sass) } : {}) },
        ]
      })
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}

async function compile(nvcc, file, arch, folder) {
  const cubin = join(folder, `${basename(file, '.cu')}-${arch}.cubin`)
  const args = [
    '-std=c++17',
    '-DLUFFY_BACKEND=cuda',
    `-arch=sm_${arch}`,
    '-Xptxas',
    '-v',
    '-cubin',
    file,
    '-o',
    cubin,
  ]
  let stdout
  let stderr
  try {
    ;({ stdout, stderr } = await execute(nvcc, args, { cwd: root, maxBuffer: 1 << 26 }))
  } catch (error) {
    throw new Error(
      `nvcc could not compile ${file} for sm_${arch}:\n${error.stdout ?? ''}${error.stderr ?? error.message}`,
    )
  }
  if (/C7510|wgmma.*serialized/.test(stderr))
    throw new Error(`${file}: ptxas serialized wgmma for sm_${arch}`)
  return parsePtxas(stdout + stderr, countInstructions(cubin))
}

// Every difference between what was measured and the table, in words.
export function compareBudgets(measured, known) {
  const wrong = []
  for (const [file, archs] of Object.entries(measured)) {
    for (const [arch, kernels] of Object.entries(archs)) {
      const before = known[file]?.[arch] ?? {}
      for (const [kernel, now] of Object.entries(kernels)) {
        const was = before[kernel]
        const where = `${file} sm_${arch} ${kernel}`
        if (!was) {
          wrong.push(`${where}: not in the table`)
          continue
        }
        if (now.spills > 0 && !was.reason)
          wrong.push(`${where}: spills ${now.spills} bytes, and the table has no reason`)
        for (const field of ['registers', 'spills', 'stack', 'shared'])
          if (now[field] !== was[field])
            wrong.push(`${where}: ${field} ${now[field]}, the table says ${was[field]}`)
        const machine = was.sass ? Object.keys({ ...was.sass, ...now.sass }) : []
        for (const field of machine)
          if ((now.sass?.[field] ?? 0) !== (was.sass[field] ?? 0))
            wrong.push(`${where}: ${field} ${now.sass?.[field] ?? 0}, the table says ${was.sass[field] ?? 0}`)
      }
      for (const kernel of Object.keys(before))
        if (!kernels[kernel]) wrong.push(`${file} sm_${arch} ${kernel}: in the table, and not compiled`)
    }
  }
  return wrong
}

async function main(args) {
  const all = readdirSync(join(root, 'native/ops'))
    .filter(name => name.endsWith('.cu'))
    .sort()
  const options = recordOptions(
    'kernel-budgets',
    args,
    all.map(name => basename(name, '.cu')),
  )
  if (options.text !== undefined) {
    console.log(options.text)
    return options.code
  }
  const { only, write } = options
  const { nvcc } = findTools()
  if (!nvcc) {
    console.log('kernel budgets: skipped, no nvcc')
    return 0
  }
  const files = all.filter(name => !only || only.includes(basename(name, '.cu')))
  const written = existsSync(table) ? JSON.parse(readFileSync(table, 'utf8')) : { nvcc: '', kernels: {} }
  const folder = mkdtempSync(join(tmpdir(), 'luffy-budgets-'))
  const measured = {}
  const compilations = files.length * architectures.length
  let done = 0
  let told = performance.now()
  try {
    for (const file of files) measured[file] = {}
    await inParallel(
      files.flatMap(file =>
        architectures.map(arch => async () => {
          measured[file][arch] = await compile(nvcc.path, `native/ops/${file}`, arch, folder)
          done += 1
          if (performance.now() - told < 10_000) return
          told = performance.now()
          console.error(`kernel budgets: ${done} of ${compilations} compilations`)
        }),
      ),
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const count = Object.values(measured).flatMap(archs => Object.values(archs).flatMap(Object.keys)).length
  if (write) {
    for (const [file, archs] of Object.entries(measured))
      for (const [arch, kernels] of Object.entries(archs))
        for (const [name, now] of Object.entries(kernels)) {
          const reason = written.kernels[file]?.[arch]?.[name]?.reason
          if (reason && now.spills > 0) now.reason = reason
        }
    const kernels = only ? { ...written.kernels, ...measured } : measured
    writeFileSync(table, `${JSON.stringify({ nvcc: nvcc.version, kernels }, null, 2)}\n`)
    try {
      execFileSync('npx', ['biome', 'format', '--write', table], { cwd: root, stdio: 'ignore' })
    } catch {}
    console.log(`kernel budgets: ${count} kernels written`)
    return 0
  }
  // Another nvcc allots registers otherwise: then only spills are looked at.
  const sameCompiler = written.nvcc === nvcc.version
  const wrong = compareBudgets(measured, written.kernels).filter(
    text => sameCompiler || /spills \d+ bytes/.test(text),
  )
  for (const text of wrong) console.error(text)
  console.log(
    `kernel budgets: ${count} kernels of ${files.length} files for sm_${architectures.join(', sm_')} compiled, ${wrong.length} not as in the table${sameCompiler ? '' : ` (nvcc ${nvcc.version}, table of ${written.nvcc}: only spills compared)`}`,
  )
  return wrong.length === 0 ? 0 : 1
}

if (process.argv[1] && basename(process.argv[1]) === 'kernel-budgets.mjs') {
  try {
    process.exitCode = await main(process.argv.slice(2))
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
