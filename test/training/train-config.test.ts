// The configuration of a run: every default, every mistake by name, all of them at once.
import test from 'ava'
import { ConfigError } from '../../lib/index.js'
import { resolveTrainConfig, trainConfigOptions, trainConfigSchema } from '../../lib/training/train-config.js'

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

test('each mistake says what is expected and what came, in words', t => {
  const cases: [object, string][] = [
    [{ learningRate: -1 }, 'learningRate: expected a number from 0, got -1'],
    [{ maxSteps: 2.5 }, 'maxSteps: expected an integer from 0, got 2.5'],
    [{ maxSteps: 'many' }, 'maxSteps: expected an integer from 0, got "many"'],
    [{ temperature: 0 }, 'temperature: expected a number above 0, got 0'],
    [{ topP: 2 }, 'topP: expected a number above 0 to 1, got 2'],
    [{ threads: 1000 }, 'threads: expected an integer from 1 to 256, got 1000'],
    [{ method: 'lufy' }, 'method: expected one of METHODS, got "lufy", did you mean "luffy"?'],
    [{ resume: 'never ever' }, 'resume: expected one of "auto", "never", got "never ever"'],
    [{ adamBetas: [0.9] }, 'adamBetas: expected a list of 2, each a number from 0 to 1, got an array of 1'],
    [{ adamBetas: [0.9, 2] }, 'adamBetas.1: expected a number from 0 to 1, got 2'],
    [
      { maskTruncated: 'yes' },
      'maskTruncated: expected true or false or one of "advantage", "member", got "yes"',
    ],
    [{ logCompletions: 'yes' }, 'logCompletions: expected true or false, got "yes"'],
    [{ model: 7 }, 'model: expected a text, got 7'],
    [{ model: () => 7 }, 'model: expected a text, got a function'],
    [{ model: undefined }, 'model: is missing, expected a text'],
    [{ runName: 'a/b' }, 'runName: expected one path component, got "a/b"'],
    [
      { objective: { clip: { low: 2, high: 1 } } },
      'objective.clip.low: expected a number from 0 to 1, got 2',
    ],
    [{ objective: { clip: { low: 1 } } }, 'objective.clip.high: is missing, expected a number from 0'],
    [{ objective: { clip: 3 } }, 'objective.clip: expected false or options (low, high), got 3'],
    [
      { objective: { shaping: { kind: 'cubic' } } },
      'objective.shaping.kind: expected one of "none", "regularized", "sqrt", "power", got "cubic"',
    ],
    [
      { objective: 3 },
      'objective: expected options (clip, dualClip, logRatioClamp, shaping, offPolicyCap, supervisedWeight, reduction, sftReduction, policyCoef, sftCoef, entropyCoef), got 3',
    ],
    [
      { task: { name: 'mytask' } },
      'task.name: expected "op-chains", got "mytask"; a task of your own goes to train(config, { task })',
    ],
    [{ data: { train: [] } }, 'data.train: expected a text or a list, each a text, got an array of 0'],
    [{ device: 'gpu' }, 'device: unknown device "gpu"; did you mean "cuda"?'],
  ]
  const methodNames = trainConfigSchema() as { properties: { method: { enum: string[] } } }
  const names = methodNames.properties.method.enum.map(name => `"${name}"`).join(', ')
  for (const [change, expected] of cases) {
    t.deepEqual(mistakesOf({ model: 'm', ...change }), [expected.replace('METHODS', names)])
  }
  t.regex(mistakesOf(3)[0] ?? '', /^the configuration: expected options \(model, .*\), got 3$/)
})

test('all mistakes come at once, those between options as well', t => {
  t.deepEqual(mistakesOf({ model: 'm', maxSteps: 2.5, promptsPerUpdate: 7 }), [
    'maxSteps: expected an integer from 0, got 2.5',
    'promptsPerUpdate: expected a divisor of promptsPerStep (16), got 7',
  ])
  // What is wrong by itself is not held against others too.
  t.deepEqual(mistakesOf({ promptsPerStep: 'x', promptsPerUpdate: 7, sise: 1, device: 'gpu' }), [
    'model: is missing, expected a text',
    'promptsPerStep: expected an integer from 1, got "x"',
    'unknown option "sise"',
    'device: unknown device "gpu"; did you mean "cuda"?',
  ])
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
