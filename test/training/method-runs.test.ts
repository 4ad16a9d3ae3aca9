// Methods in a run: what each step samples and trains on, phases, a method of the caller's own, and that a run which was
// stopped and resumed ends with the same bytes.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import {
  AbortedError,
  ConfigError,
  type Method,
  methods,
  opChainsTask,
  type Task,
  type TrainConfig,
  type TrainEvent,
  train,
} from '../../lib/index.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { saveTinyModel, tinyRun } from './_tiny-run.js'

type StepEvent = Extract<TrainEvent, { type: 'step' }>

/** Runs to the end, stopped and resumed after `stops`; the steps' events, and a digest of the last checkpoint. */
async function run(
  folder: string,
  changes: Partial<TrainConfig>,
  stops: readonly number[] = [],
  task?: Task,
): Promise<{ steps: StepEvent[]; digests: string[] }> {
  const steps: StepEvent[] = []
  const config = tinyRun(folder, join(folder, 'model'), {
    maxSteps: 6,
    evalSteps: 0,
    maxCompletionLength: 90, // every demonstration fits
    ...changes,
  })
  for (const stop of [...stops, 0]) {
    const controller = new AbortController()
    const going = train(config, {
      signal: controller.signal,
      ...(task ? { task } : {}),
      onEvent: event => {
        if (event.type !== 'step') return
        steps.push(event)
        if (event.step === stop) controller.abort()
      },
    })
    await going.catch(error => {
      if (!AbortedError.isInstance(error) || stop === 0) throw error
    })
  }
  const last = join(folder, config.runName as string, `checkpoint-${config.maxSteps}`)
  const digests = await Promise.all(
    ['model.safetensors', 'optimizer.safetensors'].map(async name =>
      createHash('sha256')
        .update(await readFile(join(last, name)))
        .digest('hex'),
    ),
  )
  return { steps, digests }
}

const timeless = (steps: readonly StepEvent[]) =>
  steps.map(({ metrics }) =>
    Object.fromEntries(Object.entries(metrics).filter(([name]) => !/Seconds|PerSecond|Bytes/.test(name))),
  )

async function folderWithModel(t: Parameters<typeof temporaryFolder>[0]): Promise<string> {
  const folder = await temporaryFolder(t)
  await saveTinyModel(join(folder, 'model'))
  return folder
}

test('sftThenRl: its phases, and a run stopped in each of them ends with the same bytes', async t => {
  const folder = await folderWithModel(t)
  const changes = { method: 'sftThenRl', methodOptions: { sftSteps: 3, sftLearningRate: 0.02 } } as const
  const whole = await run(folder, { ...changes, runName: 'whole', objective: { entropyCoef: 0.01 } })
  const metrics = whole.steps.map(step => step.metrics)
  t.deepEqual(
    metrics.map(m => [(m.supervisedTokens ?? 0) > 0, (m.onPolicyTokens ?? 0) > 0]),
    [...Array(3).fill([true, false]), ...Array(3).fill([false, (metrics[3]?.onPolicyTokens ?? 0) > 0])],
  )
  // One update of the phase's own rate: warm-up of one step, then a line; after it the run's schedule from its start.
  const rates = metrics.map(m => m.learningRate as number)
  const expected = [0.02, 0.02, 0.01, 0.0015, 0.003, 0.003]
  t.true(
    rates.every((rate, i) => Math.abs(rate - (expected[i] as number)) < 1e-12),
    rates.join(' '),
  )
  t.deepEqual(
    whole.steps.map(({ samples }) => new Set(samples.map(({ source }) => source)).size),
    Array(6).fill(1),
  )
  const parts = await run(
    folder,
    { ...changes, runName: 'parts', objective: { entropyCoef: 0.01 } },
    [2, 3, 5],
  )
  t.deepEqual(timeless(parts.steps), timeless(whole.steps))
  t.deepEqual(parts.digests, whole.digests)
})

for (const method of ['mixedPolicy', 'rlWithSftLoss'] as const) {
  test(`${method} runs`, async t => {
    const { steps } = await run(await folderWithModel(t), { method, maxSteps: 2 })
    t.is(steps.length, 2)
    const { supervisedTokens = 0, offPolicyTokens = 0 } = steps[0]!.metrics
    t.deepEqual(
      [supervisedTokens > 0, offPolicyTokens > 0],
      [method === 'rlWithSftLoss', method === 'mixedPolicy'],
    )
  })
}

/** Solves a third of the prompts whatever the policy says, so that groups differ: by the length of the response. */
const byLength: Task['reward'] = ({ tokens }) => (tokens.length % 3 === 0 ? 1 : 0)

for (const [method, changes] of [
  ['exgrpo', { methodOptions: { startSolved: 0.05, successes: 2 } }],
  ['luffy', { prefix: { fraction: [0.2, 0.9] } }],
  ['luffy', { skipUniformGroups: true, resampleRounds: 2 }],
  ['chord', { methodOptions: { muWarmupSteps: 2, muDecaySteps: 3 } }],
  ['hpt', {}],
] as const) {
  test(`${method} ${JSON.stringify(changes)}: stopped and resumed it ends with the same bytes`, async t => {
    const folder = await folderWithModel(t)
    const task = { ...opChainsTask({ size: 12, testSize: 1 }), reward: byLength }
    const config = { method, ...changes, saveSteps: 2 } as Partial<TrainConfig>
    const whole = await run(folder, { ...config, runName: 'whole' }, [], task)
    const parts = await run(folder, { ...config, runName: 'parts' }, [3, 4], task)
    t.deepEqual(timeless(parts.steps), timeless(whole.steps))
    t.deepEqual(parts.digests, whole.digests)
    const rows = whole.steps.flatMap(({ samples }) => samples)
    const metrics = whole.steps.map(step => step.metrics)
    if (method === 'exgrpo') {
      const replays = rows.filter(({ finishReason }) => finishReason === 'replay')
      t.true(replays.length > 3, `${replays.length} replays`)
      t.true(replays.every(({ reward, advantage }) => reward === 1 && (advantage as number) >= 0))
      t.is(metrics[0]?.offPolicyTokens, 0)
      // A replayed success takes the place of a sample, and was a sample of an earlier step.
      t.is(rows.length, 6 * 4 * 3)
      const earlier = new Set(
        rows.filter(({ source }) => source === 'on').map(({ completion }) => completion),
      )
      t.true(replays.every(({ completion }) => earlier.has(completion)))
      // True old probabilities: right after it was sampled, before an update, the ratio of a token would be 1.
      t.true(metrics.some(({ offPolicyRatio = 0 }) => offPolicyRatio > 0.5 && offPolicyRatio < 1))
    } else if ('prefix' in changes) {
      t.true(
        metrics.every(
          ({ onPolicyTokens = 0, offPolicyTokens = 0 }) => onPolicyTokens > 0 && offPolicyTokens > 0,
        ),
      )
      t.true(
        rows
          .filter(({ source }) => source === 'off')
          .every(({ finishReason }) => /stop|length/.test(finishReason)),
      )
    } else if ('skipUniformGroups' in changes) {
      t.true(metrics.some(({ skippedGroups = 0 }) => skippedGroups > 0))
      t.true(metrics.every(({ fracRewardZeroStd }) => fracRewardZeroStd !== undefined))
    } else {
      t.true(metrics.some(({ supervisedTokens = 0 }) => supervisedTokens > 0))
      t.true(metrics.some(({ onPolicyTokens = 0 }) => onPolicyTokens > 0))
    }
  })
}

test('a method of the caller: it changes with the step, chooses members, and is recorded', async t => {
  const folder = await folderWithModel(t)
  const seen: string[] = []
  const own: Method = {
    ...methods.luffy,
    name: 'mine',
    options: { half: { default: 2, integer: true, min: 0, about: 'steps of the first half' } },
    at: (step, { half = 0 }) => (step > half ? { objective: { policyCoef: 0 } } : {}),
    choose: members => {
      seen.push(members.map(({ source, reward }) => `${source} ${reward}`).join(', '))
      return members
        .filter(({ source }) => source === 'demonstration')
        .map(m => ({ ...m, advantage: 0.25, weight: 2 }))
    },
  }
  const { steps } = await run(folder, { method: own, maxSteps: 4, methodOptions: { half: 3 } })
  t.is(seen.length, 16)
  t.is(
    seen.find(line => !/^sample \d, sample \d, demonstration 1$/.test(line)),
    undefined,
  )
  // The rewards of the samples are told although no update has them.
  t.deepEqual(
    steps.map(({ metrics }) => [metrics.onPolicyTokens ?? 0, Number.isFinite(metrics.reward)]),
    Array(4).fill([0, true]),
  )
  t.deepEqual(
    steps.map(({ metrics }) => metrics.noSignalUpdates),
    [0, 0, 0, 2],
  )
  for (const { samples } of steps) {
    t.deepEqual(
      samples.map(({ source, advantage }) => [source, advantage]),
      Array(4)
        .fill([
          ['on', null],
          ['on', null],
          ['off', 0.25],
        ])
        .flat(),
    )
  }
  t.regex(await readFile(join(folder, 'tiny/config.yaml'), 'utf8'), /name: mine/)
  await t.throwsAsync(run(folder, { method: own, runName: 'x', methodOptions: { halve: 3 } }), {
    instanceOf: ConfigError,
    message: /halve.*half/,
  })
  await t.throwsAsync(run(folder, { method: { name: 'x', objective: {}, at: 1 } as unknown as Method }), {
    instanceOf: TypeError,
    message: /method\.at: expected a function/,
  })
})
