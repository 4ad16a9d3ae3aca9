// What a run needs is looked at before its folder is made: a run that cannot begin leaves nothing behind. Paths and
// names with control characters are shown escaped, links that lead nowhere are named as such.
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import {
  CheckpointError,
  ConfigError,
  ModelFileError,
  opChainsTask,
  Policy,
  TokenizerError,
  train,
} from '../../lib/index.js'
import { runChild } from '../_helpers/child.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { saveTinyModel, tinyRun } from './_tiny-run.js'

const test = ava.serial
const esc = String.fromCharCode(27)

test('a model that cannot be trained leaves no run folder', async t => {
  const folder = await temporaryFolder(t)
  const output = join(folder, 'runs')
  const good = join(folder, 'good')
  await saveTinyModel(good)
  const copy = async (name: string, change: (path: string) => Promise<void>) => {
    const path = join(folder, name)
    await saveTinyModel(path)
    await change(path)
    return path
  }
  const weights = (path: string) => join(path, 'model.safetensors')
  const nan = await copy('nan', async path => {
    const bytes = await readFile(weights(path))
    bytes.writeFloatLE(Number.NaN, bytes.length - 4)
    await writeFile(weights(path), bytes)
  })
  const torn = await copy('torn', async path => {
    await writeFile(weights(path), (await readFile(weights(path))).subarray(0, 5000))
  })
  const small = join(folder, 'small')
  await using policy = await Policy.create({ vocabSize: 9, hiddenSize: 16, heads: 2, layers: 1 })
  await policy.save(small)
  await symlink(join(folder, 'nowhere'), join(folder, 'dangling'))
  await writeFile(join(folder, 'file'), '')

  const cases = [
    [join(folder, 'none'), ModelFileError, /none: no such folder; give the folder/],
    [nan, ModelFileError, /1 of \d+ values are NaN/],
    [torn, ModelFileError, /model\.safetensors/],
    [small, TokenizerError, /the tokenizer's id \d+ \(.+\) is beyond the policy's 9 embedding rows/],
    [join(folder, 'dangling'), ModelFileError, /dangling: is a link to .*nowhere, which is not there/],
    [join(folder, 'file'), ModelFileError, /file: is not a folder/],
  ] as const
  for (const [model, instanceOf, message] of cases) {
    const error = await t.throwsAsync(train(tinyRun(output, model)), { message })
    t.true(error instanceof instanceOf, `${model}: ${error.name}`)
  }
  await t.throwsAsync(train(tinyRun(output, good, { bestBy: 'hadr' })), {
    instanceOf: ConfigError,
    message: /^bestBy: the task op-chains has no set "hadr"; did you mean "hard"\?$/,
  })
  t.deepEqual((await readdir(folder)).sort(), ['dangling', 'file', 'good', 'nan', 'small', 'torn'])
})

test('bestBy is by default the set "hard", else the first of the task', async t => {
  const folder = await temporaryFolder(t)
  const model = join(folder, 'model')
  await saveTinyModel(model)
  const task = opChainsTask({ size: 8, testSize: 2 })
  const own = { ...task, evaluations: [{ name: 'mine', items: task.training.slice(0, 2) }] }
  const saved = async (name: string) => readFile(join(folder, name, 'config.yaml'), 'utf8')
  const run = (runName: string, more: object) =>
    train(tinyRun(folder, model, { runName, maxSteps: 1, evalSteps: 0, ...more }), { task: own })
  await run('a', {})
  t.regex(await saved('a'), /^bestBy: mine$/m)
  t.like(JSON.parse(await readFile(join(folder, 'a/best.json'), 'utf8')), { metric: 'accuracy/mine' })
  await train(tinyRun(folder, model, { runName: 'b', maxSteps: 1, evalSteps: 0 }))
  t.regex(await saved('b'), /^bestBy: hard$/m)
  await t.throwsAsync(run('c', { bestBy: 'hard' }), { message: /no set "hard"; known: mine/ })
})

test('links that lead nowhere are named, in models, checkpoints and run folders', async t => {
  const folder = await temporaryFolder(t)
  const link = join(folder, 'link')
  await symlink(join(folder, 'nowhere'), link)
  const message = /link: is a link to .*nowhere, which is not there/
  await t.throwsAsync(Policy.load(link), { instanceOf: ModelFileError, message })
  const model = join(folder, 'model')
  await saveTinyModel(model)
  await using policy = await Policy.load(model, { device: 'cpu' })
  await t.throwsAsync(policy.save(link), { instanceOf: CheckpointError, message })
  await t.throwsAsync(policy.save(join(folder, 'out'), { tokenizerFrom: link }), {
    instanceOf: ModelFileError,
    message,
  })
  await t.throwsAsync(train(tinyRun(folder, model, { runName: 'link' })), {
    instanceOf: CheckpointError,
    message,
  })
  const inside = join(folder, 'inside')
  await mkdir(inside)
  await symlink(join(folder, 'nowhere'), join(inside, 'config.json'))
  await t.throwsAsync(Policy.load(inside), {
    instanceOf: ModelFileError,
    message: /config\.json: is a link to/,
  })
})

test('control characters of paths and files are escaped in messages, warnings and stacks', async t => {
  const folder = await temporaryFolder(t)
  const evil = `${esc}[31m\u009b2J\u202e`
  const named = join(folder, `m${evil}`)
  const texts: string[] = []
  const messageOf = async (call: Promise<unknown>) => {
    const error = await t.throwsAsync(call)
    texts.push(`${error.message}\n${error.stack}\n${(error.cause as Error | undefined)?.stack ?? ''}`)
  }
  await messageOf(Policy.load(named))
  await saveTinyModel(named)
  const path = join(named, 'config.json')
  const config = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
  const warn = async () => {
    await (await Policy.load(named, { device: 'cpu', onWarning: text => void texts.push(text) })).dispose()
  }
  await writeFile(path, JSON.stringify({ ...config, num_hidden_layers: 1 }))
  await warn()
  for (const changed of [
    { ...config, architectures: [`X${evil}`] },
    { ...config, hidden_act: evil },
    { ...config, [evil]: 1, model_type: evil },
    { ...config, vocab_size: 7 },
  ]) {
    await writeFile(path, JSON.stringify(changed))
    await messageOf(Policy.load(named))
  }
  await writeFile(path, `{"a${evil}": ${evil}`)
  await messageOf(Policy.load(named))
  await messageOf(Policy.load(join(folder, 'x'), { device: evil }))
  t.is(texts.length, 8)
  const controls = /[\p{Cc}\p{Cf}]/u
  for (const text of texts) {
    t.notRegex(text.replaceAll('\n', ''), controls)
    t.true(text.length > 10)
  }
  t.regex(texts[0] ?? '', /m\\u\{1b\}\[31m\\u\{9b\}2J\\u\{202e\}: no such folder/)

  // What Node prints of an error that nobody catches.
  const child = await runChild(new URL('./_load-child.js', import.meta.url), [named])
  t.is(child.code, 1)
  t.regex(child.stderr, /ModelFileError/)
  t.notRegex(child.stderr.replaceAll('\n', ''), controls)
})
