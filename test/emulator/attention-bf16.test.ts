// attention's bfloat16 kernels on the emulator: against sums in double, decoding bit for bit as the forward pass, the same
// bits under every schedule and in both legs, and without a bank conflict.
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
  test.skip(`attention in bfloat16 on the emulator: ${missingReason}`, () => {})
} else {
  test.serial('decoding is the forward pass bit for bit, and ldmatrix meets no bank conflict', async t => {
    const lines = await noConflicts(t, await buildProgram('attention-bf16', 'plain'), 2)
    t.true(lines.length >= 8, `only ${lines.length} cases`)
  })

  test.serial('four schedules give the same bits', async t => {
    await sameBitsUnderSchedules(t, [await buildProgram('attention-bf16', 'plain'), 'tiny'], 4)
  })

  if (runsLongTests) {
    for (const arch of ['80', '90a', '120']) {
      test.serial(`four schedules, both legs of compute_${arch}, the same bits`, async t => {
        const program = await buildProgram('attention-bf16', 'plain', arch)
        await sameBitsUnderSchedules(t, [program], 8, ['source', 'ptx'])
      })
    }
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
