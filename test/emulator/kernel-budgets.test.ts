// Registers and spills of every CUDA kernel against the committed table (nvcc, all architectures).
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { architectures, residentBlocks, budgets as table } from './_budgets.js'
import { missingReason, runsLongTests } from './_programs.js'

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
  for (const arch of architectures) {
    const kernels = Object.entries(table.kernels['matmul-bf16.cu']?.[arch] ?? {})
    for (const { name, rows, columns, warps, parts, stages, least } of tiles) {
      const found = kernels.filter(([kernel]) => kernel.includes(name))
      // Each side along k or not, and the product of gate and up.
      t.is(found.length, 5, `${name} for sm_${arch}`)
      for (const [kernel, budget] of found) {
        const { sass = {} } = budget
        // A slice is two steps of 16 k: every part meets four of 8 columns, and fragments come four at a time.
        t.is(sass.mma, 2 * parts * 4, kernel)
        t.is(sass.ldmatrix, 2 * (parts + 2), kernel)
        t.true((sass.asyncCopies ?? 0) >= 8, kernel)
        // Gate and up have no addend to load.
        const isGated = /, true, true, true>$/.test(kernel)
        t.true((sass.stores128 ?? 0) > 0 && (isGated || (sass.loads128 ?? 0) > 0), kernel)
        t.true((sass.local ?? 0) <= (arch === '120' && parts === 4 ? 40 : 0), `${kernel}: ${sass.local}`)
        const resident = residentBlocks(arch, budget, 32 * warps, (rows + columns) * 32 * 2 * stages)
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
  for (const arch of architectures) {
    for (const { width, warps, tiles, least, decodes } of attentionTiles) {
      for (const [file, kernel, bytes, of, wanted] of [
        ['attention-bf16', 'attention_forward_bf16_kernel', tiles * 64 * width * 2, warps, least[arch]],
        ['attention-decode-bf16', 'attention_decode_bf16_kernel', 5 * 16 * width * 2, 1, decodes[arch]],
      ] as const) {
        const found = Object.entries(table.kernels[`${file}.cu`]?.[arch] ?? {}).filter(([name]) =>
          name.startsWith(`${kernel}<${width}>`),
        )
        t.is(found.length, 1, `${kernel}<${width}> for sm_${arch}`)
        for (const [name, budget] of found) {
          const { spills, sass = {} } = budget
          t.true((sass.mma ?? 0) >= 64 && (sass.ldmatrix ?? 0) >= 32, name)
          t.true((sass.asyncCopies ?? 0) > 0, name)
          t.is(spills + (sass.local ?? 0), 0, `${name} on sm_${arch}`)
          const resident = residentBlocks(arch, budget, 32 * of, bytes)
          t.true(resident >= wanted, `${name} on sm_${arch}: ${resident} blocks side by side`)
        }
      }
    }
  }
})

test('kernels on tensor cores have mma and ldmatrix', t => {
  const tensorCores = [
    'attention_backward_bf16_keys_kernel',
    'attention_backward_bf16_queries_kernel',
    'attention_decode_bf16_kernel',
    'attention_forward_bf16_kernel',
    'matmul_bf16_kernel',
  ]
  for (const arch of architectures) {
    const kernels = Object.values(table.kernels).flatMap(archs => Object.entries(archs[arch]))
    for (const name of tensorCores) {
      const found = kernels.filter(([kernel]) => kernel.split('<')[0] === name)
      t.true(found.length >= 3, `${name} for sm_${arch}`)
      for (const [kernel, { sass = {} }] of found)
        t.true((sass.mma ?? 0) > 0 && (sass.ldmatrix ?? 0) > 0, `${kernel} on sm_${arch}`)
    }
    // And nothing else has: then it belongs into the list.
    for (const [kernel, { sass = {} }] of kernels)
      t.is((sass.mma ?? 0) > 0, tensorCores.includes(kernel.split('<')[0] ?? ''), `${kernel} on sm_${arch}`)
  }
})

// The instances for aligned rows: how many of their loads and stores move 16 bytes (bfloat16 of load_four and store_four: 8),
// at least. Others are scalars, indices, and the last elements of a row that is no multiple of four.
const wideRows: readonly [kernels: RegExp, loads: number, stores: number][] = [
  [/^adamw_kernel<true>/, 4, 4],
  [/^add_indexed_rows_kernel<.*, true>/, 9, 1],
  [/^add_rows_kernel<.*, true>/, 2, 1],
  [/^attention_delta_bf16_kernel/, 2, 0],
  [/^cast_kernel<Float32Format, Float32Format, true>/, 1, 1],
  [/^cast_kernel<(BFloat16|Float16)Format, (BFloat16|Float16)Format, true>/, 1, 1],
  [/^copy_indexed_rows_kernel<.*, true>/, 1, 1],
  [/^fill_kernel<.*, true>/, 0, 1],
  [/^gradient_norm_chunks_kernel<true>/, 8, 0],
  [/^kv_cache_append_kernel<4>/, 2, 1],
  [/^kv_cache_append_bf16_kernel<8>/, 2, 2],
  [/^kv_cache_copy_(bf16_)?kernel<[48]>/, 2, 2],
  [/^logits_policy_loss_kernel<.*, true>/, 10, 5],
  [/^logits_policy_loss_staged_kernel/, 0, 1],
  [/^reduce_chunks_kernel<.*, true>/, 8, 0],
  [/^rms_norm_backward_kernel<.*, true>/, 12, 3],
  [/^rms_norm_forward_kernel<.*, true>/, 9, 4],
  [/^rope_kernel<.*, true>/, 4, 2],
  [/^sample_tokens_kernel<.*, true>/, 5, 0],
  [/^swiglu_backward_kernel<.*, true>/, 3, 2],
  [/^swiglu_forward_kernel<.*, true>/, 2, 1],
  [/^token_log_prob_backward_kernel<.*, true>/, 6, 1],
  [/^token_log_prob_forward_kernel<.*, true>/, 5, 0],
]

test('kernels over rows move 16 bytes at once (bfloat16: 8)', t => {
  for (const arch of architectures) {
    const kernels = Object.values(table.kernels).flatMap(archs => Object.entries(archs[arch]))
    for (const [pattern, loads, stores] of wideRows) {
      const found = kernels.filter(([kernel]) => pattern.test(kernel))
      t.true(found.length >= 1, `${pattern} for sm_${arch}`)
      for (const [kernel, { sass = {} }] of found) {
        const where = `${kernel} on sm_${arch}`
        const half = /b?float16/i.test(kernel) && !/^rms_norm/.test(kernel)
        const wideLoads = (sass.loads128 ?? 0) + (half ? (sass.loads64 ?? 0) : 0)
        const mixed = half || /^adamw/.test(kernel)
        const wideStores = (sass.stores128 ?? 0) + (mixed ? (sass.stores64 ?? 0) : 0)
        t.true(wideLoads >= loads, `${where}: ${wideLoads} wide loads`)
        t.true(wideStores >= stores, `${where}: ${wideStores} wide stores`)
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

test('options that there are not, and files, are named before anything is compiled', async t => {
  for (const [args, message] of [
    [['--wirte'], /Unknown option '--wirte'[\s\S]*usage: /],
    [['--only'], /argument missing/],
    [['--only', 'swiglu,nonsense'], /no kernel file 'nonsense', expected adamw, /],
  ] as const) {
    const error = await t.throwsAsync<Error & { code?: number; stdout?: string }>(
      execute(process.execPath, [script, ...args]),
    )
    t.is(error?.code, 2, args.join(' '))
    t.regex(error?.stdout ?? '', message)
  }
  t.regex((await execute(process.execPath, [script, '--help'])).stdout, /^usage: /)
})
