// Steady decoding on the emulated CUDA device, by the record of its runtime's calls: a step uploads what it reads, then
// launches kernels and nothing else until its tokens are drawn. So it can be captured as a CUDA graph.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { Device, Policy } from '../../lib/index.js'
import { testDeviceNames } from '../_helpers/emulator.js'
import { withEnvironment } from '../_helpers/environment.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { randomTokens, tinyPolicies } from '../_helpers/policies.js'

const emulatedTest = testDeviceNames().includes('emulated') ? test : test.skip

/** Calls of each decode step, from the upload of what it reads to the kernel that draws its tokens. */
function stepsOf(calls: string[]): { all: string[]; launches: string[] }[] {
  const steps = []
  let begin = 0
  for (const [i, call] of calls.entries()) {
    if (!call.includes('sample_tokens_kernel')) continue
    const all = calls.slice(begin, i + 1)
    steps.push({ all, launches: all.slice(all.findIndex(text => text.startsWith('launch'))) })
    begin = i + 1
  }
  return steps
}

emulatedTest(
  'a decode step allocates nothing, waits for nothing and launches the same kernels as the last',
  async t => {
    const file = join(await temporaryFolder(t), 'calls')
    await using device = await Device.open('emulated')
    await using policy = await Policy.create(tinyPolicies.qwen2, { device, seed: 7 })
    // Prefill and the first steps fill the caches of memory.
    const options = { maxTokens: 12, temperature: 1, seed: 1, stopTokens: [] }
    await withEnvironment({ EMULATOR_CALLS: file }, () =>
      policy.sample([randomTokens(7, 1), randomTokens(11, 2)], options),
    )
    const calls = (await readFile(file, 'utf8')).trimEnd().split('\n')
    const steps = stepsOf(calls)
    t.is(steps.length, 12)
    const steady = steps.slice(4)
    for (const [i, { all, launches }] of steady.entries()) {
      t.deepEqual(
        all.filter(call => /^(allocate|free)/.test(call)),
        [],
        `step ${i + 4}`,
      )
      t.deepEqual(
        launches.filter(call => !call.startsWith('launch')),
        [],
        `step ${i + 4}: not a launch`,
      )
      t.deepEqual(launches, steady[0]!.launches, `step ${i + 4}: other launches than step 4`)
    }
    t.true(steady[0]!.launches.length > 10)
    t.true(steady[0]!.launches.some(call => call.includes('attention_decode_kernel')))
    // The first step does allocate: what is looked for can be found.
    t.true(steps[0]!.all.some(call => call.startsWith('allocate')))
    t.true(calls.some(call => call.startsWith('wait')))
  },
)
