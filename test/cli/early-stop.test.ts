// Ctrl-C and SIGTERM before the first step: one line on stderr that says so, exit code 130 or 143, whenever they come.
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import { startChild } from '../_helpers/child.js'
import { folderWithBase, lastLine, quickRun, script } from './_luffy.js'

const test = ava.serial

// Says on stdout when the command has installed its handlers, of which the one of SIGTERM is the last.
const hook = `data:text/javascript,${encodeURIComponent(
  "process.on('newListener', name => { if (name === 'SIGTERM') process.nextTick(() => process.stdout.write('listening\\n')) })",
)}`

/** Starts a run whose evaluation before the first step takes long, and sends a signal when `isTime` says so. */
async function stopped(
  folder: string,
  signal: 'SIGINT' | 'SIGTERM',
  isTime: (out: string, err: string) => boolean,
  args: readonly string[] = [],
) {
  const config = join(folder, 'run.yaml')
  await writeFile(config, 'model: x\n')
  const run = quickRun(folder, 'r', { evalSteps: 1, 'task.testSize': 3000, maxCompletionLength: 64 })
  const child = startChild(script, ['train', config, ...run, ...args], {
    LC_ALL: 'C',
    NODE_OPTIONS: `--import=${hook}`,
  })
  let out = ''
  let err = ''
  let sent = false
  const look = () => {
    if (!sent && isTime(out, err)) sent = child.process.kill(signal)
  }
  child.process.stdout?.on('data', text => {
    out += text
    look()
  })
  child.process.stderr?.on('data', text => {
    err += text
    look()
  })
  return { ...(await child.ended), sent }
}

const line = 'stopped before the first step, nothing to save'

const moments: [string, (out: string, err: string) => boolean][] = [
  ['while modules load', out => out.includes('listening')],
  ['while the run is prepared', out => out.split('listening').length > 2],
  ['while the first evaluation runs', (_, err) => err.includes('run folder')],
]

for (const [when, isTime] of moments) {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    test(`${signal} ${when}`, async t => {
      const folder = await folderWithBase(t)
      const result = await stopped(folder, signal, isTime)
      t.true(result.sent)
      t.is(result.code, code, result.stderr)
      t.is(lastLine(result.stderr), line)
      const others = result.stderr.trimEnd().split('\n').slice(0, -1)
      t.deepEqual(
        others.filter(text => !text.startsWith('run folder ') && !/^luffy +step 0/.test(text)),
        [],
        'nothing else is said of it',
      )
      if (when !== 'while the first evaluation runs') {
        t.deepEqual(others, [])
        t.false((await readdir(folder)).includes('r'), 'and nothing was made')
      } else t.false((await readdir(join(folder, 'r'))).includes('lock'))
    })
  }
}

test('with --json-errors the line is JSON, as early as that', async t => {
  for (const [, isTime] of moments) {
    const { code, stderr } = await stopped(await folderWithBase(t), 'SIGINT', isTime, ['--json-errors'])
    t.is(code, 130)
    t.like(JSON.parse(lastLine(stderr)), {
      error: 'AbortedError',
      code: 'ABORTED',
      message: line,
      exitCode: 130,
    })
  }
})
