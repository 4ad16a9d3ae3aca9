// Tasks of one's own that are wrong, as a first user writes them: each mistake is named, and a failing reward never looks
// like a policy that is wrong.
import { existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import {
  measureAccuracy,
  opChainsTask,
  Policy,
  RewardError,
  type Task,
  type TrainEvent,
  Trainer,
  train,
} from '../../lib/index.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { saveTinyModel, tinyRun } from './_tiny-run.js'

const test = ava.serial

const task = () => opChainsTask({ size: 8, testSize: 4 })

test('a sequence without a token after its prompt is refused, no groups and no prompts are nothing to do', async t => {
  const folder = await temporaryFolder(t)
  await saveTinyModel(folder)
  await using policy = await Policy.load(folder, { device: 'cpu' })
  await using trainer = await Trainer.create(policy, { method: 'luffy' })
  const sample = { tokens: Int32Array.of(1, 2, 3), promptLength: 2, reward: 0, offPolicy: false }
  const empty = { tokens: Int32Array.of(1, 2), promptLength: 2, reward: 1, offPolicy: true }
  await t.throwsAsync(trainer.trainStep([{ members: [sample, empty] }]), {
    instanceOf: RangeError,
    message: /^groups\[0\]\.members\[1\]\.tokens: no token after the prompt: 2 tokens, promptLength 2$/,
  })
  t.is((await trainer.trainStep([])).noSignalUpdates, 1)
  t.is((await trainer.trainStep([{ members: [] }])).noSignalUpdates, 1)
  t.deepEqual(await policy.sample([]), [])
  t.deepEqual(await trainer.advantages([{ members: [{ ...sample, reward: 0.5 }] }]), [[0.5]])
})

test('a reward that fails now and then is told of, one that always fails ends the run', async t => {
  const folder = await temporaryFolder(t)
  await saveTinyModel(folder)
  const run = (runName: string, reward: unknown, events: TrainEvent[] = []) =>
    train(tinyRun(folder, folder, { runName, maxSteps: 1, evalSteps: 0, promptsPerUpdate: 4 }), {
      task: { ...task(), reward: reward as Task['reward'] },
      onEvent: event => events.push(event),
    })
  await t.throwsAsync(run('none', undefined), {
    instanceOf: TypeError,
    message: /^task\.reward: expected a function/,
  })
  t.false(existsSync(join(folder, 'none')))
  for (const [name, reward, why] of [
    ['words', () => 'yes', /not a finite number: yes/],
    ['flags', () => true, /not a finite number: true/],
    [
      'throws',
      () => {
        throw new Error('boom\u001b[2J')
      },
      /threw: boom\\u\{1b\}\[2J/,
    ],
  ] as const) {
    const error = await t.throwsAsync(run(name, reward), {
      instanceOf: RewardError,
      message: /^the reward failed on (\d+) of \1 responses; the first: /,
    })
    t.regex(error?.message ?? '', why)
    t.false(existsSync(join(folder, name, 'best.json')))
  }
  const events: TrainEvent[] = []
  let calls = 0
  await run('some', () => (calls++ % 4 === 1 ? Number.NaN : 1), events)
  const notices = events.flatMap(event => (event.type === 'notice' ? event.text : []))
  t.regex(
    notices[0] ?? '',
    /^the reward failed on 3 of 1\d responses, which are left out; the first: not a finite/,
  )
})

test('accuracy leaves failures out and counts them, a null counts as 0', async t => {
  const folder = await temporaryFolder(t)
  await saveTinyModel(folder)
  await using policy = await Policy.load(folder, { device: 'cpu' })
  const own = task()
  const set = { name: 'four', items: own.training.slice(0, 4) }
  const rewards = [1, null, 'x', Number.NaN, 0, 1, null, null]
  const judged = { ...own, reward: (() => rewards.shift() ?? null) as Task['reward'] }
  const accuracy = await measureAccuracy(policy, judged, set, { maxTokens: 4, samplesPerPrompt: 2, seed: 0 })
  // Prompts (1 + 0) / 2, none, (0 + 1) / 2, 0.
  t.like(accuracy, { mean: 1 / 3, prompts: 3, failed: 2 })
  await t.throwsAsync(
    measureAccuracy(policy, { ...own, reward: () => 'x' as never }, set, { maxTokens: 4, seed: 0 }),
    { instanceOf: RewardError },
  )
})

test('what is odd about a task is said before the run, what is wrong is refused with its place', async t => {
  const folder = await temporaryFolder(t)
  await saveTinyModel(folder)
  const own = task()
  const run = (runName: string, changes: Partial<Task>, more = {}, events: TrainEvent[] = []) =>
    train(tinyRun(folder, folder, { runName, maxSteps: 1, evalSteps: 0, promptsPerUpdate: 4, ...more }), {
      task: { ...own, ...changes },
      onEvent: event => events.push(event),
    })
  const [first, second] = own.training as [Task['training'][number], Task['training'][number]]
  const cases: [Partial<Task>, RegExp][] = [
    [{ training: [] }, /^task\.training: expected at least one item/],
    [{ training: ['7='] as never }, /^task\.training\[0\]: expected \{ prompt, answer \}, got "7="/],
    [
      { training: [first, { ...second, prompt: '' }] },
      /^task\.training\[1\]\.prompt: expected at least one character/,
    ],
    [
      { training: [{ ...first, demonstration: '' }] },
      /^task\.training\[0\]\.demonstration: expected a response/,
    ],
    [
      { training: own.training.map(({ prompt, answer }) => ({ prompt, answer })) },
      /^task\.training: no item has a demonstration, from which luffy learns/,
    ],
  ]
  for (const [changes, message] of cases) await t.throwsAsync(run('never', changes), { message })
  t.false(existsSync(join(folder, 'never')))
  const events: TrainEvent[] = []
  const endless = { ...first, demonstration: first.demonstration?.slice(0, -1) as string }
  await run('odd', { training: [endless] }, { maxCompletionLength: 127 }, events)
  const notices = events[0]?.type === 'start' ? events[0].notices : []
  t.is(notices.length, 3)
  t.regex(notices[0] ?? '', /^task\.training has 1 prompts, promptsPerStep is 4/)
  t.regex(notices[1] ?? '', /maxCompletionLength \(127\) are more than the policy's 128 positions/)
  t.regex(notices[2] ?? '', /^1 of 1 demonstrations do not end in an end token \("\$"\)/)
})

test('a run that is beyond maxSteps is left as it is', async t => {
  const folder = await temporaryFolder(t)
  await saveTinyModel(folder)
  const run = (maxSteps: number, events: TrainEvent[] = []) =>
    train(tinyRun(folder, folder, { maxSteps, evalSteps: 0 }), { onEvent: event => events.push(event) })
  const first = await run(3)
  const content = async () =>
    Promise.all(
      (await readdir(first.runFolder, { recursive: true })).sort().map(async name => {
        const { mtimeMs, size } = await stat(join(first.runFolder, name))
        return [name, mtimeMs, size]
      }),
    )
  const before = await content()
  const events: TrainEvent[] = []
  t.deepEqual(await run(2, events), { ...first, rewardReasons: {} })
  t.deepEqual(await content(), before)
  t.deepEqual(
    events.map(({ type }) => type),
    ['start', 'end'],
  )
  t.regex(
    events[0]?.type === 'start' ? (events[0].notices[0] ?? '') : '',
    /already at step 3, maxSteps is 2: nothing to do$/,
  )
})
