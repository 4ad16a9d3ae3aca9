// matmul's bfloat16 kernels on the emulator: exact on whole numbers under every schedule and in both legs, and without
// a bank conflict.
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
  const program = await buildProgram('matmul-bf16', 'plain', arch)
  const hashes = new Map<string, string>()
  for (const leg of ['source', 'ptx']) {
    for (const schedule of leg === 'ptx' && !runsLongTests ? ['fifo'] : schedules) {
      const env = { EMULATOR_SCHEDULE: schedule, ...(leg === 'ptx' ? { EMULATOR_LEG: 'ptx' } : {}) }
      hashes.set(
        `${leg} ${schedule}`,
        await hashOf(t, [program, ...(runsLongTests ? [] : ['tiny'])], env, 16),
      )
    }
  }
  t.is(new Set(hashes.values()).size, 1, `bits differ: ${JSON.stringify([...hashes])}`)
}

if (missingReason) {
  test.skip(`matmul in bfloat16 on the emulator: ${missingReason}`, () => {})
} else {
  test.serial('every tile and layout is exact, and ldmatrix meets no bank conflict', async t => {
    const program = await buildProgram('matmul-bf16', 'plain')
    const { code, output } = await runProgram([program], { EMULATOR_TRACE: '1', EMULATOR_STREAMS: 'lazy' })
    const lines = output.split('\n').filter(line => line.startsWith('ok '))
    t.is(
      code,
      0,
      output.split('\n').find(line => line.startsWith('FAILED')),
    )
    t.true(lines.length >= 80, `only ${lines.length} cases`)
    for (const line of lines) t.regex(line, /: 0 wrong, matrices [1-9]\d*, conflicts 0$/)
  })

  if (runsLongTests) {
    for (const arch of ['80', '90a', '120'])
      test.serial(`four schedules, both legs of compute_${arch}, the same bits`, inBothLegs, arch)
    test.serial('AddressSanitizer and UndefinedBehaviorSanitizer', async t => {
      await hashOf(t, [await buildProgram('matmul-bf16', 'asan')], sanitizerEnv, 80)
    })
    test.serial('ThreadSanitizer', async t => {
      await hashOf(t, [await buildProgram('matmul-bf16', 'tsan'), 'tiny'], sanitizerEnv, 16)
    })
  } else {
    test.serial('four schedules give the same bits', async t => {
      const program = await buildProgram('matmul-bf16', 'plain')
      const hashes = new Set<string>()
      for (const schedule of schedules)
        hashes.add(await hashOf(t, [program, 'tiny'], { EMULATOR_SCHEDULE: schedule }, 16))
      t.is(hashes.size, 1)
    })
    test.skip('both legs and sanitizers: only in npm run test:emulator', () => {})
  }
}
