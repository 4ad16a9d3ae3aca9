// The configuration of a run: every default, every mistake by name, all of them at once.
import test from 'ava'
import { ConfigError } from '../../lib/index.js'
import { resolveTrainConfig, trainConfigOptions } from '../../lib/training/train-config.js'

function mistakesOf(config: unknown): string[] {
  try {
    resolveTrainConfig(config)
  } catch (error) {
    if (ConfigError.isInstance(error)) return error.details?.mistakes as string[]
    throw error
  }
  return []
}

test('a model is all that must be given', t => {
  const config = resolveTrainConfig({ model: 'm' })
  t.like(config, {
    method: 'luffy',
    promptsPerStep: 16,
    promptsPerUpdate: 8,
    numGenerations: 8,
    temperature: 1,
  })
  t.like(config.task, { name: 'op-chains', hard: true })
  t.deepEqual(resolveTrainConfig(JSON.parse(JSON.stringify(config))), config)
})

test('unknown names come with the nearest, at any depth', t => {
  t.deepEqual(
    mistakesOf({ model: 'm', learningrate: 1, objective: { entropycoef: 1 }, task: { sise: 3 } }).sort(),
    [
      'unknown option "learningrate", did you mean "learningRate"?',
      'unknown option "objective.entropycoef", did you mean "entropyCoef"?',
      'unknown option "task.sise", did you mean "size"?',
    ],
  )
  t.deepEqual(mistakesOf({ model: 'm', zzzzzzzzz: 1 }), ['unknown option "zzzzzzzzz"'])
})

test('wrong values are named, all in one error', t => {
  const mistakes = mistakesOf({
    method: 'lufy',
    promptsPerStep: 0,
    temperature: 0,
    topP: 1.5,
    adamBetas: [0.9],
    objective: { shaping: { kind: 'cubic' } },
    seed: 1.5,
    threads: 1000,
    resume: 'maybe',
  })
  for (const name of [
    'model',
    'method',
    'promptsPerStep',
    'temperature',
    'topP',
    'adamBetas',
    'objective.shaping.kind',
    'seed',
    'threads',
    'resume',
  ]) {
    t.true(
      mistakes.some(mistake => mistake.startsWith(name)),
      `${name}: ${mistakes.join('; ')}`,
    )
  }
  for (const config of [null, undefined, 3, 'model: m', []]) t.true(mistakesOf(config).length > 0)
})

test('options that do not suit each other', t => {
  t.regex(
    mistakesOf({ model: 'm', promptsPerStep: 10, promptsPerUpdate: 4 })[0] ?? '',
    /promptsPerUpdate.*10.*4/,
  )
  t.deepEqual(mistakesOf({ model: 'm', numGenerations: 1 }), [])
})

test('every option is listed, groups before their members', t => {
  const names = trainConfigOptions().map(({ name }) => name)
  t.is(new Set(names).size, names.length)
  for (const name of Object.keys(resolveTrainConfig({ model: 'm' }))) t.true(names.includes(name), name)
  t.true(names.indexOf('objective') < names.indexOf('objective.shaping'))
})
