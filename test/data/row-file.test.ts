// Files of rows: LUFFY's own, files of another writer in every codec, and files that are not what they say.
import { readFile, symlink, truncate, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import ava from 'ava'
import { openRowFile } from '../../lib/data/row-file.js'
import { DataError } from '../../lib/index.js'
import { packageRoot } from '../../lib/native-loader.js'
import { CounterRandom } from '../../lib/random.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { type OneColumn, oneColumn, parquetFile, peakMemory, thrift, varint } from './_parquet.js'

// Serial: memory and time are watched.
const test = ava.serial

const fixture = (name: string) => join(packageRoot, 'test/data', name)
const valuesOf = (row: { values: unknown } | undefined) => row?.values as Map<string, unknown>

test('a path is taken from the folder of the caller', async t => {
  const path = relative(process.cwd(), fixture('pyarrow-none-pages-1.parquet'))
  t.false(path.startsWith('/'))
  t.is((await (await openRowFile(path)).read(0)).length, 16)
})

test("the authors' files", async t => {
  const math = await openRowFile(fixture('math-validation.parquet'))
  t.is(math.rows, 6023)
  t.deepEqual(
    math.columns.map(({ name, type }) => `${name}: ${type}`),
    [
      'data_source: text',
      'prompt: list of { content: text, role: text }',
      'ability: text',
      'reward_model: { ground_truth: text, style: text }',
      'extra_info: { index: int64, split: text }',
      '__index_level_0__: int64',
    ],
  )
  const rows = await math.read(0, ['reward_model', 'data_source'])
  t.is(rows.length, 6023)
  t.deepEqual(
    [...valuesOf(rows[0])],
    [
      ['reward_model', { ground_truth: '\\left( 3, \\frac{\\pi}{2} \\right)', style: 'rule' }],
      ['data_source', 'math'],
    ],
  )
  t.is(rows[6022]?.where, `${fixture('math-validation.parquet')}: row 6023`)
  const arc = await openRowFile(fixture('arc-challenge-validation.parquet'))
  const choices = (await arc.read(0, ['reward_model'])).map(
    row => (valuesOf(row).get('reward_model') as { ground_truth: string }).ground_truth,
  )
  t.is(choices.length, 1172)
  t.true(choices.every(choice => /^[A-E1-4]$/.test(choice)))
})

for (const name of [
  'none-pages-1',
  'none-pages-2',
  'snappy-pages-1',
  'gzip-pages-1',
  'brotli-pages-1',
  'zstd-pages-1',
  'zstd-pages-2',
  'lz4-pages-1',
]) {
  test(`another writer's rows: ${name}`, async t => {
    const file = await openRowFile(fixture(`pyarrow-${name}.parquet`))
    t.deepEqual(
      file.blocks.map(({ rows }) => rows),
      [16, 16, 8],
    )
    const rows = []
    for (const block of file.blocks.keys()) rows.push(...(await file.read(block)))
    rows.forEach((row, i) => {
      const target =
        i % 4
          ? [{ content: `<think>\n${i} twice.\n</think>\n\\boxed{${2 * i}}`, role: 'assistant' }]
          : undefined
      t.deepEqual(valuesOf(row).get('prompt'), [{ content: `What is ${i} + ${i}? é`, role: 'user' }])
      t.deepEqual(valuesOf(row).get('target'), target)
      t.deepEqual(valuesOf(row).get('reward_model'), { ground_truth: String(2 * i), style: 'rule' })
      t.deepEqual(valuesOf(row).get('extra_info'), { index: BigInt(i), split: 'train' })
    })
    t.is(rows.length, 40)
  })
}

test('JSON lines: numbered as an editor does, in blocks', async t => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'x.jsonl')
  const lines = Array.from({ length: 600 }, (_, i) => JSON.stringify({ prompt: `p${i} é`, n: i }))
  lines.splice(3, 0, '', '   ')
  await writeFile(path, `${lines.join('\r\n')}`) // no line break at the end
  const file = await openRowFile(path)
  t.is(file.rows, 600)
  t.deepEqual(
    file.blocks.map(({ rows }) => rows),
    [254, 256, 90],
  )
  const rows = []
  for (const block of file.blocks.keys()) rows.push(...(await file.read(block)))
  t.is(rows[2]?.where, `${path}:3`)
  t.is(rows[3]?.where, `${path}:6`)
  t.is(rows[599]?.where, `${path}:602`)
  t.deepEqual(
    rows.map(row => valuesOf(row).get('n')),
    [...lines.keys()].slice(0, 600),
  )
  t.deepEqual(file.columns, [
    { name: 'prompt', type: 'text' },
    { name: 'n', type: 'number' },
  ])
})

test('JSON lines: what is wrong with a line', async t => {
  const path = join(await temporaryFolder(t), 'x.jsonl')
  const cases: [line: string | Buffer, problem: RegExp][] = [
    ['{"a": 1', /^column 8: /],
    ['[1]', /expected a JSON object, got an array of 1/],
    ['{"a": 1, "a": 2}', /^column 10: duplicate key "a"/],
    ['{"a": 12345678901234567890}', /column 7: .*integer/],
    [`{"a": ${'['.repeat(100_000)}`, /deep|nest/],
    [Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]), /^not UTF-8/],
    ['nonsense', /column 1: /],
  ]
  for (const [line, problem] of cases) {
    await writeFile(
      path,
      Buffer.concat([Buffer.from('{"a": 0}\n'), Buffer.from(line as string), Buffer.from('\n')]),
    )
    const file = await openRowFile(path)
    const rows = await file.read(0)
    t.is(rows.length, 2)
    t.is(rows[1]?.where, `${path}:2`)
    t.regex(rows[1]?.problem ?? '', problem)
    t.is(rows[1]?.values, undefined)
  }
  // Its length is that of the file, which holds nothing.
  await writeFile(path, '{"a": 0}\n')
  await truncate(path, 2 ** 26 + 10)
  await t.throwsAsync(openRowFile(path), {
    instanceOf: DataError,
    message: /x\.jsonl:2: a line of 67108865 bytes, expected at most 67108864/,
  })
  await writeFile(path, '{"__proto__": {"polluted": 1}, "constructor": 2}\n')
  await (await openRowFile(path)).read(0)
  t.is(({} as Record<string, unknown>).polluted, undefined)
})

test('files that are not files of rows', async t => {
  const folder = await temporaryFolder(t)
  const good = await readFile(fixture('pyarrow-zstd-pages-1.parquet'))
  await symlink('/dev/zero', join(folder, 'zero.parquet'))
  const cases: [name: string, bytes: Buffer | string | undefined, message: RegExp][] = [
    ['none.parquet', undefined, /no such file/],
    ['zero.parquet', undefined, /is a device, expected a regular file/],
    ['x.csv', 'a,b\n', /expected a file of type \.parquet or \.jsonl, got "\.csv"/],
    [
      'lfs.parquet',
      'version https://git-lfs.github.com/spec/v1\noid sha256:1\n',
      /56 bytes, is a Git LFS pointer; run git/,
    ],
    ['empty.parquet', '', /0 bytes, too short/],
    ['json.parquet', '{"prompt": "not parquet at all"}\n', /does not begin with PAR1/],
    ['cut.parquet', good.subarray(0, -1), /does not end with PAR1/],
    [
      'long-footer.parquet',
      Buffer.concat([good.subarray(0, -8), Buffer.from([255, 255, 255, 127]), Buffer.from('PAR1')]),
      /declares a footer of 2147483647 bytes/,
    ],
    [
      'list-bomb.parquet',
      parquetFile([], [0x29, 0xfc, ...varint(268435455), ...new Array(844).fill(0)]),
      /declares 268435455 elements in 8\d\d bytes/,
    ],
    ['nesting.parquet', parquetFile([], [0x29, 0x1c, ...new Array(1000).fill(0x1c)]), /nest deeper than 32/],
    [
      'long-name.parquet',
      parquetFile([], [0x18, ...varint(2 ** 40)]),
      /declares 1099511627776 bytes in 0 bytes/,
    ],
    ['no-schema.parquet', parquetFile([], thrift({ 1: 1 })), /the schema: expected a list/],
  ]
  for (const [name, bytes, message] of cases) {
    const path = join(folder, name)
    if (bytes !== undefined) await writeFile(path, bytes)
    await t.throwsAsync(openRowFile(path), { instanceOf: DataError, message }, name)
  }
})

test('parquet files that lie are refused before anything is allocated for it', async t => {
  const path = join(await temporaryFolder(t), 'x.parquet')
  const open = async (bytes: Buffer) => {
    await writeFile(path, bytes)
    const file = await openRowFile(path)
    return await file.read(0)
  }
  const honest = await open(oneColumn())
  t.deepEqual(
    honest.map(row => valuesOf(row).get('prompt')),
    ['a', 'b', 'c'],
  )
  const lies: [OneColumn, RegExp][] = [
    [{ rows: 268435455, values: 268435455 }, /268435455 rows, expected at most/],
    [
      { rows: 16_000_000, values: 16_000_000, pageValues: 16_000_000 },
      /declares 16000000 values in \d+ bytes/,
    ],
    [{ rows: 4 }, /column prompt: declares 3 values in 4 rows/],
    [{ groupRows: 4, values: 4, rows: 3 }, /declares 3 rows, its row groups 4/],
    [{ rows: 1000, values: 1000 }, /declares 1000 values, its pages 3/],
    [{ pageValues: 2 ** 31 - 1 }, /its pages 2147483647/],
    [{ pageSize: 2 ** 31 - 1 }, /a page declares 2147483647 bytes in/],
    [{ compressedSize: 5000 }, /a page declares 5000 bytes, \d+ are left/],
    [{ chunkSize: 2 ** 40 }, /outside the data/],
    [{ offset: 2 ** 52 }, /outside the data/],
    [{ texts: ['a', Buffer.from([0xc3, 0x28])] }, /rows 1 to 2, column prompt: a text is not UTF-8/],
  ]
  const before = peakMemory()
  for (const [lie, message] of lies) {
    const begun = performance.now()
    const error = await t.throwsAsync(
      open(oneColumn(lie)),
      { instanceOf: DataError, message },
      JSON.stringify(lie),
    )
    t.is(error?.exitCode, 3)
    t.true(performance.now() - begun < 5000)
  }
  const grown = peakMemory() - before
  t.true(grown < 64e6, `${grown} bytes`)
})

test('a run that repeats for ever ends with the worker, and the next file is read', async t => {
  const path = join(await temporaryFolder(t), 'x.parquet')
  await writeFile(path, oneColumn({ run: 2 ** 30 }))
  const before = peakMemory()
  const file = await openRowFile(path)
  await t.throwsAsync(file.read(0), {
    instanceOf: DataError,
    message: /needs more than \d+ MiB of memory|takes longer/,
  })
  const grown = peakMemory() - before
  t.true(grown < 300e6, `${grown} bytes`)
  const other = await openRowFile(fixture('pyarrow-zstd-pages-1.parquet'))
  t.is((await other.read(2)).length, 8)
})

test('broken at random, a file gives rows or a DataError, never anything else', async t => {
  const path = join(await temporaryFolder(t), 'x.parquet')
  const good = await readFile(fixture('pyarrow-none-pages-1.parquet'))
  const random = new CounterRandom(3, 'mutations')
  const seen = { read: 0, refused: 0 }
  for (let i = 0; i < 250; i++) {
    let bytes = Buffer.from(good)
    const footerStart = bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8)
    const changes = 1 + random.integer(4)
    for (let change = 0; change < changes; change++) {
      // Half of them in the footer, which is most of what can lie.
      const at = random.chance(0.5)
        ? random.between(footerStart, bytes.length - 5)
        : random.integer(bytes.length)
      bytes[at] = random.pick([0, 1, 127, 128, 255, random.integer(256)])
    }
    if (random.chance(0.1)) bytes = bytes.subarray(0, random.integer(bytes.length))
    await writeFile(path, bytes)
    try {
      const file = await openRowFile(path)
      for (const block of file.blocks.keys()) await file.read(block)
      seen.read += 1
    } catch (error) {
      t.true(error instanceof DataError, `mutation ${i}: ${error}`)
      seen.refused += 1
    }
  }
  t.true(seen.refused >= 100 && seen.read >= 20, JSON.stringify(seen))
})
