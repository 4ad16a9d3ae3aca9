// Registers and spills of every CUDA kernel against the committed table (nvcc, all architectures).
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { missingReason, runsLongTests } from './_programs.js'

interface Budget {
  registers: number
  spills: number
  stack: number
  shared: number
  reason?: string
}
interface Table {
  nvcc: string
  kernels: Record<string, Record<string, Record<string, Budget>>>
}

const table = JSON.parse(readFileSync(join(packageRoot, 'native/ops/kernel-budgets.json'), 'utf8')) as Table
const script = join(packageRoot, 'scripts/kernel-budgets.mjs')
const execute = promisify(execFile)

/** Runs an expression over the script's functions, as JSON. */
async function evaluate(expression: string): Promise<unknown> {
  const code = `import(${JSON.stringify(script)}).then(m => process.stdout.write(JSON.stringify(${expression})))`
  return JSON.parse((await execute(process.execPath, ['-e', code])).stdout)
}

test('the table has every kernel file for 80, 90a and 120, and no spill without a reason', t => {
  const files = readdirSync(join(packageRoot, 'native/ops')).filter(name => name.endsWith('.cu'))
  t.true(files.length >= 1)
  t.deepEqual(Object.keys(table.kernels).sort(), files.sort())
  // (A file may have none of its own: embedding and gather-rows launch those of indexed-rows.)
  const counts = new Map<string, number>()
  for (const [file, archs] of Object.entries(table.kernels)) {
    t.deepEqual(Object.keys(archs).sort(), ['120', '80', '90a'], file)
    for (const [arch, kernels] of Object.entries(archs)) {
      counts.set(arch, (counts.get(arch) ?? 0) + Object.keys(kernels).length)
      for (const [name, { registers, spills, reason }] of Object.entries(kernels)) {
        t.true(registers > 0, name)
        if (spills > 0)
          t.true((reason ?? '').length > 10, `${file} sm_${arch} ${name} spills and says no reason`)
      }
    }
  }
  for (const [arch, count] of counts) t.true(count >= 100, `only ${count} kernels for sm_${arch}`)
})

test('what ptxas prints is read, and a spill, another number and a missing kernel are named', async t => {
  const text = `ptxas info    : Compiling entry function '_Z1kPf' for 'sm_80'
ptxas info    : Function properties for _Z1kPf
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 256 bytes smem, 360 bytes cmem[0]`
  const measured = { registers: 40, spills: 20, stack: 16, shared: 256 }
  t.deepEqual(await evaluate(`m.parsePtxas(${JSON.stringify(text)})`), { k: measured })
  const compare = (now: unknown, known: unknown) =>
    evaluate(
      `m.compareBudgets({ 'a.cu': { 80: ${JSON.stringify(now)} } }, { 'a.cu': { 80: ${JSON.stringify(known)} } })`,
    )
  const clean = { ...measured, spills: 0, stack: 0 }
  t.deepEqual(await compare({ k: clean }, { k: clean }), [])
  t.deepEqual(await compare({ k: measured }, { k: { ...measured, reason: 'the tail of long rows' } }), [])
  t.deepEqual(await compare({ k: measured }, { k: measured }), [
    'a.cu sm_80 k: spills 20 bytes, and the table has no reason',
  ])
  t.deepEqual(await compare({ k: { ...clean, registers: 41 } }, { k: clean }), [
    'a.cu sm_80 k: registers 41, the table says 40',
  ])
  t.deepEqual(await compare({ k: clean }, {}), ['a.cu sm_80 k: not in the table'])
  t.deepEqual(await compare({}, { k: clean }), ['a.cu sm_80 k: in the table, and not compiled'])
})

if (missingReason) {
  test.skip(`nvcc compiles every kernel within its budget: ${missingReason}`, () => {})
} else if (!runsLongTests) {
  test.skip('nvcc compiles every kernel within its budget: only in npm run test:emulator', () => {})
} else {
  test('nvcc compiles every kernel within its budget', async t => {
    const { stdout } = await execute(process.execPath, [script], { maxBuffer: 1 << 26 })
    t.regex(
      stdout,
      /kernel budgets: \d{2,} kernels of \d+ files for sm_80, sm_90a, sm_120 compiled, 0 not as/,
    )
  })
}
