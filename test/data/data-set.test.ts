// Rows: how columns are mapped, what is left out and counted, and the order in which rows come.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { DataSet } from '../../lib/data/data-set.js'
import { inspectData, summary } from '../../lib/data/inspect.js'
import { writeTrainingRows } from '../../lib/data/parquet-write.js'
import { emptyDemonstration, PromptFormat, unreadableAnswer } from '../../lib/data/prompt-format.js'
import { RowOrder } from '../../lib/data/row-order.js'
import {
  CharacterTokenizer,
  CheckpointError,
  ConfigError,
  DataError,
  TemplateError,
} from '../../lib/index.js'
import { packageRoot } from '../../lib/native-loader.js'
import { ChatTemplate } from '../../lib/policy/chat-template.js'
import { temporaryFolder } from '../_helpers/folders.js'

const fixture = (name: string) => join(packageRoot, 'test/data', name)

async function lines(folder: string, rows: readonly (object | string)[], name = 'x.jsonl'): Promise<string> {
  const path = join(folder, name)
  const text = rows.map(row => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n')
  await writeFile(path, `${text}\n`)
  return path
}

const reward = (answer: unknown) => ({ reward_model: { ground_truth: answer, style: 'rule' } })

test("the columns of LUFFY's data", async t => {
  const data = await DataSet.open(fixture('pyarrow-zstd-pages-1.parquet'))
  t.is(data.size, 40)
  const rows = []
  for await (const row of data.rows()) rows.push(row)
  t.is(rows.length, 40)
  t.deepEqual(rows[5], {
    where: `${fixture('pyarrow-zstd-pages-1.parquet')}: row 6`,
    messages: [{ role: 'user', content: 'What is 5 + 5? é' }],
    demonstration: '<think>\n5 twice.\n</think>\n\\boxed{10}',
    answer: '10',
    source: 's1',
  })
  t.is(rows[4]?.demonstration, undefined)
})

test('columns by configuration: texts, numbers, dictionaries', async t => {
  const path = fixture('pyarrow-plain-columns.parquet')
  const data = await DataSet.open(path, {
    columns: { prompt: 'question', demonstration: 'trace', answer: 'gold' },
  })
  const rows = []
  for await (const row of data.rows()) rows.push(row)
  t.deepEqual(rows[3], {
    where: `${path}: row 4`,
    messages: [{ role: 'user', content: 'q3' }],
    demonstration: 't3',
    answer: '3',
    source: undefined,
  })
  await t.throwsAsync(DataSet.open(path), {
    instanceOf: DataError,
    message: /no column "prompt" \(prompt\), it has question, trace, gold; name the column/,
  })
  await t.throwsAsync(DataSet.open(path, { columns: { prompt: 'question', answer: 'answer.x' } }), {
    instanceOf: DataError,
    message: /no column "answer\.x" \(answer\)/,
  })
  await t.throwsAsync(DataSet.open(path, { columns: { prompt: 'a.__proto__' } }), { instanceOf: ConfigError })
  await t.throwsAsync(DataSet.open([]), { instanceOf: ConfigError })
})

test('a row that cannot be read is an error that names it, or is counted', async t => {
  const folder = await temporaryFolder(t)
  const bad: [row: object | string, message: RegExp][] = [
    ['{"prompt": ', /x\.jsonl:2: column 12: /],
    [{ prompt: null }, /x\.jsonl:2: column "prompt": expected a text or a list of messages, got null/],
    [{ prompt: [] }, /column "prompt": expected a list of messages, got an array of 0/],
    [{ prompt: '' }, /column "prompt": expected a prompt, got ""/],
    [
      { other: 1, more: 2 },
      /x\.jsonl:2: no column "prompt" \(prompt\), it has other, more; name the column .*data\.columns\.prompt, or --column prompt=NAME/,
    ],
    [
      { prompt: [{ role: 'user' }] },
      /message 0: expected role and content as texts, got "user" and undefined/,
    ],
    [{ prompt: 'x', target: [5] }, /column "target": expected a text or messages, got/],
    [{ prompt: 'x', ...reward(['a']) }, /column "reward_model.ground_truth": expected a text or a number/],
    [{ prompt: 'x', data_source: 4 }, /column "data_source": expected a text, got 4/],
  ]
  for (const [row, message] of bad) {
    const path = await lines(folder, [{ prompt: 'good', ...reward('1') }, row])
    const error = await t.throwsAsync(DataSet.open(path), { instanceOf: DataError, message }, String(message))
    t.is(error?.exitCode, 3)
    const data = await DataSet.open(path, { skipBadRows: true })
    t.is(data.size, 1)
    t.deepEqual(data.dropped, { badRow: 1 })
  }
})

test('what filters leave out is counted by name; strict makes it an error', async t => {
  const folder = await temporaryFolder(t)
  const path = await lines(folder, [
    { prompt: 'ab', target: 'cd', ...reward('1') },
    { prompt: 'abababab', target: 'cd', ...reward('1') },
    { prompt: 'ab', target: '<think>\n  ', ...reward('1') },
    { prompt: 'ab', target: '', ...reward('1') },
    { prompt: 'ab', target: 'cdcdcdcd', ...reward('1') },
    { prompt: 'ab', target: 'cd', ...reward(' ') },
    { prompt: 'ab' },
    { prompt: 'ab', target: [], ...reward(7) },
  ])
  const format = new PromptFormat(new CharacterTokenizer('abcd<think> \n$', '$'), undefined)
  const filters = [
    unreadableAnswer(answer => answer.trim() !== ''),
    emptyDemonstration,
    format.promptTooLong(7),
    format.demonstrationTooLong(8), // with the end token
  ]
  const data = await DataSet.open(path, { filters })
  t.deepEqual(data.dropped, {
    unreadableAnswer: 2,
    emptyDemonstration: 2,
    promptTooLong: 1,
    demonstrationTooLong: 1,
  })
  t.is(data.size, 2)
  const looser = await DataSet.open(path, {
    filters: [format.promptTooLong(8), format.demonstrationTooLong(11)],
  })
  t.deepEqual(looser.dropped, { promptTooLong: 0, demonstrationTooLong: 0 })
  const error = await t.throwsAsync(DataSet.open(path, { filters, strict: true }), { instanceOf: DataError })
  t.regex(
    error?.message ?? '',
    /^6 rows cannot be used: .*x\.jsonl:6 \(unreadableAnswer\), .*:7 \(unreadableAnswer\)/,
  )
  t.is(error?.message.match(/jsonl/g)?.length, 5, 'the first five are listed')
  const none = await DataSet.open(path, { filters: [unreadableAnswer(() => false)] })
  await t.throwsAsync(none.batch(0, 1, 1), {
    instanceOf: DataError,
    message: /no rows are left \(unreadableAnswer: 8\)/,
  })
})

test('rows as the model sees them; a template that fails names the row', async t => {
  const folder = await temporaryFolder(t)
  const path = await lines(folder, [
    { prompt: 'a', target: '<think>\nb', ...reward('1') },
    { prompt: 'bad', ...reward('2') },
  ])
  const tokenizer = new CharacterTokenizer('ab$', '$')
  const template = new ChatTemplate(
    "{% if messages[0].content == 'bad' %}{{ raise_exception('no') }}{% endif %}{{ messages[0].content ~ '\\n<think>\\n' }}",
    'x.jinja',
  )
  const format = new PromptFormat(tokenizer, template)
  const data = await DataSet.open(path)
  const rows = []
  for await (const row of data.rows()) rows.push(row)
  const [first] = await format.format(rows.slice(0, 1))
  t.like(first, { prompt: 'a\n<think>\n', demonstration: 'b$', answer: '1' })
  await t.throwsAsync(format.format(rows), {
    instanceOf: TemplateError,
    message: /x\.jsonl:2: x\.jinja: chat template: .*raised: no/,
  })
})

test('every epoch gives every row once, in an order of its own', t => {
  const counts = [3, 0, 7, 1, 5]
  const all = counts
    .flatMap((count, block) => Array.from({ length: count }, (_, row) => `${block}/${row}`))
    .sort()
  for (const windowRows of [1, 4, 8, 100]) {
    const order = new RowOrder(counts, 5, windowRows)
    const epochs = [0, 1, 2].map(epoch =>
      Array.from({ length: 16 }, (_, i) => order.at(16 * epoch + i)).map(
        ({ block, row }) => `${block}/${row}`,
      ),
    )
    for (const epoch of epochs) t.deepEqual([...epoch].sort(), all)
    t.notDeepEqual(epochs[0], epochs[1])
    t.notDeepEqual(epochs[0], [...all])
    // Any position alone gives what the whole run gives.
    for (const position of [47, 3, 20, 31, 0]) {
      const { block, row } = new RowOrder(counts, 5, windowRows).at(position)
      t.is(`${block}/${row}`, epochs.flat()[position] ?? 'none')
    }
    const other = Array.from({ length: 16 }, (_, i) => new RowOrder(counts, 6, windowRows).at(i))
    t.notDeepEqual(
      other.map(({ block, row }) => `${block}/${row}`),
      epochs[0],
    )
  }
})

test('blocks come in another order in every epoch', t => {
  const order = new RowOrder(new Array(20).fill(1), 5, 1) // a window has one row
  const epochs = [0, 1, 2].map(epoch => Array.from({ length: 20 }, (_, i) => order.at(20 * epoch + i).block))
  t.is(new Set(epochs.map(String)).size, 3)
})

test('a window holds few blocks, and the whole when it is large enough', t => {
  const counts = new Array(100).fill(10)
  const order = new RowOrder(counts, 1, 30)
  for (let window = 0; window < 33; window++) {
    const blocks = new Set(Array.from({ length: 30 }, (_, i) => order.at(30 * window + i).block))
    t.is(blocks.size, 3)
  }
  // With everything in one window, each row is equally likely to come first.
  const first = Array.from({ length: 400 }, (_, seed) => new RowOrder([2, 2], seed, 100).at(0))
  for (const place of [0, 1, 2, 3]) {
    const n = first.filter(({ block, row }) => 2 * block + row === place).length
    t.true(n > 60 && n < 140, `${n} of 400`) // five deviations of the binomial around 100
  }
})

test('batches are a function of the seed and the step, and few blocks are in memory', async t => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'x.parquet')
  const rows = Array.from({ length: 300 }, (_, i) => ({ prompt: `q${i}`, answer: String(i) }))
  t.is(await writeTrainingRows(path, rows, { rowGroupRows: 20 }), 300)
  const filters = [
    {
      name: 'odd',
      drops: (each: readonly { answer?: string | undefined }[]) =>
        each.map(({ answer }) => Number(answer) % 2 === 1),
    },
  ]
  const data = await DataSet.open(path, { windowRows: 30, filters })
  t.is(data.size, 150)
  const reads: number[] = []
  const file = data.files[0] as { read: (block: number, columns?: readonly string[]) => Promise<unknown> }
  const read = file.read.bind(file)
  file.read = (block, columns) => {
    reads.push(block)
    return read(block, columns)
  }
  const steps = []
  for (let step = 1; step <= 15; step++)
    steps.push((await data.batch(9, 10, step)).map(({ answer }) => Number(answer)))
  t.deepEqual(
    steps.flat().sort((a, b) => a - b),
    Array.from({ length: 150 }, (_, i) => 2 * i),
  )
  t.is(reads.length, 15, 'each block is read once in an epoch')
  const fresh = await DataSet.open(path, { windowRows: 30, filters })
  t.deepEqual(
    (await fresh.batch(9, 10, 12)).map(({ answer }) => Number(answer)),
    steps[11],
  )
  t.deepEqual(
    (await fresh.batch(9, 10, 3)).map(({ answer }) => Number(answer)),
    steps[2],
  )
  t.notDeepEqual(
    (await fresh.batch(10, 10, 3)).map(({ answer }) => Number(answer)),
    steps[2],
  )
})

test('a file that changed is an error', async t => {
  const folder = await temporaryFolder(t)
  const path = await lines(
    folder,
    Array.from({ length: 20 }, (_, i) => ({ prompt: `p${i}` })),
  )
  const data = await DataSet.open(path)
  await lines(folder, [{ prompt: 'x'.repeat(1000) }])
  await t.throwsAsync(data.batch(0, 5, 1), {
    instanceOf: DataError,
    message: /has changed since it was opened/,
  })
})

test('opening can be given up', async t => {
  await t.throwsAsync(DataSet.open(fixture('math-validation.parquet'), { signal: AbortSignal.abort() }), {
    code: 'ABORTED',
  })
})

test('writing refuses what is no row, and leaves nothing behind', async t => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'x.parquet')
  const write = (row: object) =>
    writeTrainingRows(path, [{ prompt: 'a', answer: '1' }, row as { prompt: string; answer: string }])
  await t.throwsAsync(write({ prompt: 'a' }), {
    instanceOf: DataError,
    message: /rows\[1\]\.answer: expected a text/,
  })
  await t.throwsAsync(write({ prompt: [], answer: '1' }), {
    instanceOf: DataError,
    message: /rows\[1\]\.prompt/,
  })
  await t.throwsAsync(writeTrainingRows(path, []), { instanceOf: DataError, message: /got none/ })
  await t.throwsAsync(writeTrainingRows(join(folder, 'no/x.parquet'), []), { instanceOf: CheckpointError })
  await t.throwsAsync(DataSet.open(path), { instanceOf: DataError, message: /no such file/ })
})

test('what is written is read back, from a stream too', async t => {
  const path = join(await temporaryFolder(t), 'x.parquet')
  const row = (i: number) => ({
    prompt: [
      { role: 'system', content: `é ${i}` },
      { role: 'user', content: '👩‍👩‍👧' },
    ],
    demonstration: i % 2 ? null : `<think>\n${i}`,
    answer: `\\frac{${i}}{2}`,
    source: `s${i % 3}`,
    ability: 'math',
  })
  async function* stream() {
    for (let i = 0; i < 2500; i++) yield row(i)
  }
  t.is(await writeTrainingRows(path, stream()), 2500)
  const data = await DataSet.open(path)
  t.deepEqual(
    data.files[0]?.blocks.map(({ rows }) => rows),
    [1000, 1000, 500],
  )
  let i = 0
  for await (const { messages, demonstration, answer, source } of data.rows()) {
    const expected = row(i)
    t.deepEqual(
      [messages, demonstration, answer, source],
      [expected.prompt, expected.demonstration ?? undefined, expected.answer, expected.source],
    )
    i += 1
  }
  t.is(i, 2500)
})

test('the report of an inspection', async t => {
  const report = await inspectData(fixture('math-validation.parquet'), { first: 1, sample: 100 })
  t.like(report, {
    format: 'parquet',
    rows: 6023,
    kept: 6023,
    blocks: 1,
    demonstrations: 0,
    answers: 6023,
    unit: 'characters',
  })
  t.deepEqual(report.sources, {
    amc: 2656,
    aime: 960,
    aime25: 960,
    olympiad_bench: 675,
    math: 500,
    minerva: 272,
  })
  t.true((report.lengths.prompt?.count ?? 0) <= 100)
  t.is(report.first.length, 1)
  t.is(report.first[0]?.answer, '\\left( 3, \\frac{\\pi}{2} \\right)')
  t.deepEqual(summary([5, 1, 4, 2, 3]), { count: 5, min: 1, median: 3, p90: 5, p99: 5, max: 5 })
  t.deepEqual(summary(Array.from({ length: 200 }, (_, i) => i + 1)), {
    count: 200,
    min: 1,
    median: 100,
    p90: 180,
    p99: 198,
    max: 200,
  })
  t.is(summary([]), undefined)
})
