// attention's backward kernels in bfloat16 on the emulator: right under every schedule and in both legs, with the same
// bits, and without a bank conflict.
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

const all = { exactly: 12 }

if (missingReason) {
  test.skip(`attention's backward kernels in bfloat16 on the emulator: ${missingReason}`, () => {})
} else {
  test.serial('every size of head is right, and ldmatrix meets no bank conflict', async t => {
    const lines = await noConflicts(t, await buildProgram('attention-backward-bf16', 'plain'), 2)
    t.is(lines.length, all.exactly)
  })

  test.serial('four schedules give the same bits', async t => {
    await sameBitsUnderSchedules(t, [await buildProgram('attention-backward-bf16', 'plain')], all)
  })

  if (runsLongTests) {
    for (const arch of ['80', '90a', '120']) {
      test.serial(`what nvcc makes for compute_${arch} is right under every schedule`, async t => {
        const program = await buildProgram('attention-backward-bf16', 'plain', arch)
        await sameBitsUnderSchedules(t, [program], all, ['ptx'])
      })
    }
    test.serial('AddressSanitizer and UndefinedBehaviorSanitizer', async t => {
      t.truthy(await hashOf(t, [await buildProgram('attention-backward-bf16', 'asan')], sanitizerEnv, all))
    })
    test.serial('ThreadSanitizer', async t => {
      const program = await buildProgram('attention-backward-bf16', 'tsan')
      t.truthy(await hashOf(t, [program, 'tiny'], sanitizerEnv, { exactly: 6 }))
    })
  } else {
    test.skip('both legs and sanitizers: only in npm run test:emulator', () => {})
  }
}
