// Products of bfloat16 by a library in place of luffy's own kernel: taken where there is one and only there, the same
// numbers, and a device that works whatever the library does. The library is test/emulator/cublaslt-peer.cpp.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ProductLibrary } from '../../lib/native.js'
import { CounterRandom } from '../../lib/random.js'
import { Device, type DeviceOptions } from '../../lib/tensor/device.js'
import { type Bfloat16Case, bfloat16Case, bfloat16Tensor, numbersOf } from '../_cases/bfloat16.js'
import { normal } from '../_cases/case.js'
import { values } from '../_cases/cast.js'
import { backwardInputCase, backwardWeightCase, forwardCase, type LinearSizes } from '../_cases/linear.js'
import { type MatmulSizes, matmulCase } from '../_cases/matmul.js'
import { runChild } from '../_helpers/child.js'
import { isClose, sameBits } from '../_helpers/compare.js'
import { buildEmulated, buildPeer, emulatorIsMissing, testDeviceNames } from '../_helpers/emulator.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { isNearAsPlain } from '../_helpers/run-bfloat16.js'
import { resultNames, runCase } from '../_helpers/run-cases.js'
import { folderWithBase, luffy, quickRun } from '../cli/_luffy.js'

const missing = testDeviceNames().includes('emulated')
  ? ''
  : emulatorIsMissing() || 'LUFFY_TEST_DEVICES leaves it out'
const emulatedTest = missing ? test.serial.skip : test.serial

const variables = ['LUFFY_CUBLASLT', 'CUBLASLT_PEER', 'CUBLASLT_PEER_LOG'] as const
test.afterEach.always(() => {
  for (const name of variables) delete process.env[name]
})

interface Opened {
  device: Device
  products: ProductLibrary
  /** The lines that the library wrote since the last call. */
  log(): string[]
}

/** A device beside a library that behaves in this way. */
async function open(
  t: Parameters<typeof temporaryFolder>[0],
  { way = '', file = buildPeer(), ...options }: DeviceOptions & { way?: string; file?: string } = {},
): Promise<Opened> {
  const path = join(await temporaryFolder(t), 'log')
  process.env.LUFFY_CUBLASLT = file
  process.env.CUBLASLT_PEER = way
  process.env.CUBLASLT_PEER_LOG = path
  const device = await Device.open('emulated', options)
  const log = () => {
    const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : []
    rmSync(path, { force: true })
    return lines
  }
  const { products } = device.info()
  if (products === null) throw new Error('the emulated device knows of no library')
  return { device, products, log }
}

const half = (sizes: LinearSizes) =>
  bfloat16Case(forwardCase(sizes), ['x', 'weight', 'bias', 'residual', 'out'])
const halfInput = (sizes: LinearSizes & { accumulate?: boolean }) =>
  bfloat16Case(backwardInputCase(sizes), ['gradOut', 'weight', 'gradX'])
const halfWeight = (sizes: LinearSizes) => bfloat16Case(backwardWeightCase(sizes), ['gradOut', 'x'])
const matmul = (sizes: MatmulSizes, names = ['a', 'b', 'out']) => bfloat16Case(matmulCase(sizes), names)

const odd = { t: 37, n: 131, k: 67 }
const layouts = [false, true].flatMap(transposeA =>
  [false, true].map(transposeB => ({ transposeA, transposeB })),
)
/** Each with what the library must be asked for, in its own terms: of out's transpose. */
const cases: [Bfloat16Case, string][] = [
  [half(odd), 'TN 131 x 37 x 67 to bfloat16'],
  [half({ ...odd, bias: true }), 'TN 131 x 37 x 67 to bfloat16, bias'],
  [half({ ...odd, residual: true, gap: 3 }), 'TN 131 x 37 x 67 to bfloat16, added to C'],
  [
    half({ t: 24, n: 40, k: 1040, bias: true, residual: true, gap: 8 }),
    'TN 40 x 24 x 1040 to bfloat16, bias, added to C',
  ],
  [halfInput(odd), 'NN 67 x 37 x 131 to bfloat16'],
  [halfInput({ ...odd, accumulate: true, gap: 1 }), 'NN 67 x 37 x 131 to bfloat16, added to D'],
  [halfWeight({ ...odd, bias: true }), 'NT 67 x 131 x 37 to float32, added to D'],
  [halfWeight({ t: 40, n: 24, k: 16, gap: 8 }), 'NT 16 x 24 x 40 to float32, added to D'],
  ...layouts.flatMap(({ transposeA, transposeB }): [Bfloat16Case, string][] => {
    const letters = `${transposeB ? 'T' : 'N'}${transposeA ? 'T' : 'N'}`
    const sizes = { m: 19, n: 33, k: 65, transposeA, transposeB }
    return [
      [matmul({ ...sizes, gap: 5 }), `${letters} 33 x 19 x 65 to bfloat16`],
      [matmul({ ...sizes, accumulate: true }), `${letters} 33 x 19 x 65 to bfloat16, added to D`],
      [
        matmul({ ...sizes, accumulate: true, gap: 2 }, ['a', 'b']),
        `${letters} 33 x 19 x 65 to float32, added to D`,
      ],
      [matmul({ ...sizes, n: 1 }, ['a', 'b']), `${letters} 1 x 19 x 65 to float32`],
    ]
  }),
]

emulatedTest("every product is the library's, and near the float64 reference", async t => {
  const { device, products, log } = await open(t)
  await using _ = device
  t.deepEqual(products, { file: buildPeer(), version: '13.1.1', reason: '' })
  t.true(log().length > 50, 'it was tried when it was opened')
  for (const [i, [oneCase, asked]] of cases.entries()) {
    const inputs = oneCase.make(new CounterRandom(3, 'products', i))
    const expected = oneCase.reference(inputs)
    const plain = oneCase.plain(inputs)
    const results = await runCase(device, oneCase, inputs)
    t.deepEqual(
      log().filter(line => line.startsWith('matmul')),
      [`matmul ${asked}`],
      oneCase.name,
    )
    for (const name of resultNames(oneCase)) {
      const got = numbersOf(oneCase, inputs, name, results[name]!)
      const where = `${oneCase.name}: ${name}`
      // Float32 sums of exact products, or one rounding of them.
      if (results[name] instanceof Float32Array) isClose(t, where, got, expected[name], 1e-6)
      else isNearAsPlain(t, where, got, expected[name], plain[name], 2)
    }
  }
})

emulatedTest('an equal product is planned once; what differs in a place has its own plan', async t => {
  const { device, products, log } = await open(t)
  await using _ = device
  await using own = await Device.open('emulated', { deterministic: true })
  log()
  // Nothing is freed, so that no two tensors have one address. `before`: 1 takes a tensor off every alignment.
  const tensor = (
    on: Device,
    seed: number,
    [rows, columns]: readonly [number, number],
    before = 0,
    gap = 0,
  ) => {
    const { data } = bfloat16Tensor(
      normal(new CounterRandom(seed, 'products'), [before + rows * (columns + gap)]),
    )
    const base = on.from(data as Uint16Array, 'bfloat16')
    return rows === 1
      ? on.view(base, before, [columns], 1)
      : on.view(base, before, [rows, columns], columns + gap)
  }
  type Places = Record<'x' | 'weight' | 'bias' | 'residual' | 'out', [before?: number, gap?: number]>
  const run = async (on: Device, { x, weight, bias, residual, out }: Places, biasSeed: number) => {
    const result = tensor(on, 5, [24, 40], ...out)
    on.ops.linearForward(
      on.handle,
      tensor(on, 1, [24, 16], ...x).handle,
      tensor(on, 2, [40, 16], ...weight).handle,
      null,
      tensor(on, biasSeed, [1, 40], ...bias).handle,
      tensor(on, 4, [24, 40], ...residual).handle,
      result.handle,
    )
    return values(await on.readBits16(result), 'bfloat16')
  }
  const plain: Places = { x: [], weight: [], bias: [], residual: [], out: [] }
  const steps: [string, Partial<Places>, number, boolean][] = [
    ['the first', {}, 3, true],
    ['the same', {}, 3, false],
    ['another bias', {}, 6, false],
    ['x off alignment', { x: [1] }, 3, true],
    ['weight off alignment', { weight: [1] }, 3, true],
    ['bias off alignment', { bias: [1] }, 3, true],
    ['residual off alignment', { residual: [1] }, 3, true],
    ['out off alignment', { out: [1] }, 3, true],
    ['x strided', { x: [0, 8] }, 3, true],
    ['weight strided', { weight: [0, 8] }, 3, true],
    ['residual strided', { residual: [0, 8] }, 3, true],
    ['out strided', { out: [0, 8] }, 3, true],
  ]
  for (const [what, places, bias, isNew] of steps) {
    const got = await run(device, { ...plain, ...places }, bias)
    t.deepEqual(
      log().map(line => line.split(' ')[0]),
      isNew ? ['heuristic', 'matmul'] : ['matmul'],
      what,
    )
    isClose(t, what, got, await run(own, { ...plain, ...places }, bias), 1e-2)
  }
  t.is(device.info().products?.reason, products.reason)
})

emulatedTest('plans are forgotten before they fill the memory, and made again', async t => {
  const { device, log } = await open(t)
  await using _ = device
  const rows = 17 + 4096
  const a = device.from(new Uint16Array(rows).fill(0x4000), 'bfloat16', [rows, 1]) // 2
  const b = device.from(Uint16Array.of(0x4040), 'bfloat16', [1, 1]) // 3
  const out = device.zeros([rows, 1])
  const run = (count: number) =>
    device.scope(() => {
      const [left, right] = [a.rowRange(0, count), out.rowRange(0, count)]
      device.ops.matmul(device.handle, left.handle, b.handle, right.handle, false, false, true)
    })
  log()
  for (let count = 17; count <= rows; count++) run(count)
  for (let i = 0; i < 2; i++) run(17)
  const sums = await device.readFloat32(out)
  t.deepEqual([sums[0], sums[17], sums[rows - 1]], [6 * 4099, 6 * 4096, 6])
  const asked = log()
  t.is(asked.filter(line => line.startsWith('matmul')).length, 4099)
  t.is(asked.filter(line => line.startsWith('heuristic')).length, 4098)
})

emulatedTest('few rows, float32 and what does not map stay with the own kernel', async t => {
  const { device, log } = await open(t)
  await using _ = device
  await using own = await Device.open('emulated', { deterministic: true })
  log()
  const run = async (oneCase: Parameters<typeof runCase>[1]) => {
    const inputs = oneCase.make(new CounterRandom(7, 'products'))
    const results = await runCase(device, oneCase, inputs)
    const expected = await runCase(own, oneCase, inputs)
    for (const name of resultNames(oneCase)) sameBits(t, oneCase.name, results[name]!, expected[name]!)
  }
  await run(half({ t: 16, n: 40, k: 64, bias: true }))
  await run(matmul({ m: 19, n: 33, k: 0, accumulate: true }))
  await run(forwardCase({ t: 37, n: 41, k: 43, bias: true }))
  t.deepEqual(log(), [])
  await run(half({ t: 17, n: 40, k: 64, bias: true })) // the first that is not
  t.is(log().length, 2)
})

emulatedTest("a layout without a kernel is luffy's, the others stay with the library", async t => {
  const { device, products, log } = await open(t, { way: 'aligned' })
  await using _ = device
  await using own = await Device.open('emulated', { deterministic: true })
  t.is(products.reason, '')
  log()
  const [unaligned, aligned] = [half({ t: 24, n: 40, k: 17 }), half({ t: 24, n: 40, k: 16 })]
  const inputs = unaligned.make(new CounterRandom(9, 'products'))
  for (let i = 0; i < 2; i++) {
    const { out } = await runCase(device, unaligned, inputs, 64)
    sameBits(t, 'unaligned', out!, (await runCase(own, unaligned, inputs, 64)).out!)
    t.deepEqual(log(), i === 0 ? ['heuristic TN 40 x 24 x 17 to bfloat16'] : [])
  }
  await runCase(device, aligned, aligned.make(new CounterRandom(9, 'products')), 64)
  t.true(log().includes('matmul TN 40 x 24 x 16 to bfloat16'))
  t.is(device.info().products?.reason, '')
})

emulatedTest('a deterministic device never opens it, and the CPU takes the option', async t => {
  const { device, products, log } = await open(t, { deterministic: true })
  await using _ = device
  t.deepEqual(products, { file: '', version: '', reason: 'the device is deterministic' })
  t.is(device.info().liveBytes, 0)
  const oneCase = half(odd)
  await runCase(device, oneCase, oneCase.make(new CounterRandom(1, 'products')))
  t.deepEqual(log(), [])
  for (const deterministic of [false, true]) {
    await using cpu = await Device.open('cpu', { deterministic })
    t.is(cpu.info().products, null)
  }
  await t.throwsAsync(Device.open('cpu', { deterministic: 1 as unknown as boolean }), {
    message: /deterministic/,
  })
})

emulatedTest('its workspace is memory of the device: counted, and given back with all else', async t => {
  // What the library still has: other devices' objects, and no more after each further device.
  const left: string[][] = []
  for (let i = 0; i < 2; i++) {
    const { device, log } = await open(t)
    t.is(device.info().liveBytes, 32 * 2 ** 20)
    await device.dispose()
    left.push(log().filter(line => line.startsWith('left')))
  }
  t.deepEqual(left[1], left[0])
  for (const way of ['wrong', 'stopped']) {
    const { device: other } = await open(t, { way })
    t.is(other.info().liveBytes, 0, way)
    await other.dispose()
  }
})

const oneProduct = half(odd)

/** The device works, with the bits of luffy's own kernel. */
async function worksAlone(t: Parameters<typeof temporaryFolder>[0], device: Device): Promise<void> {
  await using own = await Device.open('emulated', { deterministic: true })
  const inputs = oneProduct.make(new CounterRandom(11, 'products'))
  const { out } = await runCase(device, oneProduct, inputs)
  sameBits(t, 'own kernel', out!, (await runCase(own, oneProduct, inputs)).out!)
}

for (const [what, reason, given] of [
  [
    'computes wrong numbers',
    /^a product of 24 x 40 x 72 .*element \d+ is -?\d+\.\d+, expected /,
    () => ({ way: 'wrong' }),
  ],
  ['adds in bfloat16', /^a product of .*expected/, () => ({ way: 'narrow' })],
  ['forgets the bias', /^a product of .*bias to bfloat16: .*expected/, () => ({ way: 'biasless' })],
  ['has no kernel', /^it has no product of bfloat16 for this device$/, () => ({ way: 'refuses' })],
  [
    'does not start',
    /^cublasLtCreate: status 1 \(CUBLAS_STATUS_NOT_INITIALIZED\)$/,
    () => ({ way: 'stopped' }),
  ],
  [
    'fails at once',
    /^cublasLtMatmul: status 13 \(CUBLAS_STATUS_EXECUTION_FAILED\)$/,
    () => ({ way: 'fails:1' }),
  ],
  ['lacks a function', / lacks cublasLtMatmul$/, () => ({ file: buildPeer('-DLACKS') })],
  ['is too old', / is of version 11\.11\.3, not 12 or 13$/, () => ({ file: buildPeer('-DVERSION=111103') })],
] as [string, RegExp, () => { way?: string; file?: string }][]) {
  emulatedTest(`a library that ${what} is not used, and doctor says why`, async t => {
    const { device, products, log } = await open(t, given())
    await using _ = device
    t.regex(products.reason, reason)
    log()
    await worksAlone(t, device)
    t.deepEqual(log(), [])
    const told = await doctorSays()
    t.regex(told.line, /^cublaslt +.*cublaslt-peer.*, not used \(own products\): /)
    t.true(told.line.endsWith(products.reason), told.line)
    t.deepEqual(told.products, products)
  })
}

/** `luffy doctor` where the emulated device stands for a card. */
async function doctorSays(
  env: Record<string, string> = {},
): Promise<{ line: string; products: ProductLibrary | null }> {
  const given = Object.fromEntries(
    variables.flatMap(name => (process.env[name] ? [[name, process.env[name]]] : [])),
  )
  const where = { LUFFY_CUDA_PLUGIN: buildEmulated(), ...given, ...env }
  const line = (await luffy(['doctor'], where)).stdout.split('\n').find(text => text.startsWith('cublaslt'))
  const { cuda } = JSON.parse((await luffy(['doctor', '--json'], where)).stdout)
  return { line: line ?? '', products: cuda.products }
}

emulatedTest('doctor: a library that is used, none, no library at all, and no CUDA kernels', async t => {
  process.env.LUFFY_CUBLASLT = buildPeer()
  t.regex((await doctorSays()).line, /^cublaslt +13\.1\.1 \(\/.*cublaslt-peer.*\.so\)$/)
  delete process.env.LUFFY_CUBLASLT
  t.regex((await doctorSays()).line, /^cublaslt +not found \(own products\): .*LUFFY_CUBLASLT names its file/)
  const file = join(await temporaryFolder(t), 'libcublasLt.so.13')
  writeFileSync(file, 'no library')
  const { device, products } = await open(t, { file })
  await using _ = device
  t.regex(products.reason, /libcublasLt\.so\.13.*(invalid ELF header|file too short)/)
  await worksAlone(t, device)
  t.regex((await doctorSays()).line, /not found \(own products\): .*libcublasLt\.so\.13/)
  const { line, products: none } = await doctorSays({ LUFFY_CUDA_PLUGIN: '/nowhere.so' })
  t.regex(line, /^cublaslt +not looked for/)
  t.is(none, null)
})

emulatedTest('one that fails later is left for good, with one line on a terminal', async t => {
  const { device, products, log } = await open(t)
  await using _ = device
  t.is(products.reason, '')
  const tried = log().filter(line => line.startsWith('matmul')).length
  // The count is the library's own: it goes on from what was tried.
  process.env.CUBLASLT_PEER = `fails:${tried + 2}`
  const lines: string[] = []
  const { isTTY, write } = process.stderr
  process.stderr.isTTY = true
  process.stderr.write = ((text: string) => lines.push(text) > 0) as typeof write
  try {
    const inputs = oneProduct.make(new CounterRandom(1, 'products'))
    await runCase(device, oneProduct, inputs)
    t.true(log().includes('matmul TN 131 x 37 x 67 to bfloat16'))
    t.deepEqual(lines, [])
    await worksAlone(t, device)
    await device.synchronize()
    await worksAlone(t, device)
    await device.synchronize()
  } finally {
    process.stderr.write = write
    process.stderr.isTTY = isTTY
  }
  t.deepEqual(log(), ['failed TN 131 x 37 x 67 to bfloat16'])
  const reason = 'cublasLtMatmul: status 13 (CUBLAS_STATUS_EXECUTION_FAILED)'
  t.deepEqual(lines, [`luffy: emulated goes on without ${products.file}: ${reason}\n`])
  t.is(device.info().products?.reason, reason)
})

async function openInChild(env: Record<string, string>): Promise<Record<string, unknown>> {
  const where = { LUFFY_CUDA_PLUGIN: buildEmulated(), LUFFY_CUBLASLT: buildPeer(), ...env }
  return JSON.parse((await runChild(new URL('./_cuda-child.js', import.meta.url), ['open'], where)).stdout)
}

emulatedTest(
  'without memory for it the device works alone; a kernel that fails in the trial says whose',
  async t => {
    t.like(await openInChild({ EMULATOR_MEMORY: `${16 * 2 ** 20}` }), {
      products: { reason: 'there is no memory for its workspace of 32 MiB' },
      values: [0, 0],
    })
    // The pool takes 32 MiB whole; what is left is too little for the matrices of the trial.
    t.like(await openInChild({ EMULATOR_MEMORY: `${32 * 2 ** 20 + 2 ** 18}` }), {
      products: { reason: 'there is no memory to try it' },
      values: [0, 0],
    })
    const { name, message } = await openInChild({ EMULATOR_FAULT: 'matmul_bf16' })
    t.is(name, 'DeviceError')
    t.regex(
      message as string,
      /^trying .*cublaslt-peer.*\.so: .*cudaError.*; deterministic: true leaves it out$/,
    )
  },
)

emulatedTest('runs and commands: the key, the flag, and what run.json keeps', async t => {
  const folder = await folderWithBase(t)
  const log = join(folder, 'log')
  const env = { LUFFY_CUBLASLT: buildPeer(), CUBLASLT_PEER_LOG: log }
  const calls = () => {
    const text = existsSync(log) ? readFileSync(log, 'utf8') : ''
    rmSync(log, { force: true })
    return text
  }
  const config = join(folder, 'config.json')
  writeFileSync(config, '{}')
  for (const deterministic of [true, false]) {
    const name = `run-${deterministic}`
    const more = { device: 'emulated', dtype: 'bfloat16', maxSteps: 1, maxCompletionLength: 4, deterministic }
    const { code, stderr } = await luffy(['train', config, ...quickRun(folder, name, more)], env)
    t.is(code, 0, stderr)
    const run = JSON.parse(readFileSync(join(folder, name, 'run.json'), 'utf8'))
    t.is(run.products, deterministic ? 'own' : 'cuBLASLt 13.1.1')
    const made = calls()
    if (deterministic) t.is(made, '')
    // Forward, gradient of the input, gradient of the weight.
    else for (const letters of ['TN', 'NN', 'NT']) t.regex(made, new RegExp(`^matmul ${letters} `, 'm'))
    const sampled = await luffy(
      [
        ...[
          'sample',
          join(folder, 'base'),
          '--raw',
          '--prompt',
          '5387rizp=5387rizp=',
          '--n',
          '1',
          '--seed',
          '1',
        ],
        ...['--max-tokens', '1', '--device', 'emulated', '--dtype', 'bfloat16'],
        ...(deterministic ? ['--deterministic'] : []),
      ],
      env,
    )
    t.is(sampled.code, 0, sampled.stderr)
    t.is(calls() === '', deterministic)
  }
})

test('products by a library are tested, or why not', t => {
  t.log(missing === '' ? 'emulated' : `skipped: ${missing}`)
  t.pass()
})
