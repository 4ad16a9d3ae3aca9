// A run whose CUDA device fails or has too little memory (the emulated one, told to): it ends at once with its own exit
// code and one error, and its last checkpoint is whole and can be resumed from.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { CheckpointStore, verifyCheckpoint } from '../../lib/training/checkpoint.js'
import { testDeviceNames } from '../_helpers/emulator.js'
import { folderWithBase, lastLine, luffy, quickRun } from '../cli/_luffy.js'

const emulatedTest = testDeviceNames().includes('emulated') ? test : test.skip

const small = {
  device: 'emulated',
  numGenerations: 2,
  maxCompletionLength: 12,
  saveSteps: 1,
  'task.testSize': 2,
}

emulatedTest(
  'a kernel fails in the third step: exit code 7, and the run goes on from the second',
  async t => {
    const folder = await folderWithBase(t)
    const config = join(folder, 'run.json')
    await writeFile(config, '{}')
    const run = quickRun(folder, 'r', small)
    // Two steps draw some 24 times.
    const started = performance.now()
    const failed = await luffy(['train', config, ...run], {
      EMULATOR_FAULT: 'sample_tokens_kernel:30:illegal',
      EMULATOR_STREAMS: 'lazy',
    })
    t.is(failed.code, 7, failed.stderr)
    t.is(failed.signal, null)
    t.true(performance.now() - started < 60_000)
    t.regex(
      lastLine(failed.stderr),
      /^luffy: .*illegal memory access was encountered \(cudaErrorIllegalAddress\)/,
    )
    t.is(failed.stderr.split('cudaErrorIllegalAddress').length, 2, failed.stderr)

    const store = new CheckpointStore(join(folder, 'r'), { keep: 2 })
    const { checkpoint, notices } = await store.verifiedPoint()
    t.is(checkpoint?.step, 2)
    t.deepEqual(notices, [])
    for (const step of [1, 2])
      t.is(await verifyCheckpoint(join(folder, 'r', `checkpoint-${step}`)), undefined)

    const resumed = await luffy(['train', config, ...run, '--resume'])
    t.is(resumed.code, 0, resumed.stderr)
    t.regex(resumed.stderr, /going on after step 2/)
  },
)

emulatedTest('memory that is not there: exit code 6, with the sizes', async t => {
  const folder = await folderWithBase(t)
  const config = join(folder, 'run.json')
  await writeFile(config, '{}')
  const { code, stderr } = await luffy(['train', config, ...quickRun(folder, 'r', small)], {
    EMULATOR_MEMORY: '200000',
  })
  t.is(code, 6, stderr)
  t.regex(lastLine(stderr), /^luffy: .*(MiB|GiB)/)
})
