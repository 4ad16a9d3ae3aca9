// Configuration files: what is read, what is refused, and how overrides become values.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { applyOverride, loadTrainConfig, parseConfig } from '../../lib/cli/run-config.js'
import { ConfigError } from '../../lib/index.js'
import { packageRoot } from '../../lib/native-loader.js'
import { temporaryFolder } from '../_helpers/folders.js'

test('YAML and JSON are read alike', t => {
  const expected = { model: 'a', objective: { clip: false }, adamBetas: [0.9, 1] }
  t.deepEqual(parseConfig('model: a\nobjective: { clip: false }\nadamBetas: [0.9, 1]\n', 'f'), expected)
  t.deepEqual(parseConfig(JSON.stringify(expected, null, '\t'), 'f'), expected)
})

const refused: [string, RegExp][] = [
  ['', /^f: is empty, expected options$/],
  ['- a\n', /^f: expected names and values, got \["a"\]$/],
  ['model: a\nmodel: b\n', /^f:2:1: the name "model" is given twice/],
  ['model: {a: 1\nb: 2\n', /^f:2:1: a { before this place is not closed; close it, or indent this line$/],
  ['model: [a, b\nc: 2\n', /^f:2:1: a \[ before this place is not closed/],
  ['model: [a, b', /^f:1:13: a \[ before this place is not closed/],
  ['model: {a: "b', /^f:1:14: a text in " is not closed$/],
  ['model: "a\\q"\n', /^f:1:10: an unknown escape after a backslash; use single quotes/],
  ['a: 1\n\tb: 2\n', /^f:2:1: a tab as indentation; use spaces$/],
  ['model: @a\n', /^f:1:8: a value cannot begin with "@"; put it in quotes$/],
  ['model: a: b\n', /^f:1:8: a name with ": " twice in its line/],
  ['a: 1\n  b: 2\n', /^f:1:4: a name with ": " twice in its line, or over several lines/],
  ['a:\n    b: 1\n  c: 2\n', /^f:3:1: this line stands neither under the one before nor beside it/],
  ['a: *x\n', /^f:1:4: aliases \(\*.*\) are not allowed/],
  ['a: 1\n}\n', /^f:2:1: "}" is not expected here; expected name: value$/],
  ['a: 1\n- b\n', /^f:2:1: an item of a list beside names and values/],
  ['a: 1\nb', /^f:2:1: expected name: value, got "b"$/],
  ['model: [a\n', /^f:\d+:\d+: /],
  ['model: !!js/function a\n', /^f:1:8: .*tag/],
  ['a: &x 1\nb: *x\n', /^f:2:4: aliases \(\*x\) are not allowed; write the value out/],
  ['__proto__: { polluted: 1 }\n', /the name "__proto__" is not allowed/],
  ['objective: { constructor: 1 }\n', /f: objective: the name "constructor" is not allowed/],
  ['{"__proto__": {"polluted": 1}}', /the name "__proto__" is not allowed/],
  ['1: a\n', /the name 1 is not allowed/],
  ['a: 1\n---\nb: 1\n', /^f:\d+:\d+: /],
]

for (const [text, message] of refused) {
  test(`refused: ${JSON.stringify(text)}`, t => {
    t.throws(() => parseConfig(text, 'f'), { instanceOf: ConfigError, message })
    t.is(({} as { polluted?: number }).polluted, undefined)
  })
}

test('an override is typed by the option it sets', t => {
  const config: Record<string, unknown> = { objective: { entropyCoef: 1 } }
  for (const override of [
    'runName=7',
    'device=true',
    'maxSteps=7',
    'learningRate=1e-4',
    'objective.clip=false',
    'objective.shaping.kind=sqrt',
    'adamBetas=[0.8, 0.9]',
    'logCompletions=false',
  ]) {
    applyOverride(config, override)
  }
  t.deepEqual(config, {
    runName: '7',
    device: 'true',
    maxSteps: 7,
    learningRate: 1e-4,
    objective: { entropyCoef: 1, clip: false, shaping: { kind: 'sqrt' } },
    adamBetas: [0.8, 0.9],
    logCompletions: false,
  })
})

test('overrides that cannot be meant are refused', t => {
  for (const override of ['', '=1', 'a', 'a..b=1', '.a=1', '__proto__.x=1', 'constructor=1', 'model.x=1']) {
    t.throws(() => applyOverride({ model: 'a' }, override), { instanceOf: ConfigError }, override)
  }
  t.throws(() => applyOverride({}, 'adamBetas={__proto__: 1}'), { instanceOf: ConfigError })
  t.throws(() => applyOverride({}, 'adamBetas=[1'), {
    instanceOf: ConfigError,
    message: /--set adamBetas=\[1: expected ] before the end$/,
  })
})

test('every mistake is named, with the file and the nearest option', async t => {
  const file = join(await temporaryFolder(t), 'c.yaml')
  await writeFile(file, 'model: a\nlerning_rate: 1\nmaxSteps: many\n')
  const error = await t.throwsAsync(loadTrainConfig(file, ['topP=2']), { instanceOf: ConfigError })
  t.true(error?.message.startsWith(`${file}: `))
  t.regex(error?.message ?? '', /unknown option "lerning_rate", did you mean "learningRate"\?/)
  t.regex(error?.message ?? '', /maxSteps: /)
  t.regex(error?.message ?? '', /; --set topP=2: /)
})

test('a mistake is blamed on what it came from', async t => {
  const file = join(await temporaryFolder(t), 'c.yaml')
  await writeFile(file, 'model: a\nmaxSteps: many\n')
  const messageOf = async (...overrides: string[]) =>
    (await t.throwsAsync(loadTrainConfig(file, overrides), { instanceOf: ConfigError }))?.message
  const inFile = `${file}: maxSteps: expected an integer from 0, got "many"`
  t.is(await messageOf(), inFile)
  t.is(await messageOf('topP=2'), `${inFile}; --set topP=2: expected a number above 0 to 1, got 2`)
  t.is(
    await messageOf('maxSteps=2.5', 'lerningRate=1', 'promptsPerUpdate=7'),
    '--set maxSteps=2.5: expected an integer from 0, got 2.5; ' +
      '--set lerningRate=1: unknown option "lerningRate", did you mean "learningRate"?; ' +
      '--set promptsPerUpdate=7: expected a divisor of promptsPerStep (16), got 7',
  )
  t.is(
    await messageOf('maxSteps=1', 'objective.gamma=0.2'),
    '--set objective.gamma=0.2: unknown option "objective.gamma", did you mean "objective.shaping.gamma"?',
  )
  t.is(
    await messageOf('maxSteps=1', 'train=a.jsonl'),
    '--set train=a.jsonl: unknown option "train", did you mean "data.train"?',
  )
  // Under another tool's name too, and for a member of what was set.
  t.is(
    await messageOf('learning_rate=-1'),
    `${inFile}; --set learning_rate=-1: expected a number from 0, got -1`,
  )
  t.is(
    await messageOf('maxSteps=1', 'objective.clip={low: 3}')?.then(text => text?.slice(0, 45)),
    '--set objective.clip={low: 3}: objective.clip',
  )
})

test('the example configuration is valid', async t => {
  const { config } = await loadTrainConfig(join(packageRoot, 'examples/luffy-op-chains.yaml'))
  t.is(config.method, 'luffy')
  t.is(config.objective.entropyCoef, 0.003)
})
