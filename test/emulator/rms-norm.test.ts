// rms-norm's CUDA kernels on the emulator: right, and the same bits, under every schedule and in both legs.
import test from 'ava'
import {
  buildProgram,
  hashOf,
  missingReason,
  runProgram,
  runsLongTests,
  sameBitsUnderSchedules,
  sanitizerEnv,
} from './_programs.js'

if (missingReason) {
  test.skip(`rms-norm on the emulator: ${missingReason}`, () => {})
} else {
  if (!runsLongTests) {
    test.serial('four schedules, the same bits', async t => {
      await sameBitsUnderSchedules(t, [await buildProgram('rms-norm', 'plain')], 130)
    })
  }

  test.serial('more than 65,535 rows', async t => {
    const { code, output } = await runProgram([await buildProgram('rms-norm', 'plain'), 'large'])
    t.is(code, 0, output)
    t.regex(output, /^2 cases, 0 failed$/m)
  })

  test.serial('aligned rows waste no sector and read what they must', async t => {
    const legs = runsLongTests ? ['source', 'ptx'] : ['source']
    const program = await buildProgram('rms-norm', 'plain', runsLongTests ? '80' : undefined)
    const bytesOf = new Map<string, number>()
    for (const leg of legs) {
      const env = { EMULATOR_TRACE: '1', ...(leg === 'ptx' ? { EMULATOR_LEG: 'ptx' } : {}) }
      const { code, output } = await runProgram([program], env)
      t.is(code, 0)
      const lines = output.split('\n').filter(line => / (9x1x1024|40x2x128|6x1x512) .*traffic/.test(line))
      t.is(lines.length, 24, output.slice(0, 400))
      for (const line of lines) {
        const [, name, bytes, sectors] =
          /^ok (.*) gap .*traffic: ([\d.]+) of .* ([\d.]+) of the least sec/.exec(line) ?? []
        bytesOf.set(`${leg} ${name}`, Number(bytes))
        // Backward in bfloat16 writes the float32 sums of weight gradients in halves of sectors, once a worker.
        const limit = /backward.* bfloat16/.test(line) ? 1.35 : 1
        t.true(Number(sectors) <= limit, `${leg}: ${line}`)
      }
    }
    // Beside x and out, the weights once (forward), twice (backward): they stay in the cache.
    for (const leg of legs) {
      t.true(bytesOf.get(`${leg} forward float32 9x1x1024`)! <= 1.501)
      t.true(bytesOf.get(`${leg} forward, residual bfloat16 9x1x1024`)! <= 1.251)
      t.true(bytesOf.get(`${leg} backward, gradSum bfloat16 9x1x1024`)! <= 1.76)
    }
  })

  if (runsLongTests) {
    for (const arch of ['80', '90a', '120']) {
      test.serial(`four schedules, both legs of compute_${arch}, the same bits`, async t => {
        const program = await buildProgram('rms-norm', 'plain', arch)
        await sameBitsUnderSchedules(t, [program], 130, ['source', 'ptx'])
      })
    }
    test.serial('AddressSanitizer and UndefinedBehaviorSanitizer', async t => {
      const program = await buildProgram('rms-norm', 'asan', '80')
      await hashOf(t, [program], sanitizerEnv, 130)
      await hashOf(t, [program], { ...sanitizerEnv, EMULATOR_LEG: 'ptx' }, 130)
    })
    test.serial('ThreadSanitizer', async t => {
      const program = await buildProgram('rms-norm', 'tsan', '80')
      await hashOf(t, [program, 'tiny'], sanitizerEnv, 4)
      await hashOf(t, [program, 'tiny'], { ...sanitizerEnv, EMULATOR_LEG: 'ptx' }, 4)
    })
    test.serial('valgrind', async t => {
      const program = await buildProgram('rms-norm', 'plain')
      await hashOf(t, ['valgrind', '-q', '--error-exitcode=9', program, 'small'], {}, 100)
    })
  } else {
    test.skip('PTX, sanitizers and valgrind: only in npm run test:emulator', () => {})
  }
}
