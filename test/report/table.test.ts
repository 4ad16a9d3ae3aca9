import test from 'ava'
import { plotCurves, sparkline } from '../../lib/report/plot.js'
import { formatTable } from '../../lib/report/table.js'
import {
  coloured,
  formatCount,
  formatNumber,
  formatSeconds,
  printable,
  textStyle,
  textWidth,
} from '../../lib/report/text.js'

const ROWS = [
  ['base', '.005', ''],
  ['LUFFY | ours', '.988', '+ .983'],
]

test('a table in plain characters', t => {
  t.is(
    formatTable(['method', 'ID', { header: 'change', align: 'left' }], ROWS, { style: 'ascii' }),
    [
      'method       |   ID | change',
      '-------------+------+-------',
      'base         | .005 |',
      'LUFFY | ours | .988 | + .983',
    ].join('\n'),
  )
})

test('a table with drawn lines, one of them between the rows', t => {
  t.is(
    formatTable(['a', 'b'], [['1', '22'], ['x']], { style: 'unicode', linesBefore: [1] }),
    ['a │  b', '──┼───', '1 │ 22', '──┼───', 'x │'].join('\n'),
  )
})

test('a Markdown table escapes bars', t => {
  t.is(
    formatTable(
      ['method', 'ID'],
      ROWS.map(row => row.slice(0, 2)),
      { style: 'markdown' },
    ),
    [
      '| method        |   ID |',
      '| ------------- | ---: |',
      '| base          | .005 |',
      '| LUFFY \\| ours | .988 |',
    ].join('\n'),
  )
})

test('colours take no columns, and too long a row is an error', t => {
  const green = coloured('ok', 'green', { colour: true, unicode: false })
  t.is(green, '\x1b[32mok\x1b[0m')
  t.is(textWidth(green), 2)
  t.is(formatTable(['name'], [[green], ['four']], { style: 'ascii' }), `name\n----\n${green}\nfour`)
  t.throws(() => formatTable(['a'], [['1', '2']], { style: 'ascii' }), {
    instanceOf: RangeError,
    message: /rows\[0\]/,
  })
  t.is(formatTable(['a', 'b'], [], { style: 'ascii' }), 'a | b\n--+--')
})

test('colour and characters follow the terminal and the environment', t => {
  const style = (isTerminal: boolean, env: Record<string, string>) => textStyle(isTerminal, env)
  t.deepEqual(style(true, { LANG: 'en_US.UTF-8' }), { colour: true, unicode: true })
  t.deepEqual(style(true, { LANG: 'C' }), { colour: true, unicode: false })
  t.deepEqual(style(true, { LC_ALL: 'C', LANG: 'en_US.UTF-8' }), { colour: true, unicode: false })
  t.false(style(true, { NO_COLOR: '1' }).colour)
  t.true(style(true, { NO_COLOR: '' }).colour)
  t.false(style(true, { TERM: 'dumb' }).colour)
  t.false(style(false, {}).colour)
  t.true(style(false, { FORCE_COLOR: '1' }).colour)
  t.false(style(false, { FORCE_COLOR: '1', NO_COLOR: '1' }).colour)
})

test('foreign text cannot move the cursor, set a title or turn the line around', t => {
  const cases: [string, string][] = [
    ['plain 5387rizi=', 'plain 5387rizi='],
    ['a\nb\tc\r', 'a\\nb\\tc\\r'],
    ['\x1b[2J\x1b]0;title\x07', '\\u{1b}[2J\\u{1b}]0;title\\u{7}'],
    ['\x1b]8;;http://x\x1b\\link', '\\u{1b}]8;;http://x\\u{1b}\\link'],
    ['\x9b31m', '\\u{9b}31m'],
    ['a\u202eb\u2066c', 'a\\u{202e}b\\u{2066}c'],
    ['\u0000\u007f', '\\u{0}\\u{7f}'],
    ['\ud83d', '\\u{d83d}'],
    ['\u2028\ufeff', '\\u{2028}\\u{feff}'],
    ['grün 🙂 漢字', 'grün 🙂 漢字'],
  ]
  for (const [text, shown] of cases) t.is(printable(text), shown)
  t.is(printable('abcdefgh', 6), 'abc...')
  t.is(printable('abcdef', 6), 'abcdef')
  t.is(printable('ab🙂cd🙂', 7), 'ab🙂...')
  t.is(printable('abc\x1b', 8), 'abc...')
})

test('long text is cut, and says so', t => {
  for (const length of [0, 1, 2, 3, 7]) {
    t.true(printable('x'.repeat(1000), length).length <= Math.max(3, length))
  }
  t.is(printable('x'.repeat(1000), 10), 'xxxxxxx...')
})

test('numbers for people', t => {
  t.deepEqual([0, 0.84, 9.94, 9.96, 59.4, 59.6, 187, 3599.6, 7500, Number.NaN].map(formatSeconds), [
    '0.0 s',
    '0.8 s',
    '9.9 s',
    '10 s',
    '59 s',
    '1 m 00 s',
    '3 m 07 s',
    '1 h 00 m',
    '2 h 05 m',
    '?',
  ])
  t.deepEqual([0, 812, 999.6, 34_100, 999_600, 1_250_000, 2.5e9, -5, Number.NaN].map(formatCount), [
    '0',
    '812',
    '1.00k',
    '34.1k',
    '1.00M',
    '1.25M',
    '2.50G',
    '-5',
    '-',
  ])
  t.deepEqual(
    [0.98765, Number.NaN, null, undefined].map(value => formatNumber(value)),
    ['0.988', '-', '-', '-'],
  )
})

test('a sparkline goes from the lowest to the highest bar', t => {
  t.is(sparkline([0, 1, 2, 3, 4, 5, 6, 7], { unicode: true }), '▁▂▃▄▅▆▇█')
  t.is(sparkline([0, 7], { unicode: false }), '_@')
  t.is(sparkline([0, 0.5, 1], { unicode: true, min: 0, max: 2 }), '▁▃▅')
  t.is(sparkline([0, 0, 8, 8], { unicode: true, width: 2 }), '▁█')
  t.is(sparkline([0, Number.NaN, 1], { unicode: true }), '▁ █')
  t.is(sparkline([3, 3], { unicode: true }), '▅▅')
  t.is(sparkline([], { unicode: true }), '')
})

test('curves over steps', t => {
  t.is(
    plotCurves(
      [
        { name: 'on-policy', mark: 'o', values: [0, 0, 0, 0, 0] },
        { name: 'luffy', mark: '*', values: [0, 0.25, 0.5, 0.75, 1] },
      ],
      { unicode: false, width: 5, height: 5, min: 0, max: 1, firstStep: 0, lastStep: 100 },
    ),
    [
      '1.00 |    *',
      '     |   *',
      '0.50 |  *',
      '     | *',
      '0.00 |*oooo',
      '      0 100',
      '      o on-policy   * luffy',
    ].join('\n'),
  )
  t.is(
    plotCurves([{ name: 'a', mark: 'x', values: [Number.NaN] }], {
      unicode: true,
      firstStep: 0,
      lastStep: 1,
    }),
    '',
  )
})
