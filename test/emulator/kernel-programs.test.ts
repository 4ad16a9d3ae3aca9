// luffy_kernel_tests and luffy_kernel_bench, built for the emulator: what they read is what the tests write, and they see
// what is wrong.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { CounterRandom } from '../../lib/random.js'
import { Device } from '../../lib/tensor/device.js'
import { bfloat16Cases } from '../_cases/linear.js'
import { cases as policyLossCases } from '../_cases/policy-loss.js'
import { cases as swigluCases } from '../_cases/swiglu.js'
import { exportBenchmark, exportCases } from '../_helpers/case-export.js'
import { buildEmulated } from '../_helpers/emulator.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { buildProgram, missingReason, runProgram, runsLongTests } from './_programs.js'

const random = (i: number) => new CounterRandom(1, 'case', i)

if (missingReason) {
  test.skip(`programs for cards: ${missingReason}`, () => {})
} else if (!runsLongTests) {
  test.skip('programs for cards: only in npm run test:emulator', () => {})
} else {
  test.before('the emulated device', () => buildEmulated())

  test.serial(
    'luffy_kernel_tests passes the cases of the tests, and fails those that are spoiled',
    async t => {
      const folder = await temporaryFolder(t)
      const program = await buildProgram('kernel-tests', 'plain')
      await using device = await Device.open('emulated')
      const small = swigluCases.filter(({ bytes }) => bytes < 1e5)
      const path = join(folder, 'swiglu.cases')
      exportCases(path, 'swiglu', device, small, random, () => ({ kind: 'share', limit: 5e-7 }))
      const metrics = join(folder, 'policy-loss.cases')
      exportCases(metrics, 'policy-loss', device, policyLossCases.slice(0, 5), random, () => ({
        kind: 'relative',
        limit: 1e-6,
      }))
      const halves = join(folder, 'linear.cases')
      exportCases(halves, 'linear', device, bfloat16Cases.slice(0, 3), random, () => ({
        kind: 'share',
        limit: 0.02,
      }))
      const good = await runProgram([program, path, metrics, halves])
      t.is(good.code, 0, good.output)
      t.regex(good.output, new RegExp(`^${small.length + 8} passed, 0 failed$`, 'm'))

      // A value that is expected, the dtype of a tensor, and the end of the file.
      const bytes = readFileSync(path)
      const values = bytes.lastIndexOf('out\n')
      const changed = Buffer.from(bytes)
      changed.writeDoubleLE(123, values + 4)
      writeFileSync(path, changed)
      const wrong = await runProgram([program, path])
      t.is(wrong.code, 1, wrong.output)
      t.regex(wrong.output, /FAILED swiglu, .*: out\[0\]: got .*, expected 123; error /)
      t.regex(wrong.output, new RegExp(`^${small.length - 1} passed, 1 failed$`, 'm'))

      writeFileSync(path, bytes.subarray(0, bytes.length - 9))
      const cut = await runProgram([program, path])
      t.is(cut.code, 1)
      t.regex(cut.output, /FAILED .*swiglu\.cases:\d+: the file is cut/)

      writeFileSync(path, 'case swiglu 1 1 name\ncall swiglueForward t0 t1\n')
      t.regex(
        (await runProgram([program, path])).output,
        /FAILED swiglu, name: there is no op 'swiglueForward'/,
      )
      writeFileSync(
        path,
        'case swiglu 1 1 name\ntensor 0 float32 3\ntensor 1 float32 3\ncall swigluForward t0\n',
      )
      t.regex((await runProgram([program, path])).output, /FAILED .* expected 2 arguments, got 1/)
      t.is((await runProgram([program])).code, 2)
      t.is((await runProgram([program, '--bytes', 'few', path])).code, 2)
      const few = await runProgram([program, '--bytes', '1000', metrics])
      const counted = policyLossCases.slice(0, 5).filter(({ bytes }) => bytes <= 1000).length
      t.true(counted > 0 && counted < 5)
      t.regex(few.output, new RegExp(`^${counted} passed, 0 failed$`, 'm'))
      t.is((await runProgram([program, join(folder, 'none.cases')])).code, 1)
    },
  )

  test.serial('luffy_kernel_bench times them and writes a record', async t => {
    const folder = await temporaryFolder(t)
    const program = await buildProgram('kernel-bench', 'plain')
    await using device = await Device.open('emulated')
    const path = join(folder, 'swiglu.bench')
    const goals = [
      { of: 'copy', share: 1e-9 },
      { of: 'peer', share: 1e9 },
      { of: 'cublas', share: 0.5 },
    ] as const
    const cases = swigluCases
      .slice(6, 10)
      .map((oneCase, i) => ({ ...oneCase, ...(goals[i] ? { goal: goals[i] } : {}) }))
    exportBenchmark(path, 'swiglu', device, cases, () => new CounterRandom(1, 'bench'))
    const peers = join(folder, 'peers.tsv')
    const peerRow = (peer: string, seconds: number) => `swiglu\t${cases[1]!.name}\t${peer}\t${seconds}\n`
    writeFileSync(peers, peerRow('slow', 9) + peerRow('fast', 1e-9) + peerRow('middling', 0.5))
    const record = join(folder, 'record.json')
    const options = ['--rounds', '2', '--product', '32', '--commit', 'a "commit"', '--json', record]
    // A machine with cuBLAS cannot run it on the emulated device.
    const env = { LUFFY_CUBLAS: '/nowhere', LD_LIBRARY_PATH: '/nowhere' }
    const { code, output } = await runProgram([program, ...options, '--peers', peers, path], env)
    t.is(code, 0, output)
    t.regex(output, /^4 timed, 0 failed; goals: 1 met, 1 missed, 1 not measured$/m)
    t.regex(output, /^goal swiglu .* of copy: .*, pass$/m)
    t.regex(output, /^goal swiglu .* of peer: 0\.00, FAIL$/m)
    t.regex(output, /^goal swiglu .* of cuBLAS: not measured, \/nowhere: cannot open/m)
    t.regex(output, /% of fast$/m)
    const { card, commit, copyBytesPerSecond, rows } = JSON.parse(readFileSync(record, 'utf8'))
    t.regex(card, /emulated/)
    t.is(commit, 'a "commit"')
    t.true(copyBytesPerSecond > 0)
    t.is(rows.length, 4)
    for (const row of rows)
      t.true(row.seconds > 0 && row.bytes > 0 && row.shareOfCopy > 0, JSON.stringify(row))
    const met = rows.map((row: { goal?: { met: boolean | null } }) => row.goal?.met)
    t.deepEqual(met, [true, false, null, undefined])
    t.is((await runProgram([program, '--round', '2', path])).code, 2)
    writeFileSync(peers, 'swiglu\tname\tpeer\n')
    const cut = await runProgram([program, '--peers', peers, path])
    t.is(cut.code, 2)
    t.regex(cut.output, /peers\.tsv:1: expected op, case, peer and seconds/)
  })

  test.serial(
    'the cases of the benchmark are recorded and read, and peers are timed on some of them',
    async t => {
      const folder = await temporaryFolder(t)
      const script = join(packageRoot, 'dist/benchmarks/card-cases.js')
      const recorded = await runProgram([process.execPath, script, folder])
      t.is(recorded.code, 0, recorded.output)
      const cases = recorded.output.trim().split('\n')
      t.true(cases.length > 20)
      const peers = await runProgram([
        'python3',
        join(packageRoot, 'benchmarks/pytorch/card_peers.py'),
        '--list',
      ])
      const timed = peers.output.trim().split('\n')
      t.true(timed.length > 5, peers.output)
      const names = cases.map(line => line.split('\t').slice(0, 2).join('\t'))
      t.deepEqual(
        timed.filter(name => !names.includes(name)),
        [],
      )
      // A goal that a peer sets needs that peer.
      const asPeer = cases.filter(line => line.endsWith('\tpeer'))
      t.true(asPeer.length > 0)
      for (const line of asPeer) t.true(timed.includes(line.split('\t').slice(0, 2).join('\t')), line)
      const program = await buildProgram('kernel-bench', 'plain')
      const options = ['--rounds', '1', '--product', '16']
      const { code, output } = await runProgram([program, ...options, join(folder, 'gradient-norm.bench')])
      t.is(code, 0, output)
      t.regex(output, /^1 timed, 0 failed; goals: 0 met, 0 missed, 0 not measured$/m)
    },
  )
}
