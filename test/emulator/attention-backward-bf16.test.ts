// attention's backward kernels in bfloat16 on the emulator: right under every schedule and in both legs, with the same
// bits, and without a bank conflict.
import test, { type ExecutionContext } from 'ava'
import {
  buildProgram,
  type Flavour,
  missingReason,
  runProgram,
  runsLongTests,
  sanitizerEnv,
  schedules,
} from './_programs.js'

/** Runs all cases, or the tiny ones; the hash of their results. */
async function hashOf(
  t: ExecutionContext,
  [flavour, arch]: readonly [Flavour, string?],
  env: Readonly<Record<string, string>>,
  tiny = false,
): Promise<string> {
  const program = await buildProgram('attention-backward-bf16', flavour, arch)
  const { code, output } = await runProgram([program, ...(tiny ? ['tiny'] : [])], env)
  const wrong = output.split('\n').filter(line => !line.startsWith('ok '))
  const found = /^(\d+) cases, 0 failed, hash ([0-9a-f]{16})$/m.exec(output)
  t.is(code, 0, `${JSON.stringify(env)}:\n${wrong.slice(0, 20).join('\n')}`)
  t.is(Number(found?.[1]), tiny ? 6 : 12)
  t.notRegex(output, /emulator:|Sanitizer|runtime error/)
  return found?.[2] ?? ''
}

if (missingReason) {
  test.skip(`attention's backward kernels in bfloat16 on the emulator: ${missingReason}`, () => {})
} else {
  test.serial('every size of head is right, and ldmatrix meets no bank conflict', async t => {
    const program = await buildProgram('attention-backward-bf16', 'plain')
    const { code, output } = await runProgram([program], { EMULATOR_TRACE: '1', EMULATOR_STREAMS: 'lazy' })
    const lines = output.split('\n').filter(line => line.startsWith('ok '))
    t.is(code, 0, output)
    t.is(lines.length, 12)
    for (const line of lines) t.regex(line, /(, matrices [1-9]\d*, conflicts 0){2}$/)
  })

  test.serial('four schedules give the same bits', async t => {
    const hashes = new Set<string>()
    for (const schedule of schedules) hashes.add(await hashOf(t, ['plain'], { EMULATOR_SCHEDULE: schedule }))
    t.is(hashes.size, 1)
  })

  if (runsLongTests) {
    for (const arch of ['80', '90a', '120']) {
      test.serial(`what nvcc makes for compute_${arch} is right under every schedule`, async t => {
        const hashes = new Set<string>()
        for (const schedule of schedules) {
          const env = { EMULATOR_LEG: 'ptx', EMULATOR_SCHEDULE: schedule }
          hashes.add(await hashOf(t, ['plain', arch], env))
        }
        t.is(hashes.size, 1)
      })
    }
    test.serial('AddressSanitizer and UndefinedBehaviorSanitizer', async t => {
      t.truthy(await hashOf(t, ['asan'], sanitizerEnv))
    })
    test.serial('ThreadSanitizer', async t => {
      t.truthy(await hashOf(t, ['tsan'], sanitizerEnv, true))
    })
  } else {
    test.skip('both legs and sanitizers: only in npm run test:emulator', () => {})
  }
}
