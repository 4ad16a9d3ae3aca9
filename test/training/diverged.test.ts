// diverged/: what a run that stops diverged leaves, and that the step can be done again from it.
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import { parse } from 'yaml'
import {
  type Device,
  NonFiniteError,
  opChainsTask,
  Policy,
  readDiverged,
  resolveTrainConfig,
  type Task,
  Trainer,
  train,
} from '../../lib/index.js'
import { type FailedStep, mostGroupBytes, writeDiverged } from '../../lib/training/diverged.js'
import { PreparedGroups } from '../../lib/training/groups.js'
import { trainerOptionsOf } from '../../lib/training/train-config.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { saveTinyModel, tinyRun } from './_tiny-run.js'

const test = ava.serial

/** Runs until it diverges. */
async function diverge(
  outputDir: string,
  model: string,
  changes: object,
  task?: Task,
): Promise<NonFiniteError> {
  const run = train(tinyRun(outputDir, model, changes), task ? { task } : {})
  const error = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (NonFiniteError.isInstance(error)) return error
  throw new Error(`expected a NonFiniteError, got ${String(error)}`)
}

/** The policy and trainer of a diverged/ folder, moments included. */
async function replayer(folder: string, device: Device | string): Promise<[Policy, Trainer]> {
  const config = resolveTrainConfig(parse(await readFile(join(folder, 'config.yaml'), 'utf8')))
  const policy = await Policy.load(join(folder, 'policy'), { device, allowNonFinite: true })
  const trainer = await Trainer.create(policy, { ...trainerOptionsOf(config), maxSkippedUpdates: 0 })
  const report = JSON.parse(await readFile(join(folder, 'report.json'), 'utf8'))
  await trainer.loadState(join(folder, 'policy'), report.trainer)
  return [policy, trainer]
}

test('an update whose gradient overflows is left in diverged/ and fails again from there', async t => {
  const outputDir = await temporaryFolder(t)
  const model = join(outputDir, 'model')
  await saveTinyModel(model)
  // Rewards near the largest allowed: advantages that overflow the gradient's norm in float32, at every update.
  let judged = 0
  const task = {
    ...opChainsTask({ size: 24, testSize: 2 }),
    reward: () => (judged++ % 2 === 0 ? 1e30 : -1e30),
  }
  const changes = {
    evalSteps: 0,
    saveSteps: 1,
    maxSteps: 8,
    maxGradNorm: 0,
    advantages: { offPolicyWeight: 1e9 },
  }
  const error = await diverge(outputDir, model, changes, task)
  const folder = join(outputDir, 'tiny/diverged')
  t.is(error.details?.diverged, folder)
  t.regex(
    error.message,
    /had a gradient that is not finite \(step \d+\); go back to .*; the step is in .*diverged$/,
  )
  t.deepEqual((await readdir(folder)).sort(), ['config.yaml', 'groups.jsonl', 'policy', 'report.json'])

  const { report, groups } = await readDiverged(folder)
  t.like(report, { step: 3, policy: true, omittedGroups: 0, checkpoint: 'checkpoint-2' })
  t.is(report.error.code, 'NON_FINITE')
  t.is(groups.length, 2)
  for (const { members } of groups) {
    t.is(members.length, 3)
    for (const member of members) t.true(Math.abs(member.reward as number) === 1e30)
  }
  const [policy, trainer] = await replayer(folder, 'cpu')
  const again = await t.throwsAsync(
    trainer.trainStep(groups, { learningRate: report.learningRate as number }),
    {
      instanceOf: NonFiniteError,
    },
  )
  const metrics = (failed: unknown) => (failed as { metrics?: object } | undefined)?.metrics
  const timeless = (of: object | undefined) => ({ ...of, step: 0 })
  t.deepEqual(timeless(metrics(again.details)), timeless(metrics(error.details)), 'the same loss, to the bit')
  t.true(Object.keys(metrics(error.details) ?? {}).length > 10)
  await trainer.dispose()
  await policy.dispose()
})

test('logits that overflow while sampling leave the prompts and the policy', async t => {
  const outputDir = await temporaryFolder(t)
  const model = join(outputDir, 'model')
  await saveTinyModel(model)
  const wild = { learningRate: 1e30, lrSchedule: 'constant', warmupSteps: 0, saveSteps: 1, maxGradNorm: 0 }
  const error = await diverge(outputDir, model, { ...wild, evalSteps: 0 })
  t.regex(error.message, /logits of prompt \d+ hold NaN/)
  const { report, groups } = await readDiverged(error.path as string)
  t.true(groups.length > 0)
  t.true(groups.every(({ members }) => members.length === 0))
  const lines = (await readFile(join(error.path as string, 'groups.jsonl'), 'utf8')).trim().split('\n')
  const prompts = lines.map(line => Int32Array.from((JSON.parse(line) as { prompt: number[] }).prompt))
  await using policy = await Policy.load(join(error.path as string, 'policy'), {
    device: 'cpu',
    allowNonFinite: true,
  })
  await t.throwsAsync(policy.sample(prompts, { maxTokens: 40, seed: 0, step: report.step }), {
    instanceOf: NonFiniteError,
  })

  // A second run that diverges replaces the folder, and nothing resumes from it.
  await writeFile(join(error.path as string, 'mark'), '')
  const second = await diverge(outputDir, model, { ...wild, evalSteps: 0 })
  t.is(second.path, error.path)
  t.false((await readdir(error.path as string)).includes('mark'))
  t.deepEqual(
    (await readdir(join(outputDir, 'tiny'))).filter(name => name.includes('tmp')),
    [],
  )
})

test('the folder is bounded: groups that do not fit are counted', async t => {
  const outputDir = await temporaryFolder(t)
  const model = join(outputDir, 'model')
  await saveTinyModel(model)
  await using policy = await Policy.load(model, { device: 'cpu' })
  await using trainer = await Trainer.create(policy)
  // Some 26 bytes of text a token, most of them its log-probability.
  const length = 2 ** 18
  const member = {
    tokens: new Int32Array(length).fill(3),
    promptLength: 1,
    kinds: new Uint8Array(length - 1).fill(1),
    isDemonstration: false,
    reward: 1,
    advantage: 0.5,
    oldLogProbs: new Float32Array(length - 1).fill(-0.1234567),
    teacherProbs: undefined,
    refLogProbs: undefined,
    counted: length - 1,
    supervised: 0,
    inPolicyTerm: true,
    inSftTerm: false,
    weight: 1,
  }
  const groups = new PreparedGroups(
    trainer,
    Array.from({ length: 7 }, () => [member]),
    undefined,
  )
  const failed: FailedStep = { step: 1, prompts: [], groups, updates: [] }
  const run = join(outputDir, 'run')
  await mkdir(run)
  const config = resolveTrainConfig({ model })
  const folder = await writeDiverged(run, failed, new NonFiniteError('x'), {
    config,
    trainer,
    checkpoint: undefined,
  })
  const bytes = (await stat(join(folder, 'groups.jsonl'))).size
  const { report, groups: kept } = await readDiverged(folder)
  t.true(bytes <= mostGroupBytes && bytes > mostGroupBytes / 2, `${bytes}`)
  t.is(report.omittedGroups + kept.length, 7)
  t.true(report.omittedGroups > 0)
  t.is(report.checkpoint, null)
})
