// matmul's bfloat16 kernels on the emulator: exact on whole numbers under every schedule and in both legs, and without
// a bank conflict.
import test from 'ava'
import {
  buildProgram,
  hashOf,
  missingReason,
  noConflicts,
  runsLongTests,
  sameBitsUnderSchedules,
  sanitizerEnv,
} from './_programs.js'

if (missingReason) {
  test.skip(`matmul in bfloat16 on the emulator: ${missingReason}`, () => {})
} else {
  test.serial('every tile and layout is exact, and ldmatrix meets no bank conflict', async t => {
    const lines = await noConflicts(t, await buildProgram('matmul-bf16', 'plain'), 1)
    t.true(lines.length >= 80, `only ${lines.length} cases`)
    for (const line of lines) t.regex(line, /: 0 wrong,/)
  })

  if (runsLongTests) {
    for (const arch of ['80', '90a', '120']) {
      test.serial(`four schedules, both legs of compute_${arch}, the same bits`, async t => {
        const program = await buildProgram('matmul-bf16', 'plain', arch)
        await sameBitsUnderSchedules(t, [program], 16, ['source', 'ptx'])
      })
    }
    test.serial('AddressSanitizer and UndefinedBehaviorSanitizer', async t => {
      await hashOf(t, [await buildProgram('matmul-bf16', 'asan')], sanitizerEnv, 80)
    })
    test.serial('ThreadSanitizer', async t => {
      await hashOf(t, [await buildProgram('matmul-bf16', 'tsan'), 'tiny'], sanitizerEnv, 16)
    })
  } else {
    test.serial('four schedules give the same bits', async t => {
      await sameBitsUnderSchedules(t, [await buildProgram('matmul-bf16', 'plain'), 'tiny'], 16)
    })
    test.skip('both legs and sanitizers: only in npm run test:emulator', () => {})
  }
}
