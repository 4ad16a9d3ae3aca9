// A run that was stopped (by a signal, by SIGKILL, by a torn checkpoint) and resumed ends with the same bytes as one
// that was not; what must not be resumed is refused.
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  AbortedError,
  CheckpointError,
  ConfigError,
  NonFiniteError,
  type TrainEvent,
  train,
} from '../../lib/index.js'
import { startChild } from '../_helpers/child.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { saveTinyModel, tinyRun } from './_tiny-run.js'

const CHILD = new URL('./_train-child.js', import.meta.url)

/** What does not depend on the clock: rows without times and rates, and digests of weights, moments and completions. */
async function outcome(outputDir: string) {
  const folder = join(outputDir, 'tiny')
  const digest = async (path: string) =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex')
  const rows = (await readFile(join(folder, 'metrics.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map(line =>
      Object.entries(JSON.parse(line) as Record<string, number>).filter(
        ([name]) => name !== 'step_time' && !name.startsWith('perf/'),
      ),
    )
  const completions = (await readdir(join(folder, 'completions'))).sort()
  return {
    rows,
    weights: await digest(join(folder, 'checkpoint-8/model.safetensors')),
    moments: await digest(join(folder, 'checkpoint-8/optimizer.safetensors')),
    state: JSON.parse(await readFile(join(folder, 'checkpoint-8/trainer_state.json'), 'utf8')).luffy.trainer,
    best: JSON.parse(await readFile(join(folder, 'checkpoint-8/trainer_state.json'), 'utf8')).best_metric,
    completions: await Promise.all(completions.map(name => digest(join(folder, 'completions', name)))),
  }
}

// The run that is never stopped, made once.
const folder = { root: '', model: '', result: {} as Awaited<ReturnType<typeof outcome>> }
test.before(async t => {
  folder.root = await mkdtemp(join(tmpdir(), 'luffy-test-'))
  folder.model = join(folder.root, 'model')
  await saveTinyModel(folder.model)
  const { accuracy } = await train(tinyRun(folder.root, folder.model))
  t.true(Object.keys(accuracy).length > 0)
  folder.result = await outcome(folder.root)
})
test.after.always(() => rm(folder.root, { recursive: true, force: true }))

/** Runs until `stop` says so, and expects the error of a stopped run. */
async function stopped(
  t: ExecutionContext,
  outputDir: string,
  stop: (event: TrainEvent) => boolean,
): Promise<AbortedError> {
  const controller = new AbortController()
  const error = await t.throwsAsync(
    train(tinyRun(outputDir, folder.model), {
      signal: controller.signal,
      onEvent: event => {
        if (stop(event)) controller.abort()
      },
    }),
    { instanceOf: AbortedError },
  )
  return error as AbortedError
}

test('the run that is not stopped has its rows, evaluations and checkpoints', t => {
  const { rows } = folder.result
  t.is(rows.filter(row => row.some(([name]) => name === 'loss')).length, 8)
  t.is(rows.filter(row => row.some(([name]) => name.startsWith('eval_'))).length, 4) // 0, 3, 6, 8
  t.is(folder.result.completions.length, 8)
  t.is(folder.result.state.updates + folder.result.state.noSignalUpdates, 16)
  t.true(folder.result.state.updates > 4)
})

const stops: [string, (event: TrainEvent) => boolean, number][] = [
  ['after step 2', event => event.type === 'step' && event.step === 2, 2],
  ['while step 5 is sampled', event => event.type === 'sampling' && event.step === 5 && event.tokens > 20, 4],
  ['before the evaluation of step 6', event => event.type === 'evaluating' && event.step === 6, 6],
  ['after the last checkpoint but one', event => event.type === 'checkpoint' && event.step === 6, 6],
]
for (const [name, stop, step] of stops) {
  test(`stopped ${name} and resumed: the same rows, weights and moments`, async t => {
    const outputDir = await temporaryFolder(t)
    const error = await stopped(t, outputDir, stop)
    t.regex(error.message, new RegExp(`stopped at step ${step}, saved .*checkpoint-${step}`))
    t.is(error.details?.step, step)
    let started = -1
    await train(tinyRun(outputDir, folder.model), {
      onEvent: event => {
        if (event.type === 'start') started = event.step
      },
    })
    t.is(started, step)
    t.deepEqual(await outcome(outputDir), folder.result)
  })
}

test('killed without warning and resumed: the same rows, weights and moments', async t => {
  const outputDir = await temporaryFolder(t)
  const child = startChild(CHILD, [outputDir, folder.model, '5'])
  await child.line('step 5')
  child.process.kill('SIGKILL')
  t.is((await child.ended).signal, 'SIGKILL')
  let started = -1
  let notices: string[] = []
  await train(tinyRun(outputDir, folder.model), {
    onEvent: event => {
      if (event.type === 'start') [started, notices] = [event.step, event.notices]
    },
  })
  t.is(started, 3)
  t.true(
    notices.some(notice => /pid \d+/.test(notice)),
    notices.join('\n'),
  )
  t.deepEqual(await outcome(outputDir), folder.result)
})

test('a newest checkpoint that is torn is named, and the run goes on from the one before', async t => {
  const outputDir = await temporaryFolder(t)
  await stopped(t, outputDir, event => event.type === 'step' && event.step === 7)
  const torn = join(outputDir, 'tiny/checkpoint-7/optimizer.safetensors')
  await truncate(torn, (await readFile(torn)).length - 5)
  let started = -1
  let notices: string[] = []
  await train(tinyRun(outputDir, folder.model), {
    onEvent: event => {
      if (event.type === 'start') [started, notices] = [event.step, event.notices]
    },
  })
  t.is(started, 6)
  t.true(
    notices.some(notice => notice.includes('checkpoint-7') && notice.includes('optimizer')),
    notices.join('\n'),
  )
  t.deepEqual(await outcome(outputDir), folder.result)
})

test('a finished run is not trained again, and gives its accuracy', async t => {
  const outputDir = await temporaryFolder(t)
  const { accuracy, checkpoint } = await train(tinyRun(outputDir, folder.model))
  const steps: number[] = []
  const again = await train(tinyRun(outputDir, folder.model), {
    onEvent: event => {
      if (event.type === 'step') steps.push(event.step)
    },
  })
  t.deepEqual(steps, [])
  t.deepEqual([again.accuracy, again.checkpoint, again.step], [accuracy, checkpoint, 8])
  t.deepEqual(await outcome(outputDir), folder.result)

  const changed = await t.throwsAsync(
    train(tinyRun(outputDir, folder.model, { learningRate: 1e-3, adamBetas: [0.9, 0.99] })),
    { instanceOf: CheckpointError },
  )
  t.regex(changed.message, /learningRate.*0\.003.*0\.001/)
  t.regex(changed.message, /adamBetas/)
  await t.throwsAsync(train(tinyRun(outputDir, folder.model, { resume: 'never' })), {
    instanceOf: CheckpointError,
  })
  t.deepEqual(await outcome(outputDir), folder.result)
})

test('two writers of one run are refused', async t => {
  const outputDir = await temporaryFolder(t)
  const child = startChild(CHILD, [outputDir, folder.model, '1'])
  await child.line('step 1')
  const started = performance.now()
  const error = await t.throwsAsync(train(tinyRun(outputDir, folder.model)), { instanceOf: CheckpointError })
  t.true(performance.now() - started < 1000)
  t.regex(error.message, new RegExp(`pid ${child.process.pid}`))
  t.is((error as CheckpointError).exitCode, 4)
  child.process.kill('SIGKILL')
  await child.ended
})

test('an abort before the run begins and a wrong configuration leave nothing behind', async t => {
  const outputDir = await temporaryFolder(t)
  const run = (changes: object) => train(tinyRun(outputDir, folder.model, changes))
  await t.throwsAsync(run({ learningrate: 1 }), { instanceOf: ConfigError, message: /learningRate/ })
  await t.throwsAsync(run({ device: 'cpv' }), { instanceOf: ConfigError, message: /cpu/ })
  await t.throwsAsync(run({ promptsPerUpdate: 3 }), { instanceOf: ConfigError, message: /promptsPerUpdate/ })
  t.deepEqual(await readdir(outputDir), [])
  const signal = AbortSignal.abort()
  await t.throwsAsync(train(tinyRun(outputDir, folder.model), { signal }), { instanceOf: AbortedError })
  t.deepEqual(await readdir(outputDir), [])
})

test('a run that diverges stops and keeps its last good checkpoint', async t => {
  const outputDir = await temporaryFolder(t)
  // Weights that grow without bound: the logits overflow within a few steps.
  const wild = {
    learningRate: 1e30,
    lrSchedule: 'constant',
    warmupSteps: 0,
    saveSteps: 1,
    maxGradNorm: 0,
  } as const
  const saved: string[] = []
  const error = await t.throwsAsync(
    train(tinyRun(outputDir, folder.model, wild), {
      onEvent: event => {
        if (event.type === 'checkpoint') saved.push(event.folder)
      },
    }),
    { instanceOf: NonFiniteError },
  )
  t.is((error as NonFiniteError).exitCode, 5)
  const kept = (await readdir(join(outputDir, 'tiny'))).filter(name => /^checkpoint-\d+$/.test(name))
  t.deepEqual(kept.length > 0, saved.length > 0)
})
