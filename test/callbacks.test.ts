// Functions of the caller that throw, or return a promise that rejects: the call waits for them, ends cleanly, and
// rejects with their error. Nothing is left unhandled, nothing is left behind.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import {
  measureAccuracy,
  opChainsTask,
  Policy,
  pretrain,
  type TrainEvent,
  type TrainOptions,
  train,
} from '../lib/index.js'
import { temporaryFolder } from './_helpers/folders.js'
import { tinyPolicies, withPolicy } from './_helpers/policies.js'
import { saveTinyModel, tinyRun } from './training/_tiny-run.js'

const test = ava.serial

const unhandled: unknown[] = []
process.on('unhandledRejection', reason => unhandled.push(reason))

const modes = ['throws', 'rejects'] as const

/** A function that fails when it is called for the n-th time. */
function failing(mode: (typeof modes)[number], error: Error, n = 1): () => unknown {
  let calls = 0
  return () => {
    if (++calls !== n) return undefined
    if (mode === 'throws') throw error
    return new Promise((_, reject) => setTimeout(() => reject(error), 5))
  }
}

async function rejectsWith(t: ExecutionContext, error: Error, call: Promise<unknown>): Promise<void> {
  const thrown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  t.is(thrown, error)
  await new Promise(resolve => setTimeout(resolve, 20))
  t.deepEqual(unhandled, [])
}

const prompts = [Int32Array.of(3, 4, 5), Int32Array.of(6, 7)]

for (const mode of modes) {
  test(`onProgress of sample ${mode}`, async t => {
    await withPolicy(tinyPolicies.qwen2, {}, async (policy, device) => {
      const options = { maxTokens: 6, seed: 1, samplesPerPrompt: 3, stopTokens: [] }
      const before = await policy.sample(prompts, options)
      const { liveBytes } = device.info()
      for (const n of [1, 3]) {
        const error = new Error('mine')
        await rejectsWith(
          t,
          error,
          policy.sample(prompts, { ...options, onProgress: failing(mode, error, n) }),
        )
        await device.synchronize()
        t.is(device.info().liveBytes, liveBytes)
      }
      t.deepEqual(await policy.sample(prompts, options), before, 'the policy goes on')
    })
  })

  test(`onProgress of measureAccuracy and onStep of pretrain ${mode}`, async t => {
    const task = opChainsTask({ size: 4, testSize: 4 })
    const config = { ...tinyPolicies.qwen2, vocabSize: task.tokenizer.vocabSize, eosTokenIds: 0 }
    await withPolicy(config, {}, async (policy, device) => {
      const error = new Error('mine')
      const set = { name: 'x', items: task.training }
      const steps = (onStep?: () => unknown) =>
        pretrain(policy, () => ({ tokens: Int32Array.of(3, 4, 5), promptLength: 1 }), {
          steps: 3,
          batch: 2,
          learningRate: 1e-3,
          onStep,
        })
      await steps() // from here on the policy has its gradients
      const { liveBytes } = device.info()
      const accuracy = { maxTokens: 4, seed: 0, onProgress: failing(mode, error, 2) }
      await rejectsWith(t, error, measureAccuracy(policy, task, set, accuracy))
      await rejectsWith(t, error, steps(failing(mode, error, 2)))
      await device.synchronize()
      t.is(device.info().liveBytes, liveBytes, 'the moments are freed')
      await policy.logProbs([{ tokens: Int32Array.of(3, 4), promptLength: 1 }])
    })
  })

  test(`onProgress and onWarning of Policy.load ${mode}`, async t => {
    const folder = await temporaryFolder(t)
    await saveTinyModel(folder)
    // A configuration of fewer layers than the file holds: the others are not used, which is warned of.
    const path = join(folder, 'config.json')
    const config = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
    await writeFile(path, JSON.stringify({ ...config, num_hidden_layers: 1 }))
    const warnings: string[] = []
    await (
      await Policy.load(folder, { device: 'cpu', onWarning: async text => void warnings.push(text) })
    ).dispose()
    t.is(warnings.length, 1)
    const error = new Error('mine')
    for (const name of ['onWarning', 'onProgress']) {
      await rejectsWith(t, error, Policy.load(folder, { device: 'cpu', [name]: failing(mode, error) }))
    }
  })
}

test('a promise is waited for before the work goes on', async t => {
  await withPolicy(tinyPolicies.qwen2, {}, async policy => {
    let inside = 0
    let most = 0
    await policy.sample(prompts, {
      maxTokens: 4,
      stopTokens: [],
      onProgress: async () => {
        most = Math.max(most, ++inside)
        await new Promise(resolve => setTimeout(resolve, 5))
        inside -= 1
      },
    })
    t.is(most, 1)
    t.is(inside, 0)
  })
})

const eventTypes = [
  'start',
  'sampling',
  'step',
  'evaluating',
  'evaluation',
  'checkpoint',
  'end',
] as const satisfies readonly TrainEvent['type'][]

test('onEvent that fails ends the run with its error; the steps that are done stay', async t => {
  const folder = await temporaryFolder(t)
  const model = join(folder, 'model')
  await saveTinyModel(model)
  const run = (name: string, options: TrainOptions) =>
    train(tinyRun(folder, model, { runName: name, maxSteps: 3, evalSteps: 2, saveSteps: 5 }), options)
  for (const [i, type] of eventTypes.entries()) {
    const mode = modes[i % 2] as (typeof modes)[number]
    const name = `${type}-${mode}`
    const error = new Error(name)
    // The second of its kind where there are several, so that there is something to lose.
    const fail = failing(mode, error, type === 'step' || type === 'evaluating' ? 2 : 1)
    const after: string[] = []
    let failed = false
    await rejectsWith(
      t,
      error,
      run(name, {
        onEvent: async event => {
          if (failed) after.push(event.type)
          if (event.type !== type) return
          try {
            await fail()
          } catch (thrown) {
            failed = true
            throw thrown
          }
        },
      }),
    )
    t.deepEqual(after, [], 'nothing is told after the failure')
    const files = await readdir(join(folder, name))
    t.false(files.includes('lock'), 'the lock is given back')
    const steps = files.flatMap(file => /^checkpoint-(\d+)$/.exec(file)?.[1] ?? []).map(Number)
    const rows = (await readFile(join(folder, name, 'metrics.jsonl'), 'utf8')).split('\n').length - 1
    if (type === 'step') t.deepEqual(steps, [2], 'saved though saveSteps is 5')
    if (type === 'checkpoint' || type === 'end') t.deepEqual(steps, [3])
    t.true(rows >= 0)
    let from = -1
    const result = await run(name, {
      onEvent: event => {
        if (event.type === 'start') from = event.step
      },
    })
    t.is(result.step, 3)
    t.is(from, steps[0] ?? 0)
  }
})
