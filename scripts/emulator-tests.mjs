// `npm run test:emulator [-- PART...]`: the tests of CUDA kernels without a GPU that take too long for `npm test`.
//   long         the tests that `npm test` skips: races, sanitizers and PTX of the zoo and of two kernels, the golden
//                policies, registers and machine code of every kernel
//   ptx          every test of ops, and the gates of what kernels move, on the PTX that nvcc made, translated (leg B): that
//                of compute_80, and of compute_90a those where the blocks of a cluster share a row
//   sanitizers   every case of the ops' tests under AddressSanitizer and UndefinedBehaviorSanitizer; those that move
//                few bytes under ThreadSanitizer and valgrind too. Every op must have a case
//   pack         that all which goes to a machine with a card is there and not too large (scripts/gpu-pack.mjs --list)
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { uncovered } from './case-coverage.mjs'
import { buildPlugin, buildProgram, missing, root } from './emulator.mjs'
import { findCommand } from './native-tools.mjs'

const ava = join(root, 'node_modules/ava/entrypoints/cli.mjs')
const longTests = [
  'dist/test/emulator/**/*.test.js',
  ...['golden-policies', 'bfloat16-policy'].map(name => `dist/test/training/${name}.test.js`),
]
const ops = 'dist/test/ops/*.test.js'
const traffic = 'dist/test/emulator/kernel-traffic.test.js'
const ofClusters = [
  'dist/test/emulator/clusters.test.js',
  ...['logits-policy-loss', 'linear-policy-loss', 'token-log-prob', 'sample-tokens'].map(
    stem => `dist/test/ops/${stem}.test.js`,
  ),
]
/** A device whose blocks have little shared memory, so that clusters share rows of 16,391 logits. */
const clusterDevice = { EMULATOR_ARCH: '120' }
const clusterBytes = '140000'
/** What the slow checkers get: cases that move at most so many bytes. */
const fewBytes = '3000'

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  if (error) throw error
  return status ?? 1
}

const runAva = (args, env) => run(process.execPath, [ava, '--timeout=9m', ...args], env)

const runPtx = async (arch, tests, env = {}) =>
  runAva(tests, {
    LUFFY_EMULATED_PLUGIN: await buildPlugin('plain', arch),
    LUFFY_TEST_DEVICES: 'emulated',
    EMULATOR_LEG: 'ptx',
    ...env,
  })

async function underSanitizers() {
  const folder = mkdtempSync(join(tmpdir(), 'luffy-cases-'))
  try {
    const recorded = runAva(['--match=exported*', ops], {
      LUFFY_EXPORT_CASES: folder,
      LUFFY_TEST_DEVICES: 'emulated',
    })
    if (recorded !== 0) return recorded
    const gaps = uncovered(root, folder)
    console.log(
      `  1 test ${gaps.length === 0 ? 'passed' : `failed: ${gaps.join(', ')}`}: every op has a case`,
    )
    const files = readdirSync(folder).map(name => join(folder, name))
    const few = ['--bytes', fewBytes, ...files]
    const shared = ['--bytes', clusterBytes, join(folder, 'logits-policy-loss.cases')]
    const [asan, tsan] = [
      await buildProgram('kernel-tests', 'asan'),
      await buildProgram('kernel-tests', 'tsan'),
    ]
    const checks = [
      ['AddressSanitizer', asan, files],
      ['ThreadSanitizer', tsan, few],
      ['AddressSanitizer, clusters', asan, shared, clusterDevice],
      ['ThreadSanitizer, clusters', tsan, shared, clusterDevice],
    ]
    if (findCommand('valgrind')) {
      const program = await buildProgram('kernel-tests', 'plain')
      checks.push(['valgrind', 'valgrind', ['-q', '--error-exitcode=9', program, ...few]])
    } else {
      console.log('  1 test skipped: valgrind is not installed')
    }
    let wrong = gaps.length === 0 ? 0 : 1
    for (const [name, command, args, env] of checks) {
      console.log(`== cases of the ops under ${name}`)
      const status = run(command, args, {
        ...env,
        ASAN_OPTIONS: 'detect_leaks=0:detect_stack_use_after_return=0:exitcode=99',
        UBSAN_OPTIONS: 'exitcode=99:halt_on_error=1',
        // The host is not instrumented: what its threads hand to each other looks like a race.
        TSAN_OPTIONS: `exitcode=66:report_thread_leaks=0:suppressions=${join(root, 'scripts/emulator-tsan.txt')}`,
      })
      console.log(`  1 test ${status === 0 ? 'passed' : 'failed'}: ${name}`)
      if (status !== 0) wrong = status
    }
    return wrong
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function pack() {
  const status = run(process.execPath, ['scripts/gpu-pack.mjs', '--list'])
  console.log(`  1 test ${status === 0 ? 'passed' : 'failed'}: what goes to a card is there`)
  return status
}

const parts = {
  long: () => runAva(longTests, { LUFFY_EMULATOR: 'all' }),
  ptx: async () =>
    (await runPtx('80', [ops, traffic])) || runPtx('90a', [...ofClusters, traffic], clusterDevice),
  sanitizers: underSanitizers,
  pack,
}

const chosen = process.argv.slice(2)
const unknown = chosen.find(name => !(name in parts))
if (unknown !== undefined) {
  console.error(`no part '${unknown}': expected ${Object.keys(parts).join(', ')}`)
  process.exitCode = 2
} else if (missing()) {
  console.log(`  1 test skipped: ${missing()}`)
} else {
  for (const name of chosen.length > 0 ? chosen : Object.keys(parts)) {
    console.log(`== ${name}`)
    const status = await parts[name]()
    if (status !== 0) process.exitCode = status
  }
}
