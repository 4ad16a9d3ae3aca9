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
  /** Machine instructions by kind (scripts/sass.mjs), where they are known. */
  sass?: Partial<Record<'mma' | 'ldmatrix' | 'asyncCopies' | 'loads128' | 'stores128' | 'local', number>>
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

// Of a multiprocessor: registers 65,536 everywhere, allotted to warps by 256; of shared memory each block loses 1 KiB.
const processors = {
  80: { shared: 164 * 1024, threads: 2048 },
  '90a': { shared: 228 * 1024, threads: 2048 },
  120: { shared: 100 * 1024, threads: 1536 },
} as const

// The tiles of matmul-bf16.cu: warps, 16-row parts of a warp, slices of 32 k, and blocks that a multiprocessor must hold.
const tiles = [
  {
    name: 'MmaTile<2, 4, 4, 4, 1>',
    rows: 128,
    columns: 128,
    warps: 8,
    parts: 4,
    stages: 4,
    least: { 80: 1, '90a': 1, 120: 1 },
  },
  {
    name: 'MmaTile<2, 2, 2, 4, 3>',
    rows: 64,
    columns: 64,
    warps: 4,
    parts: 2,
    stages: 4,
    least: { 80: 3, '90a': 3, 120: 3 },
  },
  {
    name: 'MmaTile<1, 2, 1, 6, 6>',
    rows: 16,
    columns: 64,
    warps: 2,
    parts: 1,
    stages: 6,
    least: { 80: 5, '90a': 7, 120: 3 },
  },
]

test('bfloat16 products: tensor cores, 16-byte copies, nothing in local memory (but the largest on sm_120), enough blocks side by side', t => {
  for (const arch of ['80', '90a', '120'] as const) {
    const { shared, threads } = processors[arch]
    const kernels = Object.entries(table.kernels['matmul-bf16.cu']?.[arch] ?? {})
    for (const { name, rows, columns, warps, parts, stages, least } of tiles) {
      const found = kernels.filter(([kernel]) => kernel.includes(name))
      // Four layouts of the operands, and gate and up.
      t.is(found.length, 5, `${name} for sm_${arch}`)
      for (const [kernel, { registers, sass = {} }] of found) {
        // A slice is two steps of 16 k: every part meets four of 8 columns, and fragments come four at a time.
        t.is(sass.mma, 2 * parts * 4, kernel)
        t.is(sass.ldmatrix, 2 * (parts + 2), kernel)
        t.true((sass.asyncCopies ?? 0) >= 8, kernel)
        // Gate and up add nothing that is read.
        const reads = !kernel.endsWith('true, true, true>')
        t.true((sass.stores128 ?? 0) > 0 && (sass.loads128 ?? 0) > 0 === reads, kernel)
        t.true((sass.local ?? 0) <= (arch === '120' && parts === 4 ? 40 : 0), `${kernel}: ${sass.local}`)
        const bytes = (rows + columns) * 32 * 2 * stages + 1024
        const byRegisters = Math.floor(65_536 / (Math.ceil((registers * 32) / 256) * 256) / warps)
        const resident = Math.min(Math.floor(shared / bytes), byRegisters, threads / (32 * warps))
        t.true(resident >= least[arch], `${kernel} on sm_${arch}: ${resident} blocks side by side`)
      }
    }
  }
})

// The tiles of attention-bf16.cu, by dimensions that have room: warps, tiles in shared memory of 64 rows, and blocks that a
// multiprocessor must hold; and of attention-decode-bf16.cu, one warp and five chunks of 16 rows.
const attentionTiles = [
  { width: 64, warps: 4, tiles: 5, least: { 80: 3, '90a': 3, 120: 2 }, decodes: { 80: 8, '90a': 8, 120: 8 } },
  {
    width: 128,
    warps: 4,
    tiles: 5,
    least: { 80: 2, '90a': 2, 120: 1 },
    decodes: { 80: 7, '90a': 8, 120: 4 },
  },
  {
    width: 256,
    warps: 8,
    tiles: 3,
    least: { 80: 1, '90a': 1, 120: 1 },
    decodes: { 80: 3, '90a': 5, 120: 2 },
  },
]

test('bfloat16 attention: tensor cores, 16-byte copies, nothing in local memory, enough blocks side by side', t => {
  for (const arch of ['80', '90a', '120'] as const) {
    const { shared } = processors[arch]
    for (const { width, warps, tiles, least, decodes } of attentionTiles) {
      for (const [file, kernel, bytes, of, wanted] of [
        ['attention-bf16', 'attention_forward_bf16_kernel', tiles * 64 * width * 2, warps, least[arch]],
        ['attention-decode-bf16', 'attention_decode_bf16_kernel', 5 * 16 * width * 2, 1, decodes[arch]],
      ] as const) {
        const found = Object.entries(table.kernels[`${file}.cu`]?.[arch] ?? {}).filter(([name]) =>
          name.startsWith(`${kernel}<${width}>`),
        )
        t.is(found.length, 1, `${kernel}<${width}> for sm_${arch}`)
        for (const [name, { registers, spills, shared: own, sass = {} }] of found) {
          t.true((sass.mma ?? 0) >= 64 && (sass.ldmatrix ?? 0) >= 32, name)
          t.true((sass.asyncCopies ?? 0) > 0, name)
          t.is(spills + (sass.local ?? 0), 0, `${name} on sm_${arch}`)
          const byRegisters = Math.floor(65_536 / (Math.ceil((registers * 32) / 256) * 256) / of)
          const resident = Math.min(Math.floor(shared / (bytes + own + 1024)), byRegisters)
          t.true(resident >= wanted, `${name} on sm_${arch}: ${resident} blocks side by side`)
        }
      }
    }
  }
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
