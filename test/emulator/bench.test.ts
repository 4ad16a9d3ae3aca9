// The benchmark on a device that is not the CPU: its own roofs, and typed errors.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { testDeviceNames } from '../_helpers/emulator.js'

const script = join(packageRoot, 'dist/benchmarks/main.js')

const run = (...args: string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>(resolve => {
    const env = { ...process.env, LUFFY_CUDA_PLUGIN: '/nowhere/luffy_cuda.so' }
    execFile(process.execPath, [script, ...args], { env, timeout: 120_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code ?? 200) : 0, stdout, stderr })
    })
  })

if (testDeviceNames().includes('emulated')) {
  test.serial('times an op on the emulated device, beside what its memory and products reach', async t => {
    const args = ['--device', 'emulated', '--quick', '--only', 'op group-advantages', '--json']
    const { code, stdout, stderr } = await run(...args)
    t.is(code, 0, stderr)
    const { machine, onednn, rows, roofs } = JSON.parse(stdout)
    t.regex(machine.isa, /emulated/)
    t.is(onednn, null)
    t.is(rows.length, 1)
    t.true(rows[0].result.value > 0 && rows[0].seconds.median > 0)
    for (const rate of Object.values(roofs)) t.true(Number.isFinite(rate) && (rate as number) > 0)
  })
} else {
  test.skip('the benchmark on the emulated device: it is not tested here', () => {})
}

test.serial('a device that is not there, and a case, are named in one line', async t => {
  const cuda = await run('--device', 'cuda', '--only', 'op reduce')
  t.is(cuda.code, 7, cuda.stderr)
  t.regex(cuda.stderr, /^device cuda is not available: .*\n$/)
  const other = await run('--only', 'nonsense')
  t.is(other.code, 2)
  t.regex(other.stderr, /^no case holds "nonsense"; --list prints their names\n$/)
})
