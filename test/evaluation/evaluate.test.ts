// An evaluation of a tiny policy: every number from the samples to the report, stopping and going on, what is refused.
import { appendFile, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import { PromptFormat } from '../../lib/data/prompt-format.js'
import { readEvaluationData } from '../../lib/evaluation/evaluation-data.js'
import { checkpointIdentity, type SampleRecord } from '../../lib/evaluation/sample-log.js'
import { suites } from '../../lib/evaluation/suites.js'
import {
  AbortedError,
  CheckpointError,
  ConfigError,
  DataError,
  type EvaluateOptions,
  evaluate,
  opChainsTask,
  Policy,
  verifyAnswer,
} from '../../lib/index.js'
import { packageRoot } from '../../lib/native-loader.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { saveTinyModel } from '../training/_tiny-run.js'

// Serial: each policy has as many threads as there are cores.
const test = ava.serial

const { tokenizer } = opChainsTask()
const authors = ['math', 'arc-challenge'].map(name =>
  join(packageRoot, `test/data/${name}-validation.parquet`),
)

type Line = SampleRecord & { answer: string; prompt: string; completion: string }

async function linesOf(folder: string): Promise<Line[]> {
  const text = await readFile(join(folder, 'samples.jsonl'), 'utf8')
  return text
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Line)
}

/** Samples by name, without the time they took. */
function named(lines: readonly Line[]) {
  const rest = lines.map(({ seconds, ...line }) => line)
  return rest.toSorted((a, b) => (a.key === b.key ? a.sample - b.sample : a.key < b.key ? -1 : 1))
}

interface Place {
  root: string
  policy: Policy
  options(name: string, more?: Partial<EvaluateOptions>): EvaluateOptions & { folder: string }
}

/** A policy of digits and letters, and rows whose answers are digits, so that some of what it writes is right. */
async function place(t: ExecutionContext): Promise<Place> {
  const root = await temporaryFolder(t)
  await saveTinyModel(join(root, 'model'))
  const policy = await Policy.load(join(root, 'model'), { device: 'cpu' })
  t.teardown(() => policy.dispose())
  const row = (source: string, i: number) => ({
    prompt: [{ role: 'user', content: `${i}${i}r=` }],
    reward_model: { ground_truth: String(i % 10) },
    data_source: source,
  })
  const rows = [
    ...[1, 2, 3, 4, 1, 1].map(i => row('aime', i)),
    ...[5, 6, 7].map(i => row('minerva', i)),
    row('other', 1),
  ]
  await writeFile(join(root, 'rows.jsonl'), rows.map(each => JSON.stringify(each)).join('\n'))
  return {
    root,
    policy,
    options: (name, more = {}) => ({
      suite: 'math',
      data: join(root, 'rows.jsonl'),
      folder: join(root, name),
      template: 'none',
      temperature: 1,
      maxTokens: 12,
      seed: 3,
      ...more,
    }),
  }
}

test('every number of the report follows from the samples', async t => {
  const { policy, options } = await place(t)
  const given = options('all')
  const report = await evaluate(policy, given)
  const lines = await linesOf(given.folder)
  t.is(lines.length, 4 * 32 + 3)
  for (const line of lines) {
    const { correct, reason } = verifyAnswer(line.answer, line.completion)
    t.deepEqual([line.correct, line.reason], [correct, reason])
    t.is(line.finishReason === 'length', line.tokens === 12 && !line.completion.includes('$'))
    t.is(line.tokens, tokenizer.encode(line.completion).length + (line.finishReason === 'stop' ? 1 : 0))
  }
  t.true(
    lines.some(({ correct }) => correct) && lines.some(({ correct }) => !correct),
    'all samples are alike',
  )
  t.true(
    lines.some(line => line.finishReason === 'stop') && lines.some(line => line.finishReason === 'length'),
  )

  t.deepEqual(
    report.benchmarks.map(({ name }) => name),
    ['aime24', 'minerva'],
  )
  const [aime, minerva] = report.benchmarks
  const own = lines.filter(({ benchmark }) => benchmark === 'aime24')
  const shares = [1, 2, 3, 4].map(i => {
    const samples = own.filter(({ prompt }) => prompt === `${i}${i}r=`)
    t.deepEqual(
      samples.map(({ sample }) => sample).toSorted((a, b) => a - b),
      Array.from({ length: 32 }, (_, s) => s),
    )
    return samples.filter(({ correct }) => correct).length / 32
  })
  const mean = shares.reduce((a, b) => a + b) / 4
  const variance = shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / 3
  const near = (actual: number | undefined, expected: number) =>
    t.true(
      Math.abs((actual ?? Number.NaN) - expected) <= 1e-12 * Math.max(1, Math.abs(expected)),
      `${actual} ${expected}`,
    )
  near(aime?.mean, mean)
  near(aime?.standardError, Math.sqrt(variance / 4))
  near(aime?.passAtK['1'], mean)
  near(aime?.passAtK['32'], shares.filter(share => share > 0).length / 4)
  // One of two samples is right: by all pairs.
  const pairs = shares.map(share => {
    const wrong = 32 - 32 * share
    return 1 - (wrong * (wrong - 1)) / (32 * 31)
  })
  near(aime?.passAtK['2'], pairs.reduce((a, b) => a + b) / 4)
  near(aime?.truncated, own.filter(line => line.finishReason === 'length').length / 128)
  const tokens = own.reduce((sum, line) => sum + line.tokens, 0)
  near(aime?.meanTokens, tokens / 128)
  near(aime?.tokensPerSecond, tokens / own.reduce((sum, line) => sum + line.seconds, 0))
  t.deepEqual(aime?.rows, { repeated: 2 })
  t.like(minerva, { prompts: 3, samplesPerPrompt: 1 })
  near(report.average.mean, (mean + (minerva?.mean ?? 0)) / 2)
  near(
    report.average.standardError,
    Math.sqrt((aime?.standardError ?? 0) ** 2 + (minerva?.standardError ?? 0) ** 2) / 2,
  )
  t.deepEqual(report.notices, [
    'not in the data: AIME 25, AMC, MATH-500, OlympiadBench',
    '1 rows are of other sources',
  ])
  t.deepEqual(JSON.parse(await readFile(join(given.folder, 'results.json'), 'utf8')), report)
})

test('an evaluation that was stopped goes on, repeats nothing, and ends with the same samples', async t => {
  const { policy, options } = await place(t)
  const whole = options('whole')
  const expected = await evaluate(policy, whole)
  // As a crash leaves it: some samples of a prompt, and a line that was torn.
  const parts = options('parts')
  await mkdir(parts.folder)
  await copyFile(join(whole.folder, 'settings.json'), join(parts.folder, 'settings.json'))
  const written = (await readFile(join(whole.folder, 'samples.jsonl'), 'utf8')).split('\n').slice(0, 45)
  await writeFile(
    join(parts.folder, 'samples.jsonl'),
    `${written.join('\n')}\n{"benchmark":"aime24","key":"0`,
  )
  const first = written.map(line => JSON.parse(line) as Line)
  const counts = [...new Set(first.map(({ key }) => key))].map(
    key => first.filter(line => line.key === key).length,
  )
  t.true(
    counts.some(count => count < 32),
    'no prompt is done in part',
  )
  const progress: number[] = []
  const report = await evaluate(policy, { ...parts, onProgress: at => progress.push(at.done) })
  const lines = await linesOf(parts.folder)
  t.is(report.resumedSamples, 45)
  t.deepEqual(
    progress,
    Array.from({ length: 131 - 45 }, (_, i) => 46 + i),
  )
  t.deepEqual(named(lines), named(await linesOf(whole.folder)))
  const plain = ({ benchmarks, average }: typeof report) => ({
    average,
    benchmarks: benchmarks.map(({ tokensPerSecond, ...rest }) => rest),
  })
  t.deepEqual(plain(report), plain(expected))
  // Nothing is left: a third call draws no sample.
  const again = await evaluate(policy, parts)
  t.is(again.resumedSamples, 131)
  t.is((await linesOf(parts.folder)).length, 131)
  t.deepEqual(again.benchmarks, report.benchmarks)
  // A part of the prompts draws what all of them draw.
  const few = options('few', { limit: 1, samplesPerPrompt: 2 })
  await evaluate(policy, few)
  const names = new Set(named(lines).map(line => JSON.stringify(line)))
  const drawn = named(await linesOf(few.folder))
  t.is(drawn.length, 4)
  const common = drawn.filter(({ benchmark, sample }) => benchmark === 'aime24' || sample === 0)
  t.is(common.length, 3)
  t.true(common.every(line => names.has(JSON.stringify(line))))
})

test('a checkpoint is known by its weights and its configuration, not by its optimizer', async t => {
  const folder = await temporaryFolder(t)
  await saveTinyModel(folder)
  const identity = await checkpointIdentity(folder)
  await copyFile(join(folder, 'model.safetensors'), join(folder, 'optimizer.safetensors'))
  t.is(await checkpointIdentity(folder), identity)
  await appendFile(join(folder, 'config.json'), ' ')
  t.not(await checkpointIdentity(folder), identity)
})

test('a signal ends an evaluation, and what is finished is kept', async t => {
  const { policy, options } = await place(t)
  const parts = options('parts')
  const stop = new AbortController()
  let seen = 0
  const stopped = evaluate(policy, {
    ...parts,
    signal: stop.signal,
    onProgress: () => {
      seen += 1
      if (seen === 9) stop.abort()
    },
  })
  await t.throwsAsync(stopped, { instanceOf: AbortedError })
  const kept = (await linesOf(parts.folder)).length
  t.true(kept >= 9 && kept < 131, `${kept}`)
  t.is((await evaluate(policy, parts)).resumedSamples, kept)
  t.is((await linesOf(parts.folder)).length, 131)
})

test('what cannot be evaluated is named', async t => {
  const { root, policy, options } = await place(t)
  const few = { limit: 1, samplesPerPrompt: 1 }
  await evaluate(policy, options('one', few))
  await t.throwsAsync(evaluate(policy, options('one', { ...few, temperature: 0.5, seed: 4 })), {
    instanceOf: CheckpointError,
    message:
      /other settings: temperature was 1, is 0\.5; seed was 3, is 4; evaluate into another folder \(--out\), or with/,
  })
  await using other = await Policy.create(
    {
      vocabSize: tokenizer.vocabSize,
      hiddenSize: 16,
      intermediateSize: 16,
      layers: 1,
      heads: 1,
      maxPositions: 64,
    },
    { device: 'cpu' },
  )
  await t.throwsAsync(evaluate(other, options('other')), {
    instanceOf: ConfigError,
    message: /loaded from a folder/,
  })
  await other.save(join(root, 'model2'))
  await tokenizer.save(join(root, 'model2'))
  await using second = await Policy.load(join(root, 'model2'), { device: 'cpu' })
  await t.throwsAsync(evaluate(second, options('one', few)), { message: /checkpoint was "\w+", is \w+/ })
  await appendFile(join(root, 'one/samples.jsonl'), '{"key":"x"}\n')
  await t.throwsAsync(evaluate(policy, options('one', few)), {
    instanceOf: CheckpointError,
    message: /samples\.jsonl:3: is no sample/,
  })
  await writeFile(join(root, 'else.jsonl'), '{"prompt":"1=","data_source":"gsm8k"}\n')
  await writeFile(join(root, 'none.jsonl'), '{"prompt":"1=","data_source":"aime"}\n')
  const cases: [more: Partial<EvaluateOptions>, type: new (message: string) => Error, message: RegExp][] = [
    [{ data: join(root, 'else.jsonl') }, DataError, /no row of aime, .*; the sources are gsm8k/],
    [{ data: join(root, 'none.jsonl') }, DataError, /no prompt to evaluate/],
    [{ data: join(root, 'x.parquet') }, DataError, /x\.parquet: no such file/],
    [{ data: join(root, 'model') }, DataError, /model: holds no \.parquet or \.jsonl file/],
    [{ data: [] }, ConfigError, /at least one file or folder/],
    [{ suite: 'maths' as 'math' }, RangeError, /suite: .*did you mean "math"/],
    [{ samplesPerPrompt: 0 }, RangeError, /samplesPerPrompt/],
    [{ topK: 3 } as object, ConfigError, /unknown option "topK"/],
  ]
  for (const [more, type, message] of cases) {
    await t.throwsAsync(
      evaluate(policy, options('never', more)),
      { instanceOf: type, message },
      String(message),
    )
  }
})

test("the authors' files: repeated rows count once, system messages go, options are shuffled", async t => {
  const format = new PromptFormat(tokenizer, undefined)
  const read = (suite: 'math' | 'ood', more: object = {}, paths = authors.slice(suite === 'ood' ? 1 : 0)) =>
    readEvaluationData(paths, {
      benchmarks: suites[suite],
      format,
      seed: 0,
      shuffleOptions: true,
      keepSystem: false,
      ...more,
    })
  const count = ({ items }: Awaited<ReturnType<typeof read>>, name: string) =>
    items.filter(({ benchmark }) => benchmark === name).length
  const math = await read('math')
  t.deepEqual(
    suites.math.map(({ name }) => count(math, name)),
    [30, 30, 83, 500, 272, 675],
  )
  t.deepEqual(math.counts.aime24, { repeated: 930 })
  t.deepEqual(math.counts.amc, { repeated: 2656 - 83 })
  t.is(math.otherRows, 1172)
  t.true(math.items[0]?.prompt.startsWith('Every morning Aya goes'))
  t.is(math.items[0]?.answer, '204')
  t.is(new Set(math.items.map(({ key }) => key)).size, 1590)
  const kept = await read('math', { keepSystem: true, limit: 1 }, authors.slice(0, 1))
  t.regex(kept.items[0]?.prompt ?? '', /^Your task is to follow[\s\S]*\n\nEvery morning Aya goes/)
  t.is(kept.items.length, 6)

  const ordered = await read('ood', { shuffleOptions: false })
  const shuffled = await read('ood')
  t.is(count(shuffled, 'arcC'), 1172)
  const moved = shuffled.items.filter(({ prompt }, i) => prompt !== ordered.items[i]?.prompt).length
  t.true(moved > 1000, `${moved} of 1172 moved`)
  t.deepEqual(shuffled.items, (await read('ood')).items)
  t.notDeepEqual(shuffled.items, (await read('ood', { seed: 1 })).items)
})
