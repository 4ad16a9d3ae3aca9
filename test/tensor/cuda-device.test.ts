// The CUDA backend as a device, on the emulated runtime: which devices there are, transfers, memory that runs out,
// kernels that fail, and plugins that are not what they should be.
import { execFileSync } from 'node:child_process'
import test from 'ava'
import { ConfigError, Device, DeviceError } from '../../lib/index.js'
import { runChild } from '../_helpers/child.js'
import { buildEmulated, emulatorIsMissing, testDeviceNames } from '../_helpers/emulator.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { type FakePlugin, makePlugin } from './_plugins.js'

const CHILD = new URL('./_cuda-child.js', import.meta.url)
const missing = testDeviceNames().includes('emulated')
  ? ''
  : emulatorIsMissing() || 'LUFFY_TEST_DEVICES leaves it out'
const emulatedTest = missing ? test.serial.skip : test.serial

/** Device names `cuda` mean the file from here on, in this process. */
function useAsCuda(path: string): void {
  process.env.LUFFY_CUDA_PLUGIN = path
}

async function child(way: string, env: Record<string, string>): Promise<Record<string, unknown>> {
  const { code, signal, stdout, stderr } = await runChild(CHILD, [way], {
    LUFFY_CUDA_PLUGIN: buildEmulated(),
    ...env,
  })
  if (code !== 0) throw new Error(`${way} ended with ${code ?? signal}: ${stdout}${stderr}`)
  return JSON.parse(stdout) as Record<string, unknown>
}

emulatedTest('device numbers that do not exist are named, with those that do', async t => {
  useAsCuda(buildEmulated())
  const error = await t.throwsAsync(Device.open('cuda:7'), { instanceOf: DeviceError })
  t.like(error, { code: 'DEVICE_NOT_FOUND', exitCode: 7 })
  t.regex(error?.message ?? '', /cuda:7 does not exist.*only cuda:0/)
  for (const name of ['cuda:-1', 'cuda:1.5', 'cuda:']) {
    await t.throwsAsync(Device.open(name), { instanceOf: ConfigError }, name)
  }
  await using device = await Device.open('cuda:0')
  t.is(device.name, 'cuda:0')
  t.throws(() => device.ops.openPluginDevice(buildEmulated(), 3, false), {
    message: /no device emulated:3, only 0 to 0/,
  })
})

emulatedTest('two devices: kernels of each go to its own', async t => {
  t.deepEqual((await child('two', { EMULATOR_DEVICES: '2' })) as unknown, [
    [0, 0, 0],
    [0, 0, 0],
  ])
})

emulatedTest("options of the CPU: refused by a named GPU, ignored aloud where 'auto' takes one", async t => {
  useAsCuda(buildEmulated())
  await t.throwsAsync(Device.open('cuda', { threads: 2 }), {
    instanceOf: ConfigError,
    message: /threads is an option of the CPU, the device is cuda:0/,
  })
  const lines: string[] = []
  const { isTTY, write } = process.stderr
  process.stderr.isTTY = true
  process.stderr.write = ((text: string) => lines.push(text) > 0) as typeof write
  try {
    for (let i = 0; i < 2; i++) {
      await using device = await Device.open('auto', { threads: 2, isa: 'baseline' })
      t.is(device.name, 'cuda:0')
    }
  } finally {
    process.stderr.write = write
    process.stderr.isTTY = isTTY
  }
  t.deepEqual(lines, [
    'luffy: threads is an option of the CPU, the device is cuda:0: ignored\n',
    'luffy: isa is an option of the CPU, the device is cuda:0: ignored\n',
  ])
})

emulatedTest('transfers longer than the staging memory, whole and in rows', async t => {
  await using device = await Device.open('emulated')
  // Two and a half times the 8 MiB, and no multiple of its halves.
  const columns = 1021
  const rows = 5141
  const data = new Float32Array(rows * columns)
  for (let i = 0; i < data.length; i++) data[i] = i
  const whole = device.float32(data, [rows, columns])
  t.true(data.byteLength > 20 * 2 ** 20)
  data.fill(0) // the array is the caller's again at once
  const back = await device.readFloat32(whole)
  t.is(
    back.findIndex((x, i) => x !== i),
    -1,
  )
  // Overwritten while an earlier copy may be on its way, in stream order.
  device.write(whole, data)
  device.write(whole, back)
  const slice = await device.readFloat32(whole.slice(1000, 1003))
  t.is(slice.length, 3 * rows)
  t.is(
    slice.findIndex((x, i) => x !== Math.floor(i / 3) * columns + 1000 + (i % 3)),
    -1,
  )
})

emulatedTest(
  'memory that runs out: the cache is freed and asked again, then an error with the sizes',
  async t => {
    const result = await child('memory', { EMULATOR_MEMORY: `${64 * 2 ** 20}` })
    t.like(result, { retried: true, code: 'OUT_OF_MEMORY', exitCode: 6, usable: [7] })
    t.regex(result.message as string, /a tensor needs 60\.0 MiB, \d+\.\d MiB are free/)
    t.regex(
      result.scratch as string,
      /gradientNorm: out of memory: scratch memory of an op needs 1\.0 MiB, 0\.\d MiB/,
    )
    t.is(result.scratchCode, 'OUT_OF_MEMORY')
  },
)

for (const [what, fault, message] of [
  ['a write to nowhere', 'fill:2', /cudaErrorLaunchFailure/],
  ['an illegal access', 'fill:2:illegal', /cudaErrorIllegalAddress/],
] as const) {
  for (const streams of ['eager', 'lazy']) {
    emulatedTest(`a kernel that fails, ${what}, ${streams}: one error, and nothing hangs`, async t => {
      const result = await child('fault', { EMULATOR_FAULT: fault, EMULATOR_STREAMS: streams })
      const messages = result.messages as string[]
      t.is(messages.length, 4)
      for (const text of messages) t.is(text, messages[0]!)
      t.regex(messages[0]!, message)
      t.deepEqual(result.codes, Array(4).fill('DEVICE_FAILED'))
      t.deepEqual(result.exitCodes, Array(4).fill(7))
      // The process has lost its device: what is asked of it anew is an error of the device too.
      t.like(result.allocation, { name: 'DeviceError', exitCode: 7 })
      t.like(result.second, { name: 'DeviceError', exitCode: 7 })
      t.true((result.seconds as number) < 10)
    })
  }
}

for (const [kind, message] of [
  ['crashing', /ended with signal SIGSEGV/],
  ['ending', /ended with exit code 9/],
  ['talking', /ended with exit code 0/],
  ['other', /comes from another build of luffy: build both again/],
] as const satisfies [FakePlugin, RegExp][]) {
  emulatedTest(`a plugin that is ${kind} is an error with its reason, and the process lives`, async t => {
    useAsCuda(makePlugin(await temporaryFolder(t), kind))
    const error = await t.throwsAsync(Device.open('cuda'), { instanceOf: DeviceError, message })
    t.is(error?.code, 'CUDA_UNAVAILABLE')
    await using device = await Device.open('auto')
    t.is(device.name, 'cpu')
  })
}

emulatedTest('a file that is no plugin is refused by name', async t => {
  const folder = await temporaryFolder(t)
  const path = `${folder}/plain.so`
  execFileSync('g++', ['-shared', '-fPIC', '-x', 'c++', '/dev/null', '-o', path])
  useAsCuda(path)
  await t.throwsAsync(Device.open('cuda'), { instanceOf: DeviceError, message: /is not a plugin of luffy/ })
  useAsCuda(`${folder}/none.so`)
  await t.throwsAsync(Device.open('cuda'), { instanceOf: DeviceError, message: /no CUDA kernels/ })
})

test('the emulated device is tested, or why not', t => {
  t.log(missing === '' ? 'emulated' : `skipped: ${missing}`)
  t.pass()
})
