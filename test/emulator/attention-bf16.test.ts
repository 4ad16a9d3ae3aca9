// attention's bfloat16 kernels on the emulator: against sums in double, decoding bit for bit as the forward pass, the same
// bits under every schedule and in both legs, and without a bank conflict.
import test, { type ExecutionContext } from 'ava'
import {
  buildProgram,
  hashOf,
  missingReason,
  runProgram,
  runsLongTests,
  sanitizerEnv,
  schedules,
} from './_programs.js'

async function inBothLegs(t: ExecutionContext, arch: string): Promise<void> {
  const program = await buildProgram('attention-bf16', 'plain', arch)
  const hashes = new Map<string, string>()
  for (const leg of ['source', 'ptx']) {
    for (const schedule of schedules) {
      const env = { EMULATOR_SCHEDULE: schedule, ...(leg === 'ptx' ? { EMULATOR_LEG: 'ptx' } : {}) }
      hashes.set(`${leg} ${schedule}`, await hashOf(t, [program], env, 8))
    }
  }
  t.is(new Set(hashes.values()).size, 1, `bits differ: ${JSON.stringify([...hashes])}`)
}

if (missingReason) {
  test.skip(`attention in bfloat16 on the emulator: ${missingReason}`, () => {})
} else {
  test.serial('decoding is the forward pass bit for bit, and ldmatrix meets no bank conflict', async t => {
    const program = await buildProgram('attention-bf16', 'plain')
    const { code, output } = await runProgram([program], { EMULATOR_TRACE: '1', EMULATOR_STREAMS: 'lazy' })
    const lines = output.split('\n').filter(line => line.startsWith('ok '))
    t.is(
      code,
      0,
      output.split('\n').find(line => line.startsWith('FAILED')),
    )
    t.true(lines.length >= 8, `only ${lines.length} cases`)
    for (const line of lines) t.regex(line, /(, matrices [1-9]\d*, conflicts 0){2}$/)
  })

  test.serial('four schedules give the same bits', async t => {
    const program = await buildProgram('attention-bf16', 'plain')
    const hashes = new Set<string>()
    for (const schedule of schedules)
      hashes.add(await hashOf(t, [program, 'tiny'], { EMULATOR_SCHEDULE: schedule }, 4))
    t.is(hashes.size, 1)
  })

  if (runsLongTests) {
    for (const arch of ['80', '90a', '120'])
      test.serial(`four schedules, both legs of compute_${arch}, the same bits`, inBothLegs, arch)
    test.serial('AddressSanitizer and UndefinedBehaviorSanitizer', async t => {
      await hashOf(t, [await buildProgram('attention-bf16', 'asan')], sanitizerEnv, 8)
    })
    test.serial('ThreadSanitizer', async t => {
      await hashOf(t, [await buildProgram('attention-bf16', 'tsan'), 'tiny'], sanitizerEnv, 4)
    })
  } else {
    test.skip('both legs and sanitizers: only in npm run test:emulator', () => {})
  }
}
