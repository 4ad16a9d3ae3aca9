import { appendFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { parse } from 'yaml'
import { JsonLines } from '../../lib/training/json-lines.js'
import {
  configChanges,
  freeRunName,
  RunFolder,
  type RunFolderOptions,
} from '../../lib/training/run-folder.js'
import { processStart, RunLock } from '../../lib/training/run-lock.js'
import { type RunningChild, startChild } from '../_helpers/child.js'
import { temporaryFolder } from '../_helpers/folders.js'

const LOCK_CHILD = new URL('./_lock-child.js', import.meta.url)

/** A process that holds the lock of a folder. */
async function lockHolder(folder: string): Promise<RunningChild> {
  const child = startChild(LOCK_CHILD, [folder])
  await child.line('ready')
  child.process.stdin?.write('go\n')
  await child.line('held')
  return child
}

async function optionsFor(
  t: ExecutionContext,
  changes: Partial<RunFolderOptions> = {},
): Promise<RunFolderOptions> {
  return {
    outputDir: await temporaryFolder(t),
    name: 'a',
    config: { seed: 0, optimizer: { learningRate: 1e-4, betas: [0.9, 0.95] }, name: 'yes' },
    info: { seed: 0, device: 'cpu' },
    resume: 'auto',
    ...changes,
  }
}

async function lines(path: string): Promise<unknown[]> {
  const text = await readFile(path, 'utf8')
  return text
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line))
}

test('a new run folder holds its configuration, facts and logs', async t => {
  const options = await optionsFor(t)
  const run = await RunFolder.open(options)
  t.false(run.resumed)
  t.deepEqual(run.notices, [])
  await run.startAt({ step: 0, metricsBytes: 0 })
  await run.appendMetrics({ step: 1, reward: 0.5, entropy: Number.NaN })
  await run.writeCompletions(1, [
    {
      prompt: '12r=',
      completion: '<>21$',
      reward: 1,
      group: 0,
      source: 'on',
      advantage: Number.NaN,
      finishReason: 'stop',
      tokens: [1, 2],
    },
  ])
  const bytes = await run.syncMetrics()
  await run.close()

  t.deepEqual(parse(await readFile(join(run.path, 'config.yaml'), 'utf8')), options.config)
  const info = JSON.parse(await readFile(join(run.path, 'run.json'), 'utf8'))
  t.is(info.name, 'a')
  t.is(info.device, 'cpu')
  t.is(info.node, process.version)
  t.deepEqual(await lines(join(run.path, 'metrics.jsonl')), [{ step: 1, reward: 0.5, entropy: null }])
  t.is((await readFile(join(run.path, 'metrics.jsonl'))).length, bytes)
  t.deepEqual(await lines(join(run.path, 'completions', 'completions_00001.jsonl')), [
    {
      step: 1,
      prompt: '12r=',
      completion: '<>21$',
      reward: 1,
      group: 0,
      source: 'on',
      advantage: null,
      finish_reason: 'stop',
      token_ids: [1, 2],
    },
  ])
  t.deepEqual((await readdir(run.path)).sort(), ['completions', 'config.yaml', 'metrics.jsonl', 'run.json'])
})

test('a resumed run cuts the log to the length of its checkpoint and drops later completions', async t => {
  const options = await optionsFor(t)
  const first = await RunFolder.open(options)
  await first.startAt({ step: 0, metricsBytes: 0 })
  let metricsBytes = 0
  for (let step = 1; step <= 4; step++) {
    await first.appendMetrics({ step })
    await first.writeCompletions(step, [])
    if (step === 2) metricsBytes = await first.syncMetrics()
  }
  await first.close()

  const second = await RunFolder.open(options)
  t.true(second.resumed)
  await second.startAt({ step: 2, metricsBytes })
  t.regex(second.notices.join('\n'), /metrics\.jsonl: cut \d+ bytes written after the last checkpoint/)
  await second.appendMetrics({ step: 3 })
  await second.close()
  t.deepEqual(await lines(join(second.path, 'metrics.jsonl')), [{ step: 1 }, { step: 2 }, { step: 3 }])
  t.deepEqual((await readdir(join(second.path, 'completions'))).sort(), [
    'completions_00001.jsonl',
    'completions_00002.jsonl',
  ])
  const info = JSON.parse(await readFile(join(second.path, 'run.json'), 'utf8'))
  t.is(info.resumes.length, 1)
})

test('a changed option is refused by name; an allowed one is kept in run.json', async t => {
  const options = await optionsFor(t)
  await (await RunFolder.open(options)).close()
  const config = { ...options.config, optimizer: { learningRate: 3e-4, betas: [0.9, 0.95] }, maxSteps: 200 }
  const error = await t.throwsAsync(RunFolder.open({ ...options, config, allowChanged: ['maxSteps'] }))
  t.is(error?.name, 'CheckpointError')
  t.regex(error?.message ?? '', /optimizer\.learningRate was 0\.0001, is 0\.0003/)
  t.notRegex(error?.message ?? '', /maxSteps/)

  // A name is a whole one.
  await t.throwsAsync(RunFolder.open({ ...options, config, allowChanged: ['maxSteps', 'opti'] }), {
    message: /optimizer\.learningRate/,
  })
  const run = await RunFolder.open({ ...options, config, allowChanged: ['maxSteps', 'optimizer'] })
  t.is(run.notices.length, 2)
  await run.close()
  const info = JSON.parse(await readFile(join(run.path, 'run.json'), 'utf8'))
  t.deepEqual(
    info.resumes[0].changes.map((change: { option: string }) => change.option),
    ['maxSteps', 'optimizer.learningRate'],
  )
  t.deepEqual(parse(await readFile(join(run.path, 'config.yaml'), 'utf8')), config)
})

test('a run that is there is refused where resuming is off, and free names avoid it', async t => {
  const options = await optionsFor(t, { resume: 'never' })
  await (await RunFolder.open(options)).close()
  const error = await t.throwsAsync(RunFolder.open(options))
  t.regex(error?.message ?? '', /there is a run of this name/)
  t.is(await freeRunName(options.outputDir, 'a'), 'a-2')
  await mkdir(join(options.outputDir, 'a-2'))
  t.is(await freeRunName(options.outputDir, 'a'), 'a-3')
  t.is(await freeRunName(join(options.outputDir, 'missing'), 'a'), 'a')
  // The refusal gave the lock back.
  await (await RunFolder.open({ ...options, resume: 'auto' })).close()
})

test('names that leave the folder are refused', async t => {
  for (const name of ['', '.', '..', 'a/b', '../a', 'a\\b', 'a\0b']) {
    const options = await optionsFor(t, { name })
    await t.throwsAsync(
      RunFolder.open(options),
      { instanceOf: RangeError, message: /^name: / },
      JSON.stringify(name),
    )
  }
})

test('a disk that refuses is a CheckpointError with its code', async t => {
  const options = await optionsFor(t)
  await writeFile(join(options.outputDir, 'file'), '')
  const error = await t.throwsAsync(
    RunFolder.open({ ...options, outputDir: join(options.outputDir, 'file') }),
  )
  t.is(error?.name, 'CheckpointError')
  t.regex(error?.message ?? '', /ENOTDIR/)
})

test('configurations are compared option by option', t => {
  t.deepEqual(configChanges({ a: 1, b: { c: [1, 2] } }, { a: 1, b: { c: [1, 2] } }), [])
  t.deepEqual(configChanges({ a: 1, b: { c: [1, 2], d: 1 } }, { b: { c: [2], d: 1 }, e: null }), [
    { option: 'a', from: 1, to: undefined },
    { option: 'b.c', from: [1, 2], to: [2] },
    { option: 'e', from: undefined, to: null },
  ])
})

test('a torn last line is cut, a shorter file is kept and said, lines keep their order', async t => {
  const path = join(await temporaryFolder(t), 'log.jsonl')
  const first = await JsonLines.open(path)
  await Promise.all([1, 2, 3].map(step => first.append({ step })))
  t.is(first.byteLength, 3 * '{"step":1}\n'.length)
  await first.close()
  await appendFile(path, '{"step":4')
  const second = await JsonLines.open(path)
  t.regex(second.notice ?? '', /cut 9 bytes/)
  await second.append({ step: 5 })
  await second.close()
  t.deepEqual(await lines(path), [{ step: 1 }, { step: 2 }, { step: 3 }, { step: 5 }])
  const third = await JsonLines.open(path, 1000)
  t.regex(third.notice ?? '', /956 of 1000 bytes recorded by the checkpoint are missing/)
  await third.close()
  // A length that falls into a line keeps the lines before it.
  const fourth = await JsonLines.open(path, 30)
  t.is(fourth.byteLength, 22)
  await fourth.close()
})

const onLinux = process.platform === 'linux' ? test : test.skip

onLinux('a full disk is a CheckpointError with ENOSPC', async t => {
  const log = await JsonLines.open('/dev/full')
  const error = await t.throwsAsync(log.append({ step: 1 }))
  t.is(error?.name, 'CheckpointError')
  t.regex(error?.message ?? '', /ENOSPC/)
  t.is(log.byteLength, 0)
  await log.close()
})

test('two processes cannot write to one run; the lock of a killed one is taken over', async t => {
  const folder = await temporaryFolder(t)
  const holder = await lockHolder(folder)
  const error = await t.throwsAsync(RunLock.acquire(folder))
  t.is(error?.name, 'CheckpointError')
  t.regex(error?.message ?? '', new RegExp(`run locked by pid ${holder.process.pid} .* since \\d{4}-`))

  holder.process.kill('SIGKILL')
  await holder.ended
  const lock = await RunLock.acquire(folder)
  t.regex(lock.notice ?? '', new RegExp(`took over the lock of pid ${holder.process.pid} `))
  lock.assertHeld()
  await t.throwsAsync(RunLock.acquire(folder), { message: new RegExp(`run locked by pid ${process.pid} `) })
  lock.release()
  t.deepEqual(await readdir(folder), [])
  t.throws(() => lock.assertHeld(), { message: /nobody holds it/ })
})

test('of many processes that want a lock at once, one gets it, whether it is free or stale', async t => {
  for (const stale of [false, true, true]) {
    const folder = await temporaryFolder(t)
    if (stale) {
      const dead = await lockHolder(folder)
      dead.process.kill('SIGKILL')
      await dead.ended
    }
    const children = Array.from({ length: 8 }, () => startChild(LOCK_CHILD, [folder]))
    await Promise.all(children.map(child => child.line('ready')))
    for (const child of children) child.process.stdin?.write('go\n')
    const outcomes = await Promise.all(
      children.map(child => Promise.race([child.line('held'), child.line('refused')])),
    )
    for (const child of children) child.process.stdin?.end()
    const results = await Promise.all(children.map(child => child.ended))
    t.is(outcomes.filter(outcome => outcome.startsWith('held')).length, 1, outcomes.join('\n'))
    // The one that held it still held it at its end.
    t.true(results.every(result => !(result.stdout.includes('held') && result.stdout.includes('refused'))))
    t.deepEqual(await readdir(folder), [])
  }
})

test('a lock is stale when its number belongs to another process now, or to a boot before this one', async t => {
  const started = processStart(process.pid)
  const folder = await temporaryFolder(t)
  const own = await RunLock.acquire(folder)
  const holder = JSON.parse(await readFile(join(folder, 'lock'), 'utf8'))
  own.release()
  t.is(holder.started, started)
  t.is(holder.host, hostname())
  const cases: [Record<string, unknown>, boolean][] = [
    [{}, false],
    [{ started: '1' }, true],
    [{ pid: 2 ** 22 + 1 }, true],
    [{ boot: 'another boot' }, true],
    [{ boot: 'another boot', host: 'another machine' }, false],
  ]
  for (const [change, isStale] of cases) {
    await writeFile(join(folder, 'lock'), JSON.stringify({ ...holder, ...change }))
    if (isStale) {
      const lock = await RunLock.acquire(folder)
      t.regex(lock.notice ?? '', /took over/)
      lock.release()
    } else
      await t.throwsAsync(RunLock.acquire(folder), { message: /run locked by pid/ }, JSON.stringify(change))
  }
})

test('a lock that cannot be read is refused, and one that was taken away is noticed', async t => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'lock'), '{"pid":')
  await t.throwsAsync(RunLock.acquire(folder), {
    message: /cannot be read; delete it if no other process trains/,
  })
  await writeFile(join(folder, 'lock'), '')
  await t.throwsAsync(RunLock.acquire(folder), { message: /cannot be read/ })

  const other = await temporaryFolder(t)
  const lock = await RunLock.acquire(other)
  const holder = JSON.parse(await readFile(join(other, 'lock'), 'utf8'))
  await writeFile(join(other, 'lock'), JSON.stringify({ ...holder, id: 'somebody else' }))
  t.throws(() => lock.assertHeld(), { message: /was taken away; pid \d+ holds it/ })
  lock.release()
  t.deepEqual(await readdir(other), ['lock'])
})

test('a takeover that was interrupted does not block the next one', async t => {
  const folder = await temporaryFolder(t)
  const own = await RunLock.acquire(folder)
  const holder = JSON.parse(await readFile(join(folder, 'lock'), 'utf8'))
  own.release()
  const dead = JSON.stringify({ ...holder, started: '1' })
  await writeFile(join(folder, 'lock'), dead)
  await writeFile(join(folder, 'lock.takeover'), dead)
  const lock = await RunLock.acquire(folder)
  lock.release()
  t.deepEqual(await readdir(folder), [])
})
