import test from 'ava'
import { Progress, type ProgressOptions } from '../../lib/report/progress.js'
import { textWidth } from '../../lib/report/text.js'

/** Progress on a stream that remembers, with a clock that is set by hand. */
function recorded(options: ProgressOptions & { isTTY?: boolean; columns?: number } = {}) {
  const written: string[] = []
  const clock = { now: 1000 }
  const stream = {
    write: (text: string) => written.push(text),
    isTTY: options.isTTY,
    columns: options.columns,
  }
  const progress = new Progress({ env: { LANG: 'C' }, stream, now: () => clock.now, ...options })
  return { progress, written, clock }
}

const ESC = '\x1b'
const CLEAR_LINE = `${ESC}[2K`
const COLOUR = `${ESC}\\[[0-9;]*m`

/** What a terminal shows after it was sent some text: lines, of which the last is being rewritten. */
function screen(written: readonly string[]): string[] {
  const lines = ['']
  for (const piece of written.join('').match(new RegExp(`${ESC}\\[2K|\r|\n|[^${ESC}\r\n]+|${COLOUR}`, 'g')) ??
    []) {
    if (piece === '\n') lines.push('')
    else if (piece === CLEAR_LINE) lines[lines.length - 1] = ''
    else if (piece !== '\r' && !piece.startsWith(ESC)) lines[lines.length - 1] += piece
  }
  return lines
}

test('on a terminal one line is rewritten, and the last state stays', t => {
  const { progress, written, clock } = recorded({
    isTTY: true,
    columns: 120,
    env: { LANG: 'C', NO_COLOR: '1' },
  })
  const phase = progress.phase('luffy', { total: 100, unit: 'step' })
  phase.update(1, { reward: '0.01' })
  clock.now += 1000
  phase.update(50, { reward: '0.50' })
  t.deepEqual(screen(written), ['luffy      [##########..........] step  50/100 1.0 s left reward 0.50'])
  clock.now += 1000
  phase.update(100, { reward: '0.99' })
  phase.end()
  t.deepEqual(screen(written), ['luffy      step 100/100 in 2.0 s reward 0.99', ''])
  t.notRegex(written.join(''), new RegExp(COLOUR))
})

test('updates that come too fast are not drawn, but the end shows the last one', t => {
  const { progress, written, clock } = recorded({ isTTY: true, terminalInterval: 100 })
  const phase = progress.phase('p', { total: 1000 })
  for (let i = 1; i <= 1000; i++) {
    clock.now += 1
    phase.update(i, { i })
  }
  // The first, then one each 100 ms.
  t.is(written.length, 10)
  phase.end()
  t.regex(written.at(-1) ?? '', /i 1000/)
})

test('plain lines elsewhere: no escapes, at a rate for a log file', t => {
  const { progress, written, clock } = recorded({ plainInterval: 5000 })
  const phase = progress.phase('pretrain', { total: 200, unit: 'step' })
  for (let step = 1; step <= 200; step++) {
    clock.now += 100
    phase.update(step, { loss: '1.5' })
  }
  phase.end()
  t.is(written[0], 'pretrain   [....................] step   1/200 20 s left loss 1.5\n')
  t.is(written.length, 5)
  t.is(written.at(-1), 'pretrain   step 200/200 in 20 s loss 1.5\n')
  for (const line of written) {
    t.false(line.includes(ESC) || line.includes('\r'))
    t.true(line.endsWith('\n'))
  }
})

test('a line never wraps, with and without colour', t => {
  for (const env of [{ LANG: 'C', NO_COLOR: '1' }, { LANG: 'en_US.UTF-8' }]) {
    const { progress, written } = recorded({ isTTY: true, columns: 40, env })
    progress
      .phase('a long phase', { total: 10, unit: 'step' })
      .update(3, { reward: 0.123456, entropy: 0.5, tokens: '34.1k' })
    const line = (written.at(-1) ?? '').replaceAll(CLEAR_LINE, '')
    t.is(textWidth(line), 39)
    t.is(line.includes('\x1b['), env.LANG !== 'C')
  }
})

test('colour and drawn characters follow the environment; a dumb terminal gets plain lines', t => {
  const coloured = recorded({ isTTY: true, columns: 100, env: { LANG: 'en_US.UTF-8' } })
  coloured.progress.phase('p', { total: 2 }).update(1)
  t.true(
    coloured.written
      .join('')
      .startsWith(`${ESC}[36mp         ${ESC}[0m [${'█'.repeat(10)}${'░'.repeat(10)}] 1/2`),
  )
  const dumb = recorded({ isTTY: true, env: { TERM: 'dumb' } })
  dumb.progress.phase('p', { total: 2 }).update(1)
  t.is(dumb.written.join(''), 'p          [##########..........] 1/2 0.0 s left\n')
})

test('logged lines stand above the progress line', t => {
  const { progress, written, clock } = recorded({ isTTY: true, columns: 80, env: { NO_COLOR: '1' } })
  const phase = progress.phase('p', { total: 4 })
  progress.log('before')
  phase.update(1)
  clock.now += 500
  progress.log('between')
  t.deepEqual(screen(written).slice(0, 2), ['before', 'between'])
  t.regex(screen(written)[2] ?? '', /^p +\[#####\.+\] 1\/4/)
  progress.close()
  progress.close()
  t.is(screen(written).at(-1), '')
  progress.log('after')
  t.is(screen(written).at(-2), 'after')
})

test('the time left counts what this process did, and is silent before anything is done', t => {
  const { progress, written, clock } = recorded({ plainInterval: 0 })
  const resumed = progress.phase('p', { total: 100, start: 80 })
  resumed.update(80)
  t.notRegex(written.at(-1) ?? '', /left/)
  clock.now += 10_000
  resumed.update(90)
  t.regex(written.at(-1) ?? '', / 10 s left\n$/)
  const endless = progress.phase('q', { unit: 'text' })
  clock.now += 1000
  endless.update(7)
  t.is(written.at(-1), 'q          text 7\n')
})

test('a new phase ends the one before; an ended phase is silent; a summary replaces the fields', t => {
  const { progress, written } = recorded({ plainInterval: 0 })
  const first = progress.phase('first')
  const second = progress.phase('second', { total: 0 })
  first.update(5)
  second.update(0, { a: 1 })
  second.end('evaluated 3 sets')
  second.end('again')
  t.deepEqual(written, [
    'first      in 0.0 s\n',
    'second     0/0 a 1\n',
    'second     in 0.0 s evaluated 3 sets\n',
  ])
})

test('fields and names from elsewhere are escaped', t => {
  const { progress, written } = recorded({ isTTY: true, columns: 200, env: { NO_COLOR: '1' } })
  const phase = progress.phase('p\x1b[2J')
  phase.update(1, { 'sample\n': '<r\x1b]0;title\x07>$' })
  t.is(written.join(''), 'p\\u{1b}[2J 1 sample\\n <r\\u{1b}]0;title\\u{7}>$')
})
